// Whether the gateway has another release of this page than the one that is open. The screens that
// are loaded later have a digest in their names, so an open page never mixes two releases, but it
// may not find a screen any more.
import { onConnection, pageSource } from './api.js';
import { useEffect, useState } from './preact.js';

const digestOf = (source) => /<meta name="digest" content="(\w+)">/.exec(source)?.[1];

const own = globalThis.document?.querySelector('meta[name="digest"]')?.content;
let updated = false;
const listeners = new Set();

/** checkRelease finds out whether the gateway has another release, and returns that. */
export async function checkRelease() {
  try {
    const digest = digestOf(await pageSource());
    updated = digest !== undefined && digest !== own;
  } catch {
    // the gateway is unreachable; a proxy may have answered
  }
  for (const listener of listeners) listener(updated);
  return updated;
}

// A gateway that was unreachable may have been replaced.
onConnection((now) => now && checkRelease());

/** useUpdated reports whether the gateway has another release of the page. */
export function useUpdated() {
  const [value, set] = useState(updated);
  useEffect(() => {
    set(updated);
    listeners.add(set);
    return () => listeners.delete(set);
  }, []);
  return value;
}

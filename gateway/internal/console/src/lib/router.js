// The address of a screen is the hash, so that the page works below any path and without a server
// that knows the screens.
import { useEffect, useState } from './preact.js';

export { href, parse } from './route.js';
import { parse } from './route.js';

let current = parse(globalThis.location?.hash ?? '');
const listeners = new Set();

function changed() {
  const next = parse(location.hash);
  if (next.hash === current.hash) return;
  current = next;
  for (const listener of listeners) listener(current);
}
globalThis.addEventListener?.('hashchange', changed);
globalThis.addEventListener?.('popstate', changed);

/** route returns the route of the address. */
export const route = () => current;

/** navigate goes to the address that href returned. With replace, Back skips the present one. */
export function navigate(to, { replace = false } = {}) {
  if (replace) {
    history.replaceState(history.state, '', to);
    changed();
  } else {
    location.hash = to;
  }
}

/** useRoute returns the route, and renders again when it changes. */
export function useRoute() {
  const [value, set] = useState(current);
  useEffect(() => {
    set(current);
    listeners.add(set);
    return () => listeners.delete(set);
  }, []);
  return value;
}

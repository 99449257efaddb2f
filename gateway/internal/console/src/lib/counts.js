// How many jobs there are in each state, for the header and the filters.
import { onKeyChange, request } from './api.js';
import { useEffect, useState } from './preact.js';

const every = 10_000;

let counts = null;
let timer = 0;
let unknown = false; // the gateway has no such route
const listeners = new Set();

async function refresh() {
  clearTimeout(timer);
  if (unknown || listeners.size === 0) return;
  timer = setTimeout(refresh, every);
  if (document.visibilityState !== 'visible') return;
  try {
    ({ data: counts } = await request('GET', 'api/v1/counts', { background: true }));
  } catch (err) {
    if (err.status === 404) unknown = true;
    if (err.status === 0) return; // the last numbers are better than none
    counts = null;
  }
  for (const listener of listeners) listener(counts);
}

/** jobsChanged requests the counts soon, after a job was created, ended or deleted. */
export function jobsChanged() {
  clearTimeout(timer);
  timer = setTimeout(refresh, 300);
}

globalThis.document?.addEventListener('visibilitychange', jobsChanged);
onKeyChange(jobsChanged);

/** useCounts returns the response of GET /api/v1/counts, or null while it is not known. */
export function useCounts(allowed = true) {
  const [value, set] = useState(counts);
  useEffect(() => {
    if (!allowed) return undefined;
    listeners.add(set);
    if (listeners.size === 1) refresh();
    else set(counts);
    return () => listeners.delete(set);
  }, [allowed]);
  return allowed ? value : null;
}

/** countText returns "1,000+" for a number at which the gateway stopped counting. */
export function countText(value, name) {
  if (value?.[name] === undefined) return '';
  return `${value[name].toLocaleString('en-US')}${value.at_least?.includes(name) ? '+' : ''}`;
}

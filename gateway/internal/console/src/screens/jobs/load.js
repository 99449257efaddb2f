// Loading the list page by page, and keeping its jobs up to date.
import { connected, onConnection, onKeyChange, request } from '../../lib/api.js';
import { jobsChanged } from '../../lib/counts.js';
import { useInterval } from '../../lib/load.js';
import { useEffect, useRef, useState } from '../../lib/preact.js';
import { ended } from '../../lib/state.js';
import { append, nothing, refresh, showNew, update } from './list.js';

const pageSize = 50;
const enough = 25; // jobs for which pages are requested at a time; a page of a search may have few
const maxPages = 10; // requests at a time, because each may examine 2,000 jobs in vain
const every = 4000; // ms between two looks at the first page
const maxSingles = 8; // open jobs that are looked up by themselves at a time

const page = async (query, options) => {
  const { data } = await request('GET', 'api/v1/batch', { query: { ...query, view: 'summary' }, ...options });
  return { jobs: data.jobs, token: data.next_page_token ?? null };
};

/** useList returns {list, loading, error, stale, more, showNew, look} for a filter. list is
 * that of another filter while it is stale. more loads the next pages, or repeats what has
 * failed, and look reads the present states at once. */
export function useList(filter, paused) {
  const name = JSON.stringify(filter);
  const [state, set] = useState({ name: null, list: nothing, loading: true, error: null });
  const [round, restart] = useState(0);
  const latest = useRef(state);
  latest.current = state;
  const stop = useRef(null);

  // load appends the pages that follow, or begins with the first one.
  const load = async (from) => {
    const { signal } = stop.current;
    set((old) => ({ ...old, loading: true, error: null }));
    const found = { jobs: [], token: from?.token };
    let error = null;
    try {
      for (let n = 0; n < maxPages && found.jobs.length < enough && found.token !== null; n++) {
        const { jobs, token } = await page({ ...filter, limit: pageSize, page_token: found.token }, { signal });
        found.jobs.push(...jobs);
        found.token = token;
      }
    } catch (err) {
      if (signal.aborted) return;
      error = err;
    }
    if (signal.aborted) return;
    set((old) => {
      const list = found.token === undefined ? (old.name === name ? old.list : nothing) : append(from ? old.list : nothing, found);
      return { name, list, loading: false, error };
    });
  };

  useEffect(() => {
    stop.current = new AbortController();
    load(null);
    return () => stop.current.abort();
  }, [name, round]);
  useEffect(() => onKeyChange(() => restart((n) => n + 1)), []);

  const more = () => {
    if (!latest.current.loading) load(latest.current.list.token === null ? null : latest.current.list);
  };
  useEffect(() => (state.error ? onConnection((now) => now && more()) : undefined), [state.error]);

  const looking = useRef(false);
  const turn = useRef(0);
  const look = async () => {
    const { signal } = stop.current;
    if (looking.current || latest.current.loading || latest.current.error || !connected()) return;
    looking.current = true;
    const options = { signal, background: true };
    try {
      const first = await page({ ...filter, limit: pageSize }, options);
      if (signal.aborted) return;
      const before = latest.current.list;
      let list = refresh(before, first, filter.order === 'oldest');
      // The others are looked up by their IDs: those on later pages, and those that have left the filter.
      const on = new Set(first.jobs.map((job) => job.job_id));
      const rest = list.jobs.filter((job) => !ended(job) && !on.has(job.job_id));
      const some = rest.length <= maxSingles ? rest : Array.from({ length: maxSingles }, (_, i) => rest[(turn.current + i) % rest.length]);
      turn.current += maxSingles;
      const singles = await Promise.all(some.map((job) => page({ q: job.job_id, limit: 1 }, options).catch(() => ({ jobs: [] }))));
      if (signal.aborted) return;
      list = update(list, singles.flatMap(({ jobs }) => jobs));
      if (list === before) return;
      const had = new Map(before.jobs.map((job) => [job.job_id, job.status]));
      if (list.jobs.some((job) => had.get(job.job_id) !== job.status) || list.waiting) jobsChanged();
      set((old) => (old.name === name && old.list === before ? { ...old, list } : old));
    } catch {
      // The next look is soon, and the page says when the gateway cannot be reached.
    } finally {
      looking.current = false;
    }
  };
  useInterval(() => paused || look(), every);

  return {
    ...state, stale: state.name !== name, more, look,
    showNew: () => set((old) => ({ ...old, list: showNew(old.list) })),
  };
}

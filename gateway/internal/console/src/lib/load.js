// Loading data for a screen.
import { onConnection, onKeyChange } from './api.js';
import { useCallback, useEffect, useRef, useState } from './preact.js';

const nothing = { data: undefined, error: null, loading: true };

/** useLoad calls load(signal) when deps change, after a change of the key, when the gateway can be
 * reached again after a failure, and by reload(). It returns {data, error, loading, reload}. While
 * it loads again with the same deps, data stays; an error also leaves the last data. */
export function useLoad(load, deps = []) {
  const [state, set] = useState(nothing);
  const [round, again] = useState(0);
  const last = useRef(null);
  const reload = useCallback(() => again((n) => n + 1), []);
  useEffect(() => {
    const stop = new AbortController();
    const same = last.current?.every((dep, i) => Object.is(dep, deps[i]));
    last.current = deps;
    set((old) => (same ? { ...old, loading: true } : nothing));
    Promise.resolve(load(stop.signal)).then((data) => {
      if (!stop.signal.aborted) set({ data, error: null, loading: false });
    }, (error) => {
      if (!stop.signal.aborted) set((old) => ({ data: old.data, error, loading: false }));
    });
    return () => stop.abort();
  }, [...deps, round]);
  useEffect(() => onKeyChange(reload), []);
  const failed = state.error !== null;
  useEffect(() => (failed ? onConnection((now) => now && reload()) : undefined), [failed]);
  return { ...state, reload };
}

/** useInterval calls tick every ms while the page is visible, and when it becomes visible again
 * after that time. */
export function useInterval(tick, ms) {
  const latest = useRef(tick);
  latest.current = tick;
  useEffect(() => {
    let last = Date.now();
    const due = () => {
      if (document.visibilityState !== 'visible' || Date.now() - last < ms - 50) return;
      last = Date.now();
      latest.current();
    };
    const timer = setInterval(due, ms);
    document.addEventListener('visibilitychange', due);
    return () => {
      clearInterval(timer);
      document.removeEventListener('visibilitychange', due);
    };
  }, [ms]);
}

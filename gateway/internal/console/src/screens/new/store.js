// State that lives as long as the page, whichever screen is shown.
import { useEffect, useState } from '../../lib/preact.js';

/** store returns an object with the members of `first`, which set() changes. use() returns it in a
 * component, and renders the component again after a change. */
export function store(first) {
  const listeners = new Set();
  const state = { ...first };
  return {
    get: () => state,
    set(changes) {
      Object.assign(state, changes);
      for (const listener of listeners) listener();
    },
    use() {
      const [, again] = useState(0);
      useEffect(() => {
        const listener = () => again((n) => n + 1);
        listeners.add(listener);
        listener(); // something may have changed since the component was rendered
        return () => listeners.delete(listener);
      }, []);
      return state;
    },
  };
}

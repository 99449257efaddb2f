// Which elements are near the visible part of the page. One observer serves all of them.
import { useEffect, useState } from '../../lib/preact.js';

const callbacks = new WeakMap();
let observer = null;

function watch(element, callback) {
  observer ??= new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) callbacks.get(target)?.(isIntersecting);
  }, { rootMargin: '600px' });
  callbacks.set(element, callback);
  observer.observe(element);
  return () => observer.unobserve(element);
}

/** useNear reports whether the element of ref is near the visible part of the page. If it is not
 * enabled, it does not look, and reports false. */
export function useNear(ref, enabled = true) {
  const [near, set] = useState(false);
  useEffect(() => {
    if (!enabled) return undefined;
    const stop = watch(ref.current, set);
    return () => {
      stop();
      set(false);
    };
  }, [enabled]);
  return near;
}

// Which elements are near the visible part of the page. One observer serves all cards.
import { useEffect, useState } from '../../lib/preact.js';

const callbacks = new WeakMap();
let observer = null;

function watch(element, callback) {
  observer ??= new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      observer.unobserve(target);
      callbacks.get(target)?.();
    }
  }, { rootMargin: '600px' });
  callbacks.set(element, callback);
  observer.observe(element);
  return () => observer.unobserve(element);
}

/** useNear reports whether the element of ref has been near the visible part of the page. */
export function useNear(ref) {
  const [near, set] = useState(false);
  useEffect(() => watch(ref.current, () => set(true)), []);
  return near;
}

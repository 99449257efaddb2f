// The pictures of the image that is shown and of its neighbors. With an API key, they are object
// URLs, which hold the memory of whole files: never of more than these.
import { address, onKeyChange, picture, release, useKey } from '../../lib/api.js';
import { useEffect, useRef, useState } from '../../lib/preact.js';

/** usePictures loads the paths and returns a function that returns {src, retry} of one: src is ''
 * while it loads, and null if it cannot be loaded. It ends and forgets whatever is not among the
 * paths any more. */
export function usePictures(paths) {
  const secret = useKey();
  const loads = useRef(new Map());
  const [, again] = useState(0);
  const render = () => again((n) => n + 1);

  const end = (path) => {
    const load = loads.current.get(path);
    loads.current.delete(path);
    load?.stop.abort();
    if (load?.url) release(load.url);
  };
  const start = (path, tries = 0) => {
    const load = { stop: new AbortController(), src: '', url: '', tries };
    loads.current.set(path, load);
    if (!secret) {
      load.src = `${address(path).href}${tries ? `#${tries}` : ''}`; // a new fragment makes the browser request it again
      load.image = new Image(); // the browser keeps what it has loaded
      load.image.src = load.src;
      return;
    }
    picture(path, load.stop.signal).then((url) => {
      if (load.stop.signal.aborted) URL.revokeObjectURL(url);
      else Object.assign(load, { src: url, url });
      render();
    }, (err) => {
      if (err.code === 'aborted') return;
      load.src = null;
      render();
    });
  };

  useEffect(() => onKeyChange(() => { for (const path of [...loads.current.keys()]) end(path); }), []);
  useEffect(() => () => { for (const path of [...loads.current.keys()]) end(path); }, []);
  useEffect(() => {
    for (const path of [...loads.current.keys()]) if (!paths.includes(path)) end(path);
    for (const path of paths) if (!loads.current.has(path)) start(path);
    render();
  }, [paths.join(), secret]);

  return (path) => ({
    src: loads.current.get(path)?.src ?? '',
    retry: () => {
      const tries = loads.current.get(path)?.tries ?? 0;
      end(path);
      start(path, tries + 1);
      render();
    },
  });
}

// Screens that are not part of the first visit. Each has a module in this folder, which becomes a
// chunk. They are loaded when they are needed, or earlier when the browser has time.
import { useEffect, useState } from '../lib/preact.js';
import { checkRelease } from '../lib/release.js';

const later = {
  upload: () => import('./upload.js'),
  jobs: () => import('./jobs.js'),
  job: () => import('./job.js'),
  viewer: () => import('./viewer.js'),
  system: () => import('./system.js'),
};
const loaded = {};

let styles = null;

// styleSheet loads the style sheet of all these screens.
function styleSheet() {
  styles ??= new Promise((resolve, reject) => {
    const link = Object.assign(document.createElement('link'), { rel: 'stylesheet', href: 'later.css', onload: resolve });
    link.onerror = () => {
      styles = null;
      link.remove();
      reject(new Error('later.css could not be loaded'));
    };
    document.head.append(link);
  });
  return styles;
}

async function load(name) {
  const [module] = await Promise.all([later[name](), styleSheet()]);
  loaded[name] = module.default;
}

/** start loads the screen of the address that the page was opened with. */
export const start = (name) => name in later && load(name).catch(() => {}); // useScreen tries again

/** useScreen returns {screen, error, retry}: the component of a screen, null while it loads. */
export function useScreen(name, screens) {
  const ready = screens[name] ?? loaded[name] ?? null;
  const [failure, set] = useState(null);
  const [round, again] = useState(0);
  useEffect(() => {
    if (ready) return undefined;
    let current = true;
    const settle = (error) => current && set({ name, error }); // renders, so that ready is found
    load(name).then(() => settle(null), async () => {
      await checkRelease(); // the files of an earlier release are gone
      settle({ text: 'A part of this page could not be loaded', advice: 'Check the network connection. If it happens again, reload the page.' });
    });
    return () => { current = false; };
  }, [name, round]);
  const error = !ready && failure?.name === name ? failure.error : null;
  return { screen: ready, error, retry: () => { set(null); again((n) => n + 1); } };
}

/** prefetch loads all screens, one after another, when the browser is idle. A screen that fails is
 * loaded again when it is needed. */
export function prefetch(names = Object.keys(later)) {
  if (names.length === 0 || navigator.connection?.saveData) return;
  const idle = globalThis.requestIdleCallback ?? ((run) => setTimeout(run, 500)); // Safari
  idle(() => load(names[0]).then(() => prefetch(names.slice(1)), () => {}), { timeout: 5000 });
}

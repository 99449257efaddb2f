// Dropping and pasting. A drop works on every screen: where a page does not take a file, the browser
// leaves the page to open it.
import { href, navigate, route } from '../../lib/router.js';
import { useEffect } from '../../lib/preact.js';
import { parseUrls } from './check.js';
import { fromClipboard, fromDrop, hasFiles } from './collect.js';
import { addFiles, addUrls, selection } from './selection.js';
import { store } from './store.js';

/** dragging.over is true while files are dragged over the page. */
export const dragging = store({ over: false });

const stays = 700; // ms after the last event; browsers send one every 50 to 350 ms

let timer = 0;
function over(now) {
  clearTimeout(timer);
  if (now) timer = setTimeout(over, stays, false);
  if (dragging.get().over !== now) dragging.set({ over: now });
}

const editable = (target) => target instanceof Element && target.closest('textarea, input:not([type="checkbox"], [type="file"])');
const isLink = (transfer) => Array.from(transfer?.types ?? []).includes('text/uri-list');

let inside = false; // something of this page is dragged, such as a link

function dragged(event) {
  if (inside) return;
  const files = hasFiles(event.dataTransfer);
  if (!files && (!isLink(event.dataTransfer) || editable(event.target))) return;
  event.preventDefault();
  event.dataTransfer.dropEffect = 'copy';
  over(true);
}

function dropped(event) {
  over(false);
  if (inside) return;
  const { dataTransfer: transfer } = event;
  const files = hasFiles(transfer);
  if (!files && (!isLink(transfer) || editable(event.target))) return;
  event.preventDefault();
  if (files) addFiles(fromDrop(transfer, (reading) => selection.set({ reading })));
  else addText(transfer.getData('text/uri-list'));
  if (route().name !== 'new') navigate(href('new'));
}

// addText adds URLs. It reports whether the text has nothing else.
function addText(text) {
  const { urls, problems } = parseUrls(text);
  if (urls.length === 0 || problems.length > 0) return false;
  addUrls(urls);
  return true;
}

function paste(event) {
  const { clipboardData: data } = event;
  if (!data || editable(event.target) || document.querySelector('dialog[open]')) return;
  if (data.files.length > 0) {
    event.preventDefault();
    addFiles(fromClipboard(data));
  } else if (!addText(data.getData('text/plain'))) {
    selection.set({ note: 'The clipboard has neither an image nor a list of URLs.' });
  }
}

/** usePaste takes what is pasted while a screen is shown. */
export function usePaste() {
  useEffect(() => {
    document.addEventListener('paste', paste);
    return () => document.removeEventListener('paste', paste);
  }, []);
}

if (globalThis.document) {
  addEventListener('dragstart', () => { inside = true; });
  addEventListener('dragend', () => { inside = false; });
  addEventListener('dragenter', dragged);
  addEventListener('dragover', dragged);
  addEventListener('dragleave', (event) => !event.relatedTarget && over(false));
  addEventListener('drop', dropped);
}

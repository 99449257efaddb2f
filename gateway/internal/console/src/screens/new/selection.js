// The images that were chosen and not yet sent. They stay while the person looks at other screens.
import { limits } from '../../lib/api.js';
import { plural } from '../../lib/format.js';
import { announce } from '../../lib/ui.js';
import { inspect, isSystemFile, nameOfUrl } from './check.js';
import { inOrder, maxFiles } from './collect.js';
import { sentBefore } from './history.js';
import { store } from './store.js';

const chunk = 200; // files after which the list is shown again
const readers = 8; // files that are read at the same time

/** selection has
 * - items: {id, name, path, size, time, file or url, ticked, sentAt}
 * - refused: {name, path, size, kind, format}
 * - note: what the last action did not do, or ''
 * - reading: number of files that were found so far while folders are read, or null */
export const selection = store({ items: [], refused: [], note: '', reading: null });

let lastId = 0;

/** identity is the same for the same file chosen twice. */
export const identity = ({ url, path, size, time }) => url ?? `${path}\n${size}\n${time}`;

/** fileItem returns the item of a file. */
export const fileItem = ({ file, path }) => ({ id: ++lastId, name: file.name, path, size: file.size, time: file.lastModified, file, ticked: true, sentAt: 0 });

/** take lets a screen have the next files before they become part of the selection: an interrupted
 * upload that needs them. It returns those that it does not need. */
let takers = [];
export function onFiles(taker) {
  takers.push(taker);
  return () => { takers = takers.filter((other) => other !== taker); };
}

/** addFiles adds what is found in [{file, path}] or in a promise of that. */
export async function addFiles(source) {
  selection.set({ note: '', reading: selection.get().reading ?? 0 });
  try {
    const [given, { max_image_bytes: limit }] = await Promise.all([source, limits()]);
    let found = inOrder(given.filter(({ path }) => !isSystemFile(path)));
    const offered = found.length;
    for (const taker of takers) found = taker(found);
    const taken = offered - found.length;
    await check(found, limit, taken);
  } catch (err) {
    selection.set({ note: `The files could not be read: ${err.text ?? err.message}` });
  } finally {
    selection.set({ reading: null });
  }
}

async function check(found, limit, taken) {
  const present = new Set(selection.get().items.map(identity));
  const fresh = found.map(fileItem).filter((item) => {
    const key = identity(item);
    if (present.has(key)) return false;
    present.add(key);
    return true;
  });
  const room = Math.max(0, maxFiles - selection.get().items.length);
  const wanted = fresh.slice(0, room);
  const sent = sentBefore();
  let [added, refused] = [0, 0];
  for (let start = 0; start < wanted.length; start += chunk) {
    const part = wanted.slice(start, start + chunk);
    const reasons = [];
    let next = 0;
    await Promise.all(Array.from({ length: readers }, async () => {
      while (next < part.length) {
        const i = next++;
        reasons[i] = await inspect(part[i].file, { max_image_bytes: limit });
      }
    }));
    const good = part.filter((_, i) => !reasons[i]).map((item) => {
      const sentAt = sent(item);
      return { ...item, sentAt, ticked: !sentAt };
    });
    const bad = part.flatMap(({ name, path, size }, i) => (reasons[i] ? [{ name, path, size, ...reasons[i] }] : []));
    added += good.length;
    refused += bad.length;
    const { items, refused: before } = selection.get();
    selection.set({ items: [...items, ...good], refused: [...before, ...bad].slice(-maxFiles), reading: start + part.length });
  }
  const repeated = found.length - fresh.length;
  const notes = [];
  if (found.length + taken === 0) notes.push('There are no images in it.');
  if (repeated > 0) notes.push(`${plural(repeated, 'file is', 'files are')} already in the list.`);
  if (fresh.length > room) notes.push(`The list takes ${plural(maxFiles, 'image')} at a time. Send these before you choose more.`);
  selection.set({ note: notes.join(' ') });
  const news = [added > 0 && `${plural(added, 'image')} added`, refused > 0 && `${plural(refused, 'file')} cannot be sent`, ...notes];
  announce(news.filter(Boolean).join('. '));
}

/** addUrls adds images by URL. */
export function addUrls(urls) {
  const { items } = selection.get();
  const present = new Set(items.map(identity));
  const fresh = urls.filter((url) => !present.has(url)).slice(0, Math.max(0, maxFiles - items.length));
  const left = urls.length - fresh.length;
  selection.set({
    items: [...items, ...fresh.map((url) => ({ id: ++lastId, name: nameOfUrl(url), path: url, size: 0, time: 0, url, ticked: true, sentAt: 0 }))],
    note: left > 0 ? `${plural(left, 'URL is', 'URLs are')} already in the list.` : '',
  });
  announce(`${plural(fresh.length, 'URL')} added`);
}

/** putBack adds items that were not sent, before the others. */
export function putBack(items) {
  const { items: others } = selection.get();
  const present = new Set(others.map(identity));
  selection.set({ items: [...items.filter((item) => !present.has(identity(item))).map((item) => ({ ...item, ticked: true })), ...others] });
}

/** tick ticks or unticks an item, or all if id is null. */
export function tick(id, ticked) {
  selection.set({ items: selection.get().items.map((item) => ((id === null || item.id === id) && item.ticked !== ticked ? { ...item, ticked } : item)) });
}

/** remove removes items, or all if no IDs are given. */
export function remove(ids) {
  const gone = ids && new Set(ids);
  selection.set({ items: gone ? selection.get().items.filter((item) => !gone.has(item.id)) : [], note: '' });
}

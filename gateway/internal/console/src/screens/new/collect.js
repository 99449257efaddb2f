// Files from a drop, a paste or a file dialog, as {file, path}. The path is relative to what was
// chosen.
import { isSystemFile } from './check.js';

/** maxFiles is how many files can be chosen at a time. */
export const maxFiles = 10_000;

const maxEntries = 100_000; // of all kinds in a dropped folder
const maxDepth = 32;

const collator = new Intl.Collator('en', { numeric: true });

/** inOrder sorts files as a file manager does: IMG_2 comes before IMG_10. */
export const inOrder = (found) => found.sort((a, b) => collator.compare(a.path, b.path));

/** fromInput returns the files of a file dialog. */
export const fromInput = (input) => [...input.files].map((file) => ({ file, path: file.webkitRelativePath || file.name }));

// A screenshot in the clipboard is always called image.png.
function pasted(file) {
  if (!/^image\.\w+$/.test(file.name)) return file;
  const now = new Date();
  const time = new Date(now - now.getTimezoneOffset() * 60_000).toISOString().slice(0, 19).replace('T', ' ').replaceAll(':', '.');
  return new File([file], `pasted ${time}.${file.name.split('.').pop()}`, { type: file.type, lastModified: now.getTime() });
}

/** fromClipboard returns the files of a paste. */
export const fromClipboard = (transfer) => [...transfer.files].map(pasted).map((file) => ({ file, path: file.name }));

/** hasFiles reports whether something with files is dragged. */
export const hasFiles = (transfer) => Array.from(transfer?.types ?? []).includes('Files');

/** fromDrop resolves to the files of a drop, with those in folders. onCount is called with their
 * number now and then. It must be called in the event itself, which alone may read what was
 * dropped. */
export function fromDrop(transfer, onCount) {
  const items = [...(transfer.items ?? [])].filter((item) => item.kind === 'file');
  const entries = items.map((item) => item.webkitGetAsEntry?.());
  const files = items.map((item, i) => (entries[i]?.isDirectory ? null : item.getAsFile()));
  return walk(entries, files.length > 0 ? files : [...transfer.files], onCount);
}

async function walk(roots, files, onCount) {
  const found = files.filter(Boolean).map((file) => ({ file, path: file.name }));
  const folders = roots.filter((entry) => entry?.isDirectory).map((entry) => ({ entry, path: entry.name, depth: 0 }));
  let seen = 0;
  while (folders.length > 0 && found.length <= maxFiles) {
    const { entry, path, depth } = folders.pop();
    const reader = entry.createReader();
    for (;;) {
      let batch;
      try {
        batch = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
      } catch {
        break; // a folder that this person must not read
      }
      if (batch.length === 0) break;
      for (const child of batch) {
        const below = `${path}/${child.name}`;
        if (++seen > maxEntries || found.length > maxFiles) return found;
        if (isSystemFile(child.name)) continue;
        if (child.isDirectory) {
          if (depth < maxDepth) folders.push({ entry: child, path: below, depth: depth + 1 });
          continue;
        }
        const file = await new Promise((resolve) => child.file(resolve, () => resolve(null)));
        if (file) found.push({ file, path: below });
      }
      onCount?.(found.length);
    }
  }
  return found;
}

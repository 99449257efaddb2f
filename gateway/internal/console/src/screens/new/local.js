// Small copies of the chosen pictures, for their list.
import { useEffect, useState } from '../../lib/preact.js';

const side = 320; // pixels of the long side
const maxCopies = 200; // of about 15 kB each
const maxDecoders = 2; // a large photo takes 100 MB while it is decoded

const copies = new Map(); // File → object URL, the last used at the end
const failed = new WeakSet();
const waiting = [];
let decoders = 0;

async function shrink(file) {
  const bitmap = await createImageBitmap(file); // decoded outside of this thread, upright
  const scale = Math.min(1, side / Math.max(bitmap.width, bitmap.height));
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext('2d');
  context.imageSmoothingQuality = 'medium';
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  bitmap.close();
  return new Promise((resolve, reject) => {
    canvas.toBlob((blob) => (blob ? resolve(URL.createObjectURL(blob)) : reject(new Error('not drawn'))), 'image/webp', 0.8); // WebP keeps transparency
  });
}

// next decodes the next file that somebody still waits for.
async function next() {
  if (decoders >= maxDecoders || waiting.length === 0) return;
  const job = waiting.shift();
  const { file } = job;
  decoders++;
  try {
    const src = copies.get(file) ?? await shrink(file);
    copies.delete(file);
    copies.set(file, src);
    job.done(src);
    if (copies.size > maxCopies) {
      const [oldest, url] = copies.entries().next().value;
      copies.delete(oldest);
      URL.revokeObjectURL(url); // an image that is shown stays
    }
  } catch {
    failed.add(file);
    job.done(null);
  }
  decoders--;
  next();
}

/** useLocal returns the src of a small copy of a picture file, '' while it is made, and null if the
 * browser cannot show the file. */
export function useLocal(file) {
  const [made, set] = useState({ file: null, src: '' });
  useEffect(() => {
    if (!file || failed.has(file)) return undefined;
    const job = { file, done: (src) => set({ file, src }) };
    waiting.push(job);
    next();
    return () => {
      const i = waiting.indexOf(job);
      if (i >= 0) waiting.splice(i, 1);
      job.done = () => {};
    };
  }, [file]);
  if (!file) return '';
  if (failed.has(file)) return null;
  return made.file === file ? made.src : '';
}

// Example photos for the pictures of the console in the documentation. They are parts of three photos: docs/sunrise.jpg, and two
// that Go modules ship under the MIT license.

import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = join(dirname(fileURLToPath(import.meta.url)), '../..');

// module returns the folder of a Go module. The tests give the browser another home, in which Go has no modules.
const module = (path) => execFileSync('go', ['-C', join(root, 'analyzer'), 'list', '-m', '-f', '{{.Dir}}', path],
  { encoding: 'utf8', env: { ...process.env, HOME: userInfo().homedir } }).trim();

/** The photo with title, keywords, place and time of its own. */
export const sunrise = () => readFileSync(join(root, 'docs/sunrise.jpg'));
const desert = () => readFileSync(join(module('github.com/bep/imagemeta'), 'testdata/images/hugo-issue-12669.jpg'));
const branches = () => readFileSync(join(module('github.com/disintegration/imaging'), 'testdata/branches.jpg'));

// Parts of the photos: [name, left, top, width, height], as fractions of the whole.
const cuts = [
  [desert, [
    ['DSC_0412.jpg', 0, 0, 1, 1], ['DSC_0413.jpg', 0.05, 0.1, 0.5, 0.6], ['DSC_0415.jpg', 0.42, 0.16, 0.36, 0.5], ['DSC_0416.jpg', 0.66, 0, 0.28, 0.78],
    ['DSC_0418.jpg', 0.34, 0.62, 0.3, 0.22], ['DSC_0419.jpg', 0, 0, 0.62, 0.52], ['DSC_0421.jpg', 0.22, 0.2, 0.17, 0.6],
  ]],
  [sunrise, [['DSC_0502.jpg', 0.06, 0.42, 0.5, 0.5], ['DSC_0503.jpg', 0.62, 0.35, 0.38, 0.5]]],
  [branches, [['DSC_0530.jpg', 0, 0, 1, 1], ['DSC_0531.jpg', 0.3, 0.1, 0.6, 0.8]]],
];

/** Returns the photos as [{name, data}]. The page cuts them. */
export async function photos(page) {
  const all = [{ name: 'sunrise.jpg', data: sunrise() }];
  for (const [read, parts] of cuts) {
    const encoded = await page.evaluate(async ([base64, boxes]) => {
      const bitmap = await createImageBitmap(new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))]));
      const out = [];
      for (const [x, y, w, h] of boxes) {
        const [width, height] = [w * bitmap.width, h * bitmap.height];
        const scale = Math.min(1, 1600 / Math.max(width, height));
        const canvas = new OffscreenCanvas(Math.round(width * scale), Math.round(height * scale));
        canvas.getContext('2d').drawImage(bitmap, x * bitmap.width, y * bitmap.height, width, height, 0, 0, canvas.width, canvas.height);
        const blob = await canvas.convertToBlob({ type: 'image/jpeg', quality: 0.9 });
        out.push(btoa(Array.from(new Uint8Array(await blob.arrayBuffer()), (byte) => String.fromCharCode(byte)).join('')));
      }
      return out;
    }, [read().toString('base64'), parts.map(([, ...box]) => box)]);
    parts.forEach(([name], i) => all.push({ name, data: Buffer.from(encoded[i], 'base64') }));
  }
  return all;
}

// Files for uploads, and the ways in which a person gives them to a page.

import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';

const sunrise = readFileSync(join(dirname(fileURLToPath(import.meta.url)), '../../docs/sunrise.jpg'));

/** Returns a photo with title, place and time: a JPEG of at least the given number of bytes, different for each number n. */
export function photo(n = 0, bytes = 0) {
  const tail = Buffer.alloc(Math.max(8, bytes - sunrise.length)); // Bytes after the end of a JPEG are not part of the picture.
  tail.writeUInt32BE(n, tail.length - 4);
  return Buffer.concat([sunrise, tail]);
}

/** Returns a PNG without metadata. Each number is another picture. */
export function tile(n = 0, { width = 48, height = 32 } = {}) {
  const rows = Buffer.alloc(height * (1 + 3 * width));
  for (let y = 0, at = 0; y < height; y++) {
    at++; // no filter
    for (let x = 0; x < width; x++) {
      rows[at++] = n * 37 + x;
      rows[at++] = (n >> 3) * 29 + y;
      rows[at++] = (x ^ y) * 5 + n * 101;
    }
  }
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 2], 8); // 8 bits, RGB
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), chunk('IHDR', header), chunk('IDAT', deflateSync(rows)), chunk('IEND', Buffer.alloc(0)),
  ]);
}

function chunk(type, data) {
  const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
  const out = Buffer.alloc(8 + body.length);
  out.writeUInt32BE(data.length, 0);
  body.copy(out, 4);
  out.writeUInt32BE(crc32(body), 4 + body.length);
  return out;
}

/** Writes {path: data} below a folder and returns the paths of the files, in order. */
export function write(folder, files) {
  return Object.entries(files).map(([name, data]) => {
    const path = join(folder, name);
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, data);
    return path;
  });
}

/**
 * Drops files or folders on a page, as from a file manager: on the center of an element, or at {x, y}. The browser opens the file
 * where the page does not prevent that.
 */
export async function drop(page, target, paths) {
  let point = target;
  if (typeof target === 'string' || target.boundingBox) {
    const box = await (typeof target === 'string' ? page.locator(target) : target).boundingBox();
    point = { x: box.x + box.width / 2, y: box.y + box.height / 2 };
  }
  const session = await page.context().newCDPSession(page);
  const data = { items: [], files: paths, dragOperationsMask: 1 };
  for (const type of ['dragEnter', 'dragOver', 'drop']) await session.send('Input.dispatchDragEvent', { type, ...point, data });
  await session.detach();
}

/** Pastes files [{name, type, data}] or a text into the element that has the focus. */
export async function paste(page, files) {
  const encoded = typeof files === 'string' ? files : files.map(({ data, ...file }) => ({ ...file, base64: data.toString('base64') }));
  await page.evaluate((given) => {
    const clipboardData = new DataTransfer();
    if (typeof given === 'string') clipboardData.setData('text/plain', given);
    else {
      for (const { name, type, base64 } of given) {
        const bytes = Uint8Array.from(atob(base64), (c) => c.charCodeAt(0));
        clipboardData.items.add(new File([bytes], name, { type }));
      }
    }
    document.activeElement.dispatchEvent(new ClipboardEvent('paste', { clipboardData, bubbles: true, cancelable: true }));
  }, encoded);
}

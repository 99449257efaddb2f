// Reading the archives that the console downloads.

import { readFileSync } from 'node:fs';
import { assert } from './rig.mjs';

/** Returns the files of an archive, {name: data}, by its directory. The gateway stores them without compression. */
export function unzip(path) {
  const data = readFileSync(path);
  const end = data.lastIndexOf(Buffer.from('PK\x05\x06', 'latin1'));
  assert.ok(end >= 0, `${path} has no directory`);
  const files = {};
  let at = data.readUInt32LE(end + 16);
  for (let entries = data.readUInt16LE(end + 10); entries > 0; entries--) {
    const [size, nameLength] = [data.readUInt32LE(at + 24), data.readUInt16LE(at + 28)];
    const start = data.readUInt32LE(at + 42);
    const name = data.toString('utf8', at + 46, at + 46 + nameLength);
    const content = start + 30 + data.readUInt16LE(start + 26) + data.readUInt16LE(start + 28);
    files[name] = data.subarray(content, content + size);
    at += 46 + nameLength + data.readUInt16LE(at + 30) + data.readUInt16LE(at + 32);
  }
  return files;
}

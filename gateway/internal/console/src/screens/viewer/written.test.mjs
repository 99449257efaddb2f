import assert from 'node:assert/strict';
import test from 'node:test';
import { written } from './written.js';

const record = (processed, more) => written({ sha256: 'a', file_size: 1000, ...more, processed: { sha256: 'b', file_size: 1442, xmp: 'added', exif: 'none', iptc: 'none', ...processed } }).join(' ');

test('what was written', () => {
  assert.equal(record({}), 'An XMP packet with the measured values was added. The file had none. The file is 442 bytes larger: 1.4 kB. The pixels are those of the original.');
  assert.match(record({ xmp: 'merged' }), /^The measured values were added to the XMP packet of the file\./);
  assert.match(record({ exif: 'filled' }), /ImageDescription/);
  assert.match(record({ iptc: 'filled' }), /IPTC/);
  assert.match(record({ gps: 'removed' }), /The GPS position was removed\./);
  assert.match(record({ gps: 'none' }), /none was found\./);
  assert.match(record({ sidecar: 'added' }), /sidecar\.$/);
  assert.match(record({ xmp: 'none', gps: 'removed', file_size: 1000 }), /^No XMP was written\. The GPS position was removed\. The file has the same size as before: 1 kB\./);
  assert.match(record({ file_size: 999 }), /1 byte smaller/);
});

test("a model's texts are in the packet", () => {
  assert.match(record({}, { captioned: ['title', 'keywords', 'alt_text'] }), /The model's title, keywords and alt text are in that packet too/);
  assert.match(record({}, { captioned: ['title'] }), /The model's title is in/);
  assert.doesNotMatch(record({ xmp: 'none' }, { captioned: ['title'] }), /model/);
});

test('a file that was left as it is', () => {
  assert.equal(record({ sha256: 'a', xmp: 'none', file_size: 1000, sidecar: 'added' }), 'Nothing was written: the file is the original, bit for bit. The XMP is also in a file of its own, the sidecar.');
  assert.deepEqual(written({}), []);
});

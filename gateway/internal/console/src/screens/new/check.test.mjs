import assert from 'node:assert/strict';
import test from 'node:test';
import { formatOf, inspect, isSystemFile, nameOfUrl, parseUrls, reasonOf, summary } from './check.js';

const limits = { max_image_bytes: 10 << 20 };
const head = (text) => new Uint8Array(Buffer.from(text.padEnd(16, '\0'), 'latin1'));

test('system files', () => {
  for (const path of ['.DS_Store', 'a/Thumbs.db', 'a/THUMBS.DB', 'desktop.ini', 'a/._IMG_1.jpg', 'a/@eaDir/IMG_1.jpg/x.jpg', '.hidden/a.jpg']) assert.ok(isSystemFile(path), path);
  for (const path of ['a.jpg', 'a/b.c/d.png', 'Thumbs.db.jpg', 'my @eaDir.png']) assert.ok(!isSystemFile(path), path);
});

test('formats by the first bytes', () => {
  const want = {
    '\xff\xd8\xff\xe1': 'JPEG', '\x89PNG\r\n\x1a\n': 'PNG', '\0\0\0\x18ftypheic': 'HEIC', '\0\0\0\x18ftypmif1': 'HEIC', '\0\0\0\x18ftypavif': 'AVIF', '\0\0\0\x18ftypcrx ': 'a raw photo',
    '\0\0\0\x18ftypqt  ': 'a video', 'RIFF\0\0\0\0WEBP': 'WebP', GIF89a: 'GIF', 'II*\0': 'TIFF or a raw photo', '%PDF-1.7': 'PDF', hello: '', '\x89PNG\n': '',
  };
  for (const [start, format] of Object.entries(want)) assert.equal(formatOf(head(start)), format, start);
});

test('which files can be sent', async () => {
  const reason = (data, name) => inspect(new File([data], name), limits);
  assert.equal(await reason(head('\xff\xd8\xff\xe1'), 'no extension'), null);
  assert.equal(await reason(head('\x89PNG\r\n\x1a\n'), 'a.jpg'), null); // the gateway does not look at names either
  assert.deepEqual(await reason('', 'a.jpg'), { kind: 'empty' });
  assert.deepEqual(await reason(head('\0\0\0\x18ftypheic'), 'a.jpg'), { kind: 'format', format: 'HEIC' });
  const exactly = new Uint8Array(10 << 20);
  exactly.set([0xff, 0xd8, 0xff]);
  assert.equal(await reason(exactly, 'a.jpg'), null);
  assert.deepEqual(await inspect(new File([exactly, 'x'], 'a.jpg'), limits), { kind: 'large' });
  assert.deepEqual(await inspect({ size: 3, slice: () => ({ arrayBuffer: () => Promise.reject(new Error()) }) }, limits), { kind: 'unreadable' });
});

test('refused files are grouped', () => {
  const files = (n, name, more) => Array.from({ length: n }, (_, i) => ({ name: name.replace('#', i), kind: 'format', format: '', size: 1, ...more }));
  const limit = limits.max_image_bytes;
  assert.deepEqual(summary([...files(30, '#.HEIC'), ...files(411, '#.CR3'), ...files(1, '#.cr3')], limit), ['412 .CR3', '30 .HEIC']);
  assert.deepEqual(summary(files(2, 'README'), limit), ['2 files without a type']);
  assert.deepEqual(summary(files(2, '#.jpg', { format: 'HEIC' }), limit), ['2 .jpg without a JPEG or PNG inside']);
  assert.deepEqual(summary(files(2, '#.png', { kind: 'large', size: 20 << 20 }), limit), ['2 images larger than 10 MB']);
  assert.deepEqual(summary([...files(2, '#.png', { kind: 'empty' }), ...files(1, 'x', { kind: 'unreadable' })], limit), ['2 empty files', { name: 'x', reason: 'cannot be read' }]);
  assert.deepEqual(summary(files(1, 'big.png', { kind: 'large', size: 20 << 20 }), limit), [{ name: 'big.png', reason: 'has 20 MB, the limit is 10 MB' }]);
  assert.equal(reasonOf({ name: 'a.JPG', kind: 'format', format: 'HEIC' }, limit), 'is HEIC inside, not JPEG or PNG');
  assert.equal(reasonOf({ name: 'notes.txt', kind: 'format', format: '' }, limit), 'is not a JPEG or PNG');
});

test('URLs, one in a line', () => {
  const { urls, problems } = parseUrls('\n# comment\r\n https://example.com/a.jpg \nhttps://example.com/a.jpg\nftp://example.com/b.jpg\nexample.com/c.jpg\nno url\nhttp://[::1]/d?e=%2F\n');
  assert.deepEqual(urls, ['https://example.com/a.jpg', 'http://[::1]/d?e=%2F']);
  assert.deepEqual(problems.map(({ line, reason }) => [line, reason]), [5, 6, 7].map((line) => [line, 'is not an http or https URL']));
  assert.equal(parseUrls(`https://example.com/${'a'.repeat(8200)}`).problems.length, 1);
  assert.equal(nameOfUrl('https://example.com/a%20b.jpg?x#y'), 'a b.jpg');
  assert.equal(nameOfUrl('https://example.com/%E0%A4%A'), '%E0%A4%A');
  assert.equal(nameOfUrl('https://example.com/'), 'example.com');
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { pictureOf, remember } from './localPictures.js';

test('the last 100 files have pictures', async (t) => {
  const revoked = t.mock.method(URL, 'revokeObjectURL');
  assert.equal(pictureOf('a', 0), '');
  for (let i = 0; i < 100; i++) remember('a', i, new Blob([String(i)]));
  const first = pictureOf('a', 0);
  assert.equal(await (await fetch(first)).text(), '0');
  assert.equal(pictureOf('a', 0), first);
  assert.notEqual(pictureOf('a', 1), first);
  remember('b', 0, new Blob(['b']));
  assert.equal(pictureOf('a', 0), '');
  assert.deepEqual(revoked.mock.calls.map((call) => call.arguments), [[first]]);
  assert.equal(await (await fetch(pictureOf('b', 0))).text(), 'b');
  assert.notEqual(pictureOf('a', 99), '');
});

test('another file of the same image replaces the first', async () => {
  remember('c', 0, new Blob(['old']));
  pictureOf('c', 0);
  remember('c', 0, new Blob(['new']));
  assert.equal(await (await fetch(pictureOf('c', 0))).text(), 'new');
});

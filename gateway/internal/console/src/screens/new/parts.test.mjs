import assert from 'node:assert/strict';
import test from 'node:test';
import { enterJobs, match, pendingOf } from './parts.js';
import { bytesOf, captionTokens, labelOf, optionsOf, plan } from './plan.js';
import { Speed } from './speed.js';

const image = (path, size = 100, time = 1) => ({ path, name: path.split('/').pop(), size, time });

test('images are divided by size and number, in their order', () => {
  const items = [40, 5, 4, 30, 25, 60, 1].map((mb, i) => image(`${i}.jpg`, mb << 20));
  const limits = { maxBytes: 50 << 20, maxImages: 100 };
  assert.deepEqual(plan(items, limits).map((list) => list.map(({ path }) => path)), [['0.jpg', '1.jpg', '2.jpg'], ['3.jpg'], ['4.jpg'], ['5.jpg'], ['6.jpg']]);
  for (const list of plan(items, limits)) assert.ok(list.length === 1 || bytesOf(list) <= limits.maxBytes);
  assert.deepEqual(plan(Array.from({ length: 201 }, (_, i) => image(`${i}`)), limits).map((list) => list.length), [100, 100, 1]);
  assert.deepEqual(plan([], limits), []);
});

test('options of a request', () => {
  const long = `${'ü'.repeat(127)}.jpg`; // 258 bytes
  const options = optionsOf([image('a/b.jpg'), image(long), { url: 'https://x/y', path: 'https://x/y' }], { id: 'u', label: 'l', captions: undefined }, 3);
  assert.deepEqual(options, { custom_ids: ['a/b.jpg', null, 'https://x/y'], metadata: { upload: 'u', label: 'l', part: '3' } });
  assert.equal(optionsOf([image('a')], { id: 'u', label: 'l', captions: false }, 1).captions, false);
});

test('labels', () => {
  assert.equal(labelOf([image('Summer/a.jpg'), image('Summer/x/b.jpg')]), 'Summer');
  assert.equal(labelOf([image('a.jpg')]), 'a.jpg');
  assert.equal(labelOf([image('a/a.jpg'), image('b/b.jpg'), image('c.jpg')]), 'a.jpg and 2 more');
  assert.equal(labelOf([{ url: 'https://x/a/y.jpg', path: 'https://x/a/y.jpg', name: 'y.jpg' }]), 'y.jpg');
  assert.ok(new TextEncoder().encode(labelOf([image(`${'📷'.repeat(300)}.jpg`)])).length <= 512);
});

test('tokens of captions', () => {
  assert.equal(captionTokens(1, 768), 1100); // 622 for the image, as in docs/captions.md, 300 and 150
  assert.equal(captionTokens(1000, 768), 1_100_000);
  assert.equal(captionTokens(1, 4096), 2900); // at most 1,536 patches
  assert.equal(captionTokens(0, 768), 0);
});

test('files that were chosen again', () => {
  const [a, b, c, d] = [image('s/a.jpg', 1, 11), image('s/b.jpg', 2, 22), image('s/x/b.jpg', 3, 33), image('s/u\u0308.jpg', 4, 44)];
  const upload = { parts: [{ jobId: 'j', items: [] }, { items: [a, b] }, { items: [c, d, { url: 'https://x/y' }] }] };
  const file = (path, size, time) => ({ file: { name: path.split('/').pop(), size, lastModified: time }, path });
  assert.equal(pendingOf(upload).length, 5);
  {
    const { used, rest, changed } = match(upload, [file('s/x/b.jpg', 3, 33), file('s/\u00fc.jpg', 4, 44), file('s/a.jpg', 1, 12), file('other.jpg', 9, 9)]);
    assert.deepEqual([...used.keys()], [c, d]);
    assert.deepEqual(rest.map(({ path }) => path), ['s/a.jpg', 'other.jpg']);
    assert.deepEqual(changed, ['s/a.jpg']);
  }
  { // without their folder, files are found by name, size and time
    const { used, rest, changed } = match(upload, [file('b.jpg', 3, 33), file('b.jpg', 2, 22), file('b.jpg', 2, 22)]);
    assert.deepEqual([...used.keys()], [c, b]);
    assert.equal(rest.length, 1);
    assert.deepEqual(changed, []);
  }
});

test('jobs whose response was lost', () => {
  const parts = [{ number: 1, jobId: 'j1', total: 1, items: [] }, { number: 2, items: [image('a'), image('b')] }, { number: 3, items: [image('c')] }];
  const arrived = enterJobs(parts, [
    { job_id: 'r', retry_of: 'j2', total_images: 1, metadata: { part: '3' } }, { job_id: 'j2', total_images: 2, metadata: { part: '2' } }, { job_id: 'j1', total_images: 1, metadata: { part: '1' } },
  ]);
  assert.deepEqual(arrived, [['j2', [image('a'), image('b')]]]);
  assert.deepEqual(parts.map((part) => part.jobId), ['j1', 'j2', undefined]);
});

test('speed', () => {
  const speed = new Speed();
  speed.add(0, 0);
  speed.add(100, 1000);
  assert.ok(Number.isNaN(speed.left(100)), 'a second is too short for a guess');
  speed.add(200, 2000);
  assert.equal(speed.left(300), 3000);
  speed.add(200, 60_000); // after a pause, only the last seconds count
  assert.ok(Number.isNaN(speed.left(300)));
  speed.add(50, 61_000); // a request has started again
  speed.add(250, 63_000);
  assert.equal(speed.left(100), 1000);
});

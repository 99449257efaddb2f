import assert from 'node:assert/strict';
import test from 'node:test';
import { ended, grouped } from './letters.js';

const trace = (digit) => digit.repeat(32);
const letter = (digit, members = {}) => ({ queue: 'image_upload', trace_id: trace(digit), reason: 'failed 5 times', ...members });

test('the dead letters of an image in a queue belong together', () => {
  const groups = grouped([letter('a'), letter('b'), letter('a'), letter('a', { queue: 'image_processed' }), letter('a', { trace_id: undefined }), letter('a', { trace_id: '../x' })]);
  assert.deepEqual(groups.map(({ queue, trace: id, letters }) => [queue, id.slice(0, 1), letters.length]), [
    ['image_upload', 'a', 2], ['image_upload', 'b', 1], ['image_processed', 'a', 1], ['image_upload', '', 1], ['image_upload', '', 1],
  ]);
  assert.equal(new Set(groups.map(({ key }) => key)).size, 5);
});

test('what a replay has done', () => {
  const one = ended([letter('a', { action: 'retried', new_job_id: 'x', detail: 'd' })]);
  assert.deepEqual([one.tone, one.job], ['good', 'x']);
  assert.match(one.title, /new job retries/);
  const some = ended([letter('a', { action: 'left', detail: 'of another store' }), letter('a', { action: 'published' })]);
  assert.deepEqual([some.tone, some.text], ['warn', 'of another store']);
  assert.match(some.title, /on its queue again, but 1 of 2 stay/);
  assert.equal(ended([letter('a', { action: 'dropped' })]).title, 'Discarded.');
  assert.equal(ended([letter('a', { action: 'later' })]).title, 'Done.'); // of a later release
});

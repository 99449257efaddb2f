import assert from 'node:assert/strict';
import test from 'node:test';
import { applyMessage, differences } from './merge.js';

const job = () => ({
  job_id: 'a', status: 'processing', total_images: 2, completed: 0, failed: 0, progress: 0, updated_at: '2026-11-28T18:00:00Z',
  images: [{ index: 0, status: 'processing', original_filename: 'a.jpg', start_time: 't' }, { index: 1, status: 'pending', original_filename: 'b.jpg' }],
});

test('a message changes only its image', () => {
  const before = job();
  const message = { type: 'image_complete', status: 'processing', progress: 50, completed: 1, failed: 0, total_images: 2, timestamp: 't2', image: { index: 0, status: 'completed', processed_path: 'p' } };
  const { job: after, changed } = applyMessage(before, message);
  assert.deepEqual(changed, [0]);
  assert.deepEqual([after.completed, after.progress, after.updated_at], [1, 50, 't2']);
  assert.deepEqual(after.images[0], { index: 0, status: 'completed', original_filename: 'a.jpg', start_time: 't', processed_path: 'p' });
  assert.equal(after.images[1], before.images[1]);
  assert.equal(before.images[0].status, 'processing');
  const again = applyMessage(after, message);
  assert.deepEqual(again.changed, []);
  assert.equal(again.job.images, after.images);
});

test('an old message does not turn the counters back', () => {
  const before = { ...job(), status: 'completed', completed: 2 };
  const { job: after } = applyMessage(before, { type: 'progress', status: 'processing', progress: 0, completed: 0, failed: 0, total_images: 2, timestamp: 't' });
  assert.deepEqual([after.status, after.completed], ['completed', 2]);
});

test('differences', () => {
  const before = job();
  assert.equal(differences(null, job()), 'all');
  assert.equal(differences(before, job()), null);
  assert.equal(differences(before, { ...job(), status: 'cancelled' }).size, 0);
  const after = job();
  after.images[1].status = 'processing';
  assert.deepEqual([...differences(before, after)], [1]);
  assert.equal(after.images[0], before.images[0]);
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { announcer } from './announce.js';
import { hashText, randomId } from './hash.js';
import { countsInWords, imageState, jobState } from './state.js';

test('at most one announcement in 2 s, and the last one wins', (t) => {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const shown = [];
  const announce = announcer((text) => shown.push(text));
  for (const text of ['one', 'two', 'three']) announce(text);
  assert.deepEqual(shown, ['one']);
  t.mock.timers.tick(1999);
  assert.deepEqual(shown, ['one']);
  t.mock.timers.tick(1);
  assert.deepEqual(shown, ['one', 'three']);
  t.mock.timers.tick(1000);
  announce('four');
  assert.deepEqual(shown, ['one', 'three']);
  t.mock.timers.tick(1000);
  t.mock.timers.tick(5000);
  announce('five');
  assert.deepEqual(shown, ['one', 'three', 'four', 'five']);
});

test('ids and hashes', () => {
  assert.match(randomId(), /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  assert.notEqual(randomId(), randomId());
  assert.equal(hashText(''), 'cbf29ce484222325');
  assert.equal(hashText('foobar'), '85944171f73967e8'); // a test vector of FNV-1a
});

test('states in words', () => {
  const job = { total_images: 12, completed: 8, failed: 4 };
  assert.deepEqual(jobState({ ...job, status: 'completed' }), { word: 'completed, 4 failed', tone: 'warn' });
  assert.deepEqual(jobState({ ...job, failed: 0, status: 'completed' }), { word: 'completed', tone: 'good' });
  assert.deepEqual(jobState({ ...job, completed: 0, failed: 12, status: 'failed' }), { word: 'all 12 failed', tone: 'bad' });
  assert.equal(imageState({ status: 'failed', error_code: 'cancelled' }).word, 'cancelled');
  assert.equal(imageState({ status: 'completed', uncaptioned: true }).tone, 'warn');
  assert.equal(countsInWords({ total_images: 10, completed: 7, failed: 1 }), '7 done, 2 open, 1 failed');
  assert.equal(countsInWords({ total_images: 1, completed: 1, failed: 0 }), '1 done');
  const images = [{ status: 'completed' }, { status: 'failed', error_code: 'too_large' }, { status: 'failed', error_code: 'cancelled' }];
  assert.equal(countsInWords({ status: 'cancelled', total_images: 3, completed: 1, failed: 2, images }), '1 done, 1 failed, 1 cancelled');
  assert.equal(countsInWords({ status: 'cancelled', total_images: 3, completed: 1, failed: 2 }), '1 done, 2 failed or cancelled');
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { append, nothing, positionOf, refresh, showNew, update } from './list.js';

const job = (n, members = {}) => ({ job_id: `job-${n}`, status: 'completed', completed: 1, failed: 0, updated_at: 't', created_at: `2026-11-28T18:00:${String(n).padStart(2, '0')}Z`, ...members });
const jobs = (...numbers) => numbers.map((n) => job(n));
const names = (list) => list.jobs.map(({ job_id: id }) => Number(id.slice(4)));

// tokenAt returns a token like those of the gateway.
function tokenAt(time) {
  const bytes = Buffer.alloc(52, 'x');
  bytes.writeBigInt64BE(BigInt(Date.parse(time)) * 1_000_000n);
  return bytes.toString('base64url');
}

test('the position of a token', () => {
  const now = Date.parse('2026-12-01T00:00:00Z');
  assert.equal(positionOf(tokenAt('2026-11-28T18:00:00.500Z'), now), '2026-11-28T18:00:00.500Z');
  for (const token of ['', 'abc', '%%%', tokenAt('1990-01-01T00:00:00Z'), tokenAt('2099-01-01T00:00:00Z'), null]) assert.equal(positionOf(token, now), '', token);
});

test('a page has only jobs that are not shown yet', () => {
  const list = append(append(nothing, { jobs: jobs(9, 8), token: 'a' }), { jobs: jobs(8, 7), token: null });
  assert.deepEqual([names(list), list.token, list.searched], [[9, 8, 7], null, '']);
  assert.equal(append(nothing, { jobs: [], token: tokenAt('2026-01-01T00:00:00Z') }).searched, '2026-01-01T00:00:00.000Z');
});

test('jobs change in their place, and those that have not changed stay the same', () => {
  const list = append(nothing, { jobs: jobs(3, 2, 1), token: null });
  const next = update(list, [job(2, { completed: 5 }), job(1), job(7)]);
  assert.deepEqual(names(next), [3, 2, 1]);
  assert.equal(next.jobs[1].completed, 5);
  assert.equal(next.jobs[0], list.jobs[0]);
  assert.equal(next.jobs[2], list.jobs[2]);
  assert.equal(update(list, jobs(3, 2, 1)), list);
});

test('new jobs wait until they are shown', () => {
  const list = append(nothing, { jobs: jobs(5, 4, 3, 2), token: 'more' });
  const waiting = refresh(list, { jobs: jobs(7, 6, 5, 4), token: 'x' });
  assert.deepEqual(names(waiting), [5, 4, 3, 2]);
  const shown = showNew(waiting);
  assert.deepEqual([names(shown), shown.token, shown.waiting], [[7, 6, 5, 4, 3, 2], 'more', null]);
  assert.equal(showNew(shown), shown);
});

test('new jobs that move nothing are shown at once', () => {
  assert.deepEqual(names(refresh(nothing, { jobs: jobs(1), token: null })), [1]);
  const oldest = append(nothing, { jobs: jobs(1, 2), token: null });
  assert.deepEqual(names(refresh(oldest, { jobs: jobs(1, 2, 3), token: null }, true)), [1, 2, 3]);
  const more = append(nothing, { jobs: jobs(1, 2), token: 'more' });
  assert.deepEqual(names(refresh(more, { jobs: jobs(1, 2, 3), token: 'more' }, true)), [1, 2]);
});

test('jobs that have left the filter go when new ones are shown', () => {
  const list = append(nothing, { jobs: jobs(5, 4, 3, 2), token: 'more' });
  const waiting = refresh(list, { jobs: jobs(6, 5, 3), token: 'x' });
  assert.deepEqual(names(waiting), [5, 4, 3, 2]);
  assert.deepEqual(names(showNew(waiting)), [6, 5, 3, 2]);
  assert.deepEqual(names(showNew(refresh(list, { jobs: jobs(6, 5), token: null }))), [6, 5]);
});

test('after more new jobs than a page has, the list starts again', () => {
  const list = append(nothing, { jobs: jobs(3, 2), token: 'more' });
  const shown = showNew(refresh(list, { jobs: jobs(9, 8), token: 'x' }));
  assert.deepEqual([names(shown), shown.token], [[9, 8], 'x']);
});

test('new jobs that are gone again do not wait', () => {
  const list = append(nothing, { jobs: jobs(3, 2), token: null });
  const waiting = refresh(list, { jobs: jobs(4, 3, 2), token: null });
  assert.equal(refresh(waiting, { jobs: jobs(3, 2), token: null }).waiting, null);
});

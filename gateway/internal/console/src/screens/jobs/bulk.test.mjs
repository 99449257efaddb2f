import assert from 'node:assert/strict';
import test from 'node:test';
import { each } from './bulk.js';

const range = (n) => [...Array(n).keys()];
const failure = (status, retryAfter = 0) => Object.assign(new Error(`status ${status}`), { status, retryAfter });
const turn = () => new Promise((resolve) => { setImmediate(resolve); });

test('at most four at a time, each once, in order', async () => {
  let now = 0;
  let most = 0;
  const progress = [];
  const results = await each(range(11), async (n) => {
    most = Math.max(most, ++now);
    await turn();
    now--;
    if (n === 5) throw failure(409);
    return n * 2;
  }, { onProgress: (n) => progress.push(n) });
  assert.equal(most, 4);
  assert.deepEqual(results.map(({ item, value, error }) => [item, value ?? error.status]), range(11).map((n) => [n, n === 5 ? 409 : n * 2]));
  assert.deepEqual(progress, range(11).map((n) => n + 1));
});

test('waits where the gateway asks for it, and gives up', async () => {
  const waits = [];
  const sleep = async (ms) => { waits.push(ms); };
  let calls = 0;
  const [first] = await each(['a'], async () => {
    if (++calls < 3) throw failure(429, 7);
    return 'done';
  }, { sleep });
  assert.deepEqual([first.value, calls, waits], ['done', 3, [7000, 7000]]);
  calls = 0;
  const [second] = await each(['a'], async () => { calls++; throw failure(503, 9999); }, { sleep });
  assert.deepEqual([second.error.status, calls, waits.at(-1)], [503, 4, 30_000]);
});

test('starts no more after it was stopped', async () => {
  const stop = new AbortController();
  let calls = 0;
  const results = await each(range(20), async () => {
    calls++;
    stop.abort();
    await turn();
  }, { signal: stop.signal });
  assert.ok(calls <= 4, `${calls} calls`);
  assert.equal(results.length, calls);
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { ApiError, errorOf, retryAfter } from './advice.js';

test('an error of the gateway keeps its text', () => {
  const err = errorOf(429, '{"error":"Too many requests, try again later","status":429}', '7');
  assert.deepEqual([err.status, err.text, err.code, err.retryAfter], [429, 'Too many requests, try again later', '', 7]);
  assert.match(err.advice, /7 s/);
});

test('an error of a proxy is not taken for the gateway’s', () => {
  for (const body of ['<html>413 Request Entity Too Large</html>', '', '{"error":"x"}', '{"error":5,"status":413}', 'null', '[]']) {
    const err = errorOf(413, body, null);
    assert.equal(err.code, 'proxy', body);
    assert.match(err.advice, /proxy/);
  }
});

test('every error says what to do', () => {
  for (const status of [0, 400, 401, 403, 404, 405, 408, 409, 412, 413, 415, 421, 422, 426, 429, 500, 502, 503, 504]) {
    for (const code of ['', 'proxy']) assert.match(new ApiError(status, 'x', { code }).advice, /\.$/, `${status} ${code}`);
  }
  assert.equal(new ApiError(0, 'Stopped', { code: 'aborted' }).advice, '');
  assert.notEqual(new ApiError(401, 'API key unknown').advice, new ApiError(401, 'API key required').advice);
});

test('Retry-After', () => {
  const now = Date.parse('2026-11-28T18:00:00Z');
  const want = [[null, 0], ['5', 5], ['Sat, 28 Nov 2026 18:00:30 GMT', 30], ['Sat, 28 Nov 2026 17:00:00 GMT', 0], ['soon', 0], ['999999999', 3600]];
  for (const [header, seconds] of want) assert.equal(retryAfter(header, now), seconds, String(header));
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { adviceFor, retryHelps } from './reasons.js';

test('each error code of the API has its own advice', () => {
  const docs = readFileSync(new URL('../../../../../../docs/api-extensions.md', import.meta.url), 'utf8');
  const table = docs.split('## Error codes of images')[1].split('\n## ')[0];
  const codes = [...table.matchAll(/^\| `(\w+)` \|/gm)].map((match) => match[1]);
  assert.ok(codes.length >= 12, codes.join());
  const unknown = adviceFor({ error_code: 'of a later release' });
  for (const code of codes) assert.notEqual(adviceFor({ error_code: code }), unknown, code);
});

test('a retry of the same bytes helps only against what passes', () => {
  const helps = (error_code, status = 'failed') => retryHelps({ status, error_code });
  assert.deepEqual(['processing_failed', 'cancelled', 'download_failed', 'of a later release'].map((code) => helps(code)), [true, true, true, true]);
  assert.deepEqual(['damaged_image', 'too_large', 'not_an_image'].map((code) => helps(code)), [false, false, false]);
  assert.equal(helps(undefined, 'completed'), false);
});

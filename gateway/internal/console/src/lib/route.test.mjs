import assert from 'node:assert/strict';
import test from 'node:test';
import { href, parse } from './route.js';

const id = '4660c984-e29b-41d4-a716-446655440000';

test('addresses of the screens', () => {
  for (const [hash, name, params] of [
    ['', 'new', {}], ['#', 'new', {}], ['#/', 'new', {}], [`#/uploads/${id}`, 'upload', { id }], ['#/jobs', 'jobs', {}], [`#/jobs/${id}`, 'job', { id }],
    [`#/jobs/${id}/`, 'job', { id }], [`#/jobs/${id}/3`, 'viewer', { id, index: 3 }], ['#/system', 'system', {}],
    [`#${id}`, 'job', { id }], // of the first release
    [`#/jobs/${id}/x`, 'unknown', {}], [`#/jobs/${id}/-1`, 'unknown', {}], ['#/nothing', 'unknown', {}], ['#/jobs/1/2/3', 'unknown', {}],
    ['#/jobs/%', 'job', { id: '%' }], ['#/jobs/a%2Fb', 'job', { id: 'a/b' }],
  ]) {
    const got = parse(hash);
    assert.deepEqual([got.name, got.params], [name, params], hash);
  }
});

test('queries', () => {
  assert.equal(parse('#/jobs?status=failed&q=a%3Fb').query.get('q'), 'a?b');
  assert.equal(href('jobs', {}, { status: 'failed', q: '', owner: null, page: undefined }), '#/jobs?status=failed');
  assert.equal(href('jobs'), '#/jobs');
  assert.equal(href('new'), '#/');
  assert.equal(href('job', { id: 'a/b' }, new URLSearchParams('show=failed')), '#/jobs/a%2Fb?show=failed');
  const back = parse(href('viewer', { id, index: 0 }, { q: 'ä &#?' }));
  assert.deepEqual([back.name, back.params, back.query.get('q')], ['viewer', { id, index: 0 }, 'ä &#?']);
});

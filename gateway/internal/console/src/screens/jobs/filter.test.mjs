import assert from 'node:assert/strict';
import test from 'node:test';
import { extras, filtered, filterOf, hasState, jobIdOf, narrowed, states, withState, without } from './filter.js';

const parse = (text) => filterOf(new URLSearchParams(text));

test('the filters of an address', () => {
  const filter = parse('status=failed&q= IMG_1 &owner=anna&unknown=1&order=oldest&uncaptioned=');
  assert.deepEqual(filter, { status: 'failed', q: 'IMG_1', owner: 'anna', order: 'oldest' });
  assert.deepEqual(extras(filter), [{ name: 'owner', word: 'Owner', value: 'anna' }]);
  assert.deepEqual(without(filter, 'owner', 'q'), { status: 'failed', order: 'oldest' });
  assert.deepEqual([filtered(filter), filtered(parse('order=oldest')), filtered({})], [true, false, false]);
  assert.deepEqual([narrowed(filter), narrowed(parse('status=failed&order=oldest')), narrowed(parse('q=x'))], [true, false, true]);
});

test('states exclude each other and keep the rest', () => {
  const named = Object.fromEntries(states.map((state) => [state.word, state]));
  const filter = parse('status=failed&q=x');
  assert.deepEqual(withState(filter, named['With failed images']), { q: 'x', failed_images: 'true' });
  assert.deepEqual(withState(filter, named.All), { q: 'x' });
  assert.deepEqual(states.filter((state) => hasState(filter, state)).map(({ word }) => word), ['Failed']);
  assert.deepEqual(states.filter((state) => hasState(parse('q=x'), state)).map(({ word }) => word), ['All']);
  assert.deepEqual(states.filter((state) => hasState(parse('status=failed,cancelled'), state)), []);
});

test('a whole ID is that of a job', () => {
  assert.equal(jobIdOf(' 4660C984-e29b-41d4-a716-446655440000\n'), '4660c984-e29b-41d4-a716-446655440000');
  for (const text of ['', '4660c984', '4660c984-e29b-41d4-a716-44665544000', 'x4660c984-e29b-41d4-a716-446655440000']) assert.equal(jobIdOf(text), '', text);
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { descriptionOf, matches, textOf, valuesOf } from './values.js';

const docs = new URL('../../../../../../docs/', import.meta.url);
const schema = JSON.parse(readFileSync(new URL('metadata.schema.json', docs)));
const [, example] = /```json\n(\{\n {2}"original_filename"[\s\S]*?)```/.exec(readFileSync(new URL('metadata.md', docs), 'utf8'));
const record = JSON.parse(example);

test('every value of a record is listed once, in its order', () => {
  const values = valuesOf(record);
  const at = (path) => path.split('.').reduce((node, name) => node[name], record);
  for (const { path, group, value } of values) {
    assert.deepEqual(at(path), value);
    assert.equal(group, path.split('.').slice(0, -1).join('.'));
  }
  const leaves = (node) => (node !== null && typeof node === 'object' ? Object.values(node).reduce((sum, each) => sum + leaves(each), 0) : 1);
  assert.equal(values.reduce((sum, { value }) => sum + leaves(value), 0), leaves(record));
  assert.equal(values[0].path, 'original_filename');
  assert.ok(values.some(({ path }) => path === 'exif.gps.latitude'));
  assert.ok(values.some(({ path }) => path === 'dominant_colors.0.hex'));
});

test('every value has a description', () => {
  const missing = valuesOf(record).filter(({ path }) => descriptionOf(schema, path) === '').map(({ path }) => path);
  assert.deepEqual(missing, []);
  assert.match(descriptionOf(schema, 'width'), /Pixels/);
  assert.match(descriptionOf(schema, 'exif.iso'), /ISO/);
  for (const path of ['no_such', 'exif.no_such', 'width.deeper', 'constructor', '']) assert.equal(descriptionOf(schema, path), '', path);
  assert.equal(descriptionOf({}, 'width'), '');
});

test('search', () => {
  const found = (search) => valuesOf(record).filter((each) => matches(each, descriptionOf(schema, each.path), search)).map(({ path }) => path);
  assert.equal(found('').length, valuesOf(record).length);
  assert.deepEqual(found('HDR+ ZD'), ['exif.software']);
  assert.deepEqual(found('exif iso'), ['exif.iso']);
  assert.deepEqual(found('degrees north'), ['exif.gps.latitude']);
  assert.deepEqual(found('vineyard title'), ['caption.title']);
  assert.deepEqual(found('nothing like that'), []);
});

test('texts', () => {
  assert.equal(textOf(false), 'false');
  assert.equal(textOf(0), '0');
  assert.deepEqual(textOf(['a', 1]), ['a', '1']);
});

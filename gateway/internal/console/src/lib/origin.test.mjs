import assert from 'node:assert/strict';
import test from 'node:test';
import { originOf } from './origin.js';

const record = { title: 'A beach', description: 'Sand', keywords: ['sea'], alt_text: 'A beach at noon', composed: ['description'], captioned: ['title', 'keywords'], caption: { model: 'gemma3:4b' } };

test('each text has its origin', () => {
  assert.deepEqual(['title', 'description', 'keywords', 'alt_text'].map((field) => originOf(record, field).origin), ['model', 'composed', 'model', 'own']);
  assert.equal(originOf(record, 'title').word, 'by the model gemma3:4b');
  assert.equal(originOf(record, 'alt_text').model, '');
});

test('a model that described the file earlier has no name', () => {
  const { origin, model, word } = originOf({ title: 'A beach', captioned: ['title'] }, 'title');
  assert.deepEqual([origin, model, word], ['model', '', 'by a model']);
});

test('no text has no origin', () => {
  for (const value of [undefined, null, {}, { title: '' }, { keywords: [] }]) assert.equal(originOf(value, value?.keywords ? 'keywords' : 'title'), null);
});

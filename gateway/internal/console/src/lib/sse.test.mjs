import assert from 'node:assert/strict';
import test from 'node:test';
import { eventParser } from './sse.js';

const text = 'retry: 2000\n\nevent: progress\ndata: {"a":1}\n\n:\n\nid: 7\r\nevent: job_complete\r\ndata: one\r\ndata:two\r\n\r\ndata\n\n';
const want = [{ event: 'progress', data: '{"a":1}', id: undefined }, { event: 'job_complete', data: 'one\ntwo', id: '7' }, { event: 'message', data: '', id: undefined }];

test('events, however the text is cut', () => {
  for (let size = 1; size <= text.length; size++) {
    const parse = eventParser();
    const events = [];
    for (let i = 0; i < text.length; i += size) events.push(...parse(text.slice(i, i + size)));
    assert.deepEqual(events, want, `parts of ${size}`);
  }
});

test('an event that is not complete is not reported', () => {
  assert.deepEqual(eventParser()('data: x\n'), []);
});

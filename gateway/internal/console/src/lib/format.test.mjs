import assert from 'node:assert/strict';
import test from 'node:test';
import { ago, bytes, bytesOf, duration, percent, plural, timeLeft } from './format.js';

test('sizes', () => {
  const want = { 0: '0 bytes', 1: '1 byte', 999: '999 bytes', 1024: '1 kB', 1536: '1.5 kB', 10240: '10 kB', 10485760: '10 MB', 10276044: '9.8 MB', 1048000: '1 MB', 5368709120: '5 GB' };
  for (const [n, text] of Object.entries(want)) assert.equal(bytes(Number(n)), text);
  assert.equal(bytes(10485761, { apartFrom: 10485760 }), '10.000001 MB');
  assert.equal(bytes(10700000, { apartFrom: 10485760 }), '10.2 MB');
  assert.equal(bytes(20971520, { apartFrom: 10485760 }), '20 MB');
  assert.equal(bytes(10485760, { apartFrom: 10485760 }), '10 MB');
  assert.equal(bytesOf(18 << 20, 31 << 20), '18 of 31 MB');
  assert.equal(bytesOf(0, 31 << 20), '0 of 31 MB');
  assert.equal(bytesOf(900 << 10, 31 << 20), '900 kB of 31 MB');
  assert.equal(bytesOf(40 << 20, 31 << 20), '31 of 31 MB'); // a form is larger than its files
});

test('durations', () => {
  const want = { 0: '0 ms', 840: '840 ms', 1000: '1 s', 4200: '4.2 s', 9990: '10 s', 65000: '1 min 5 s', 60000: '1 min', 3600000: '1 h', 7380000: '2 h 3 min', 86399999: '1 d', 273600000: '3 d 4 h' };
  for (const [ms, text] of Object.entries(want)) assert.equal(duration(Number(ms)), text);
  assert.equal(timeLeft(3100), '4 s left');
  assert.equal(timeLeft(11_000), '15 s left');
  assert.equal(timeLeft(0), '1 s left');
  assert.equal(timeLeft(Infinity), '');
  assert.equal(timeLeft(NaN), '');
});

test('times', () => {
  const now = Date.parse('2026-11-28T18:00:00Z');
  for (const [time, text] of [['17:59:50', 'just now'], ['18:00:20', 'just now'], ['17:58:00', '2 min ago'], ['17:00:00', '1 h ago'], ['02:00:00', '16 h ago']]) {
    assert.equal(ago(`2026-11-28T${time}Z`, now), text);
  }
  assert.match(ago('2026-11-20T12:00:00Z', now), /2026/);
  assert.equal(ago('never', now), '');
});

test('numbers', () => {
  assert.equal(plural(1, 'image'), '1 image');
  assert.equal(plural(1000, 'image'), '1,000 images');
  assert.equal(plural(2, 'batch', 'batches'), '2 batches');
  assert.deepEqual([0, 0.004, 0.5, 0.999, 1].map(percent), ['0 %', '0 %', '50 %', '99 %', '100 %']);
});

import assert from 'node:assert/strict';
import test from 'node:test';
import { decodeThumbHash } from './thumbhash.js';

test('the same pixels as the reference, npm\'s thumbhash 0.1.1', () => {
  for (const [hash, width, height, pixel] of [
    ['3wcCDQJmVaWncVNghndll5ZVUNi/', 23, 32, [127, 112, 135, 255]],
    ['3wcGDYJ4iGh2WAh1dVV5h7UHsfuT', 32, 23, [137, 125, 144, 255]],
    ['3xcGFwKYR3dXBpiFhXtnaXleRAkU+R0I', 32, 32, [123, 107, 157, 255]],
    ['3/eBDIIYr6hlaJVUqo9j70mZqIWEcHN3Bw==', 32, 26, [125, 122, 128, 153]],
    ['YjiCCQQnqwYVWZxcA7B3IIeHRneAmXk=', 6, 32, [147, 129, 135, 65]],
  ]) {
    const got = decodeThumbHash(hash);
    assert.deepEqual([got.width, got.height, got.pixels.length], [width, height, 4 * width * height], hash);
    // x = 7 where the image is that wide, y = 5
    const at = 4 * (width * 5 + 7);
    for (let i = 0; i < 4; i++) assert.ok(Math.abs(got.pixels[at + i] - pixel[i]) <= 1, `${hash}: ${got.pixels.slice(at, at + 4)}`);
  }
});

test('what is no ThumbHash', () => {
  for (const text of ['', '!', '3wcCDQJm', 'AAAA', undefined]) assert.equal(decodeThumbHash(text), null, text);
});

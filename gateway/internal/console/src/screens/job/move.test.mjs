import assert from 'node:assert/strict';
import test from 'node:test';
import { move } from './move.js';

test('moving among 10 cells in 4 columns', () => {
  for (const [key, from, to] of [
    ['ArrowRight', 3, 4], ['ArrowRight', 9, 9], ['ArrowLeft', 4, 3], ['ArrowLeft', 0, 0],
    ['ArrowDown', 1, 5], ['ArrowDown', 7, 9], ['ArrowDown', 8, 8], ['ArrowUp', 9, 5], ['ArrowUp', 3, 3],
    ['Home', 6, 0], ['End', 2, 9], ['a', 2, -1], ['Enter', 2, -1],
  ]) assert.equal(move(key, from, 4, 10), to, `${key} from ${from}`);
});

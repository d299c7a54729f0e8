import assert from 'node:assert/strict';
import { test } from 'node:test';
import { borderSegments, halfCells, outlineOf } from '../../viewer/js/state/outline.js';

test('the fewest cells that hold half, of equal ones the first', () => {
  assert.deepEqual(halfCells([0, 3, 1, 3, 3, 3, 0, -9, 3, 0, 3, 3]), [1, 3, 4, 5]); // half of 22
  assert.deepEqual(halfCells([2, 1, 1]), [0]); // exactly half
  assert.deepEqual(halfCells([1, 1, 9]), [2]);
});

test('a flat map has none', () => {
  for (const values of [[1, 1, 1], [0, 0], [-1, -2], new Float32Array(7).fill(0.1)]) {
    assert.deepEqual(halfCells(values), []);
  }
  assert.deepEqual(borderSegments([], [2, 3]), []);
});

test('lines run between cells that are in and those that are not', () => {
  // ##..
  // .#..
  // ...#
  const expected = [
    [0, 0, 2, 0],
    [0, 1, 1, 1],
    [1, 2, 2, 2],
    [3, 2, 4, 2],
    [3, 3, 4, 3],
    [0, 0, 0, 1],
    [1, 1, 1, 2],
    [2, 0, 2, 2],
    [3, 2, 3, 3],
    [4, 2, 4, 3],
  ];
  assert.deepEqual(borderSegments([0, 1, 5, 11], [3, 4]), expected);
});

test('the outline of a map is around its half', () => {
  const values = [9, 8, 1, 1, 1, 1]; // half is in the first two
  assert.deepEqual(outlineOf(values, [2, 3]), [
    [0, 0, 2, 0],
    [0, 1, 2, 1],
    [0, 0, 0, 1],
    [2, 0, 2, 1],
  ]);
});

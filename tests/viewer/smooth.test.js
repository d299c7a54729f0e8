import assert from 'node:assert/strict';
import { test } from 'node:test';
import { axis, smoothAxes, smoothed } from '../../viewer/js/state/smooth.js';
import { GRID } from './made.js';

// The value at a point, straight from the definition: cells weighted by 1 − (3t² − 2t³) at distance t along each axis.
function naive(values, [rows, columns], across, down) {
  const weight = (distance) => (distance >= 1 ? 0 : 1 - 3 * distance ** 2 + 2 * distance ** 3);
  const held = (at, cells) => Math.min(Math.max(at, 0), cells - 1);
  let sum = 0;
  for (let row = 0; row < rows; row++) {
    for (let col = 0; col < columns; col++) {
      sum +=
        values[row * columns + col] *
        weight(Math.abs(held(down, rows) - row)) *
        weight(Math.abs(held(across, columns) - col));
    }
  }
  return sum;
}

const VALUES = Float32Array.from({ length: 15 }, (_, i) => Math.sin(7 * i));

test('every pixel is the blend of the cells around it', () => {
  const axes = smoothAxes(GRID, { width: 350, height: 210 });
  assert.deepEqual([axes.width, axes.height], [400, 240]);
  const found = smoothed(VALUES, GRID, axes);
  for (let y = 0; y < axes.height; y += 7) {
    for (let x = 0; x < axes.width; x += 3) {
      const expected = naive(VALUES, GRID, ((x + 0.5) * 5) / 400 - 0.5, ((y + 0.5) * 3) / 240 - 0.5);
      assert.ok(Math.abs(found[y * axes.width + x] - expected) < 1e-5);
    }
  }
});

test('no value is invented: none lies outside those of the cells', () => {
  const found = smoothed(VALUES, GRID, smoothAxes(GRID, { width: 350, height: 210 }));
  assert.ok(Math.max(...found) <= Math.max(...VALUES));
  assert.ok(Math.min(...found) >= Math.min(...VALUES));
});

test('the middle of a cell has its value', () => {
  const { before, weight } = axis(25, 5); // 5 pixels a cell, the third is its middle
  for (let cell = 0; cell < 5; cell++) {
    const at = 5 * cell + 2;
    assert.equal(before[at] + weight[at], cell);
  }
});

test('a map of one row, or of one cell, is smooth too', () => {
  const row = smoothed([1, 3], [1, 2], smoothAxes([1, 2], { width: 400, height: 4 }));
  assert.equal(row.length, 400 * 4);
  assert.deepEqual([row[0], row[399], row[400], row[1599]], [1, 3, 1, 3]);
  const one = smoothed([0.5], [1, 1], smoothAxes([1, 1], { width: 2, height: 2 }));
  assert.ok(one.every((value) => value === 0.5));
});

test('there is a pixel for each cell, however flat the picture', () => {
  const { width, height } = smoothAxes([20, 600], { width: 3000, height: 100 });
  assert.deepEqual([width, height], [600, 20]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eachBand, heatAxes, STEPS } from '../../viewer/js/state/enlarged.js';
import { GRID } from './made.js';

const [ROWS, COLUMNS] = GRID;
const SIZE = { width: 85, height: 48 };

// Returns the heat at every pixel, row by row.
function enlarged(v, axes) {
  const found = new Uint16Array(axes.width * axes.height);
  eachBand(v, axes, (from, steps) => found.set(steps, from));
  return found;
}

// The value at a point, straight from the definition: every cell by its weight, those beyond the border like the last.
function naive(v, down, across) {
  const weight = (distance) => {
    const s = Math.abs(distance);
    if (s >= 2) return 0;
    return s <= 1 ? 1.25 * s ** 3 - 2.25 * s ** 2 + 1 : -0.75 * (s ** 3 - 5 * s ** 2 + 8 * s - 4);
  };
  const held = (cell, cells) => Math.min(Math.max(cell, 0), cells - 1);
  let sum = 0;
  for (let row = -2; row < ROWS + 2; row++) {
    for (let col = -2; col < COLUMNS + 2; col++) {
      const cell = v[held(row, ROWS) * COLUMNS + held(col, COLUMNS)];
      sum += cell * weight(down - row) * weight(across - col);
    }
  }
  return Math.min(1, Math.max(0, sum));
}

const V = Float32Array.from({ length: 15 }, (_, i) => Math.max(0, Math.sin(7 * i)));

function isBicubic({ width, height }) {
  const found = enlarged(V, heatAxes(GRID, { width, height }, true));
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const expected = naive(V, ((y + 0.5) * ROWS) / height - 0.5, ((x + 0.5) * COLUMNS) / width - 0.5);
      const away = Math.abs(found[y * width + x] - STEPS * expected);
      assert.ok(away < 1, `${x}, ${y}: ${away} steps`); // half of one is rounded, and weights are
    }
  }
}

test('smooth heat is bicubic at every pixel', () => isBicubic(SIZE));

test('and of cells that are hundreds of pixels high, or less than one', () => {
  isBicubic({ width: 11, height: 1500 });
  isBicubic({ width: 4, height: 2 });
});

test('flat heat is that of the cell a pixel is in', () => {
  const found = enlarged(V, heatAxes(GRID, { width: 7, height: 4 }, false));
  const columns = [0, 0, 1, 2, 2, 3, 4]; // 5 x / 7
  const rows = [0, 0, 1, 2]; // 3 y / 4
  assert.deepEqual(
    [...found],
    rows.flatMap((row) => columns.map((col) => Math.round(STEPS * V[row * COLUMNS + col]))),
  );
});

test('where no cell near is hot there is exactly nothing', () => {
  const v = new Float32Array(15);
  v[14] = 1;
  for (const isSmooth of [true, false]) {
    const found = enlarged(v, heatAxes(GRID, SIZE, isSmooth));
    assert.ok(found.subarray(0, SIZE.width).every((value) => value === 0)); // the top row
    assert.equal(found.at(-1), STEPS);
  }
});

// Heat at the size at which it is drawn: bicubic, as OpenCV has it (a = -0.75), or as flat cells. It is counted in whole
// steps, and worked out with whole numbers, which a browser is quicker at: it is done for every pixel of
// every picture that is pointed at.
import { indices, limited } from './numbers.js';

export const STEPS = 1024; // of heat, from 0 to 1
const TAPS = 4;
const BEND = -0.75;
const LINE = 1 << 15; // parts of a line's value, and of a weight: together they fit into 31 bits
const WEIGHT = 1 << 12;
const SHIFT = 17; // LINE * WEIGHT / STEPS, in bits

// Returns the weight of a cell whose centre is so many cells away.
function cubic(distance) {
  const d = Math.abs(distance);
  if (d >= 2) return 0;
  return d <= 1
    ? ((BEND + 2) * d - (BEND + 3)) * d * d + 1
    : ((BEND * d - 5 * BEND) * d + 8 * BEND) * d - 4 * BEND;
}

// Returns, for each pixel along an axis, the cells that it is made of and their weights, `count` each.
function cubicAxis(size, cells) {
  const at = new Int32Array(TAPS * size);
  const weight = new Float32Array(TAPS * size);
  for (let pixel = 0; pixel < size; pixel++) {
    const position = ((pixel + 0.5) * cells) / size - 0.5;
    const before = Math.floor(position);
    for (let tap = 0; tap < TAPS; tap++) {
      const cell = before + tap - 1;
      at[TAPS * pixel + tap] = limited(cell, 0, cells - 1); // the outermost cell goes on
      weight[TAPS * pixel + tap] = cubic(position - cell);
    }
  }
  return { count: TAPS, at, weight };
}

// Returns the same for flat cells: each pixel is all of one.
function flatAxis(size, cells) {
  const at = Int32Array.from({ length: size }, (_, pixel) => Math.floor((pixel * cells) / size));
  return { count: 1, at, weight: new Float32Array(size).fill(1) };
}

// Returns the axes along which heat of a grid is drawn at {width, height}; they can be kept while these stay.
export function heatAxes([rows, columns], { width, height }, isSmooth) {
  const axis = isSmooth ? cubicAxis : flatAxis;
  return { width, height, rows, columns, across: axis(width, columns), down: axis(height, rows) };
}

// Returns heat of cells, 0 to 1, at every pixel of the axes, row by row, in steps: a new Uint16Array, or the one given.
export function enlarged(heat, axes, result = new Uint16Array(axes.width * axes.height)) {
  const { width, height, down } = axes;
  const lines = linesOf(heat, axes);
  const cold = new Int32Array(width);
  for (let y = 0; y < height; y++) {
    const row = result.subarray(y * width, (y + 1) * width);
    const taps = indices(down.count).map((tap) => down.count * y + tap);
    const found = taps.map((tap) => lines[down.at[tap]]);
    if (found.every((line) => line === null)) row.fill(0);
    else if (down.count === 1) row.set(found[0]);
    else {
      mix(
        row,
        found.map((line) => line ?? cold),
        taps.map((tap) => Math.round(down.weight[tap] * WEIGHT)),
      );
    }
  }
  return result;
}

// Returns each row of cells at every pixel across: in steps where cells are flat, else in parts of LINE; null for one
// that is cold.
function linesOf(heat, { width, rows, columns, across: { count, at, weight } }) {
  const parts = count === 1 ? STEPS : LINE;
  return indices(rows).map((row) => {
    const cells = heat.subarray(row * columns, (row + 1) * columns);
    if (cells.every((v) => v === 0)) return null;
    const line = new Int32Array(width);
    for (let x = 0, tap = 0; x < width; x++) {
      let sum = 0;
      for (const end = tap + count; tap < end; tap++) sum += weight[tap] * cells[at[tap]];
      line[x] = Math.round(sum * parts);
    }
    return line;
  });
}

// Writes the sum of four lines, each by its weight, and keeps it between 0 and STEPS.
function mix(row, [first, second, third, fourth], [a, b, c, d]) {
  const half = 1 << (SHIFT - 1);
  for (let x = 0; x < row.length; x++) {
    const sum =
      Math.imul(a, first[x]) + Math.imul(b, second[x]) + Math.imul(c, third[x]) + Math.imul(d, fourth[x]);
    row[x] = sum > 0 ? Math.min((sum + half) >> SHIFT, STEPS) : 0;
  }
}

// Heat at the size at which it is drawn: bicubic, as OpenCV has it (a = -0.75), or as flat cells. It is counted in whole
// steps, and worked out down one column of pixels after the other: between two centres of cells a column is a polynomial
// of third degree, whose next value takes three additions, of whole numbers. That is done for every map that is pointed at.
import { indices, limited } from './numbers.js';

export const STEPS = 1024; // of heat, from 0 to 1
const TAPS = 4;
const BEND = -0.75;
const BITS = 19; // of a step, in which a column is added up
const PARTS = 1 << BITS;
const LONGEST = 64; // pixels of a band: what is rounded grows with the third power of them

// Returns the weight of a cell whose centre is so many cells away.
function cubic(distance) {
  const d = Math.abs(distance);
  if (d >= 2) return 0;
  return d <= 1
    ? ((BEND + 2) * d - (BEND + 3)) * d * d + 1
    : ((BEND * d - 5 * BEND) * d + 8 * BEND) * d - 4 * BEND;
}

const placeOf = (pixel, size, cells) => ((pixel + 0.5) * cells) / size - 0.5;

// Returns, for each pixel across, the cells that it is made of and their weights, `count` each.
function cubicAxis(size, cells) {
  const at = new Int32Array(TAPS * size);
  const weight = new Float32Array(TAPS * size);
  for (let pixel = 0; pixel < size; pixel++) {
    const position = placeOf(pixel, size, cells);
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

// Returns the bands from top to bottom, {from, to} in pixels, in each of which `cellOf` a pixel is the same, with it as `cell`.
function bandsOf(size, cellOf) {
  const bands = [];
  for (let from = 0, to = 0; from < size; from = to) {
    const cell = cellOf(from);
    const most = Math.min(size, from + LONGEST);
    while (to < most && cellOf(to) === cell) to++;
    bands.push({ from, to, cell });
  }
  return bands;
}

// Returns the bands between two centres, with the four `cells` that each is made of, and how far `start`, its first pixel,
// is from one centre to the next; `step` pixels on.
function cubicBands(size, cells) {
  const bands = bandsOf(size, (pixel) => Math.floor(placeOf(pixel, size, cells)));
  return bands.map(({ cell, ...band }) => ({
    ...band,
    cells: indices(TAPS).map((tap) => limited(cell + tap - 1, 0, cells - 1)),
    start: placeOf(band.from, size, cells) - cell,
    step: cells / size,
  }));
}

const flatBands = (size, cells) => bandsOf(size, (pixel) => Math.floor((pixel * cells) / size));

// Returns the axes along which heat of a grid is drawn at {width, height}; they can be kept while these stay.
export function heatAxes([rows, columns], { width, height }, isSmooth) {
  const across = isSmooth ? cubicAxis(width, columns) : flatAxis(width, columns);
  const bands = isSmooth ? cubicBands(height, rows) : flatBands(height, rows);
  const tallest = Math.max(...bands.map(({ from, to }) => to - from));
  const steps = new Uint16Array(tallest * width); // of one band
  return { width, height, rows, columns, across, bands, steps, isSmooth };
}

// Calls take(from, steps) for one band of pixels after the other: where it begins, and heat of cells, 0 to 1, at each of its
// pixels, row by row, in steps. They are there for that call alone: so little at once stays in the processor's cache.
export function eachBand(heat, axes, take) {
  const { width, bands, isSmooth } = axes;
  const lines = linesOf(heat, axes);
  for (const band of bands) {
    const steps = axes.steps.subarray(0, (band.to - band.from) * width);
    (isSmooth ? fillCubic : fillFlat)(steps, lines, width, band);
    take(band.from * width, steps);
  }
}

// Returns each row of cells at every pixel across, in steps.
function linesOf(heat, { width, rows, columns, across: { count, at, weight } }) {
  const lines = new Float64Array(rows * width);
  for (let row = 0; row < rows; row++) {
    const first = row * columns;
    if (!isWarm(heat, first, first + columns)) continue;
    for (let x = 0, tap = 0; x < width; x++) {
      let sum = 0;
      for (const end = tap + count; tap < end; tap++) sum += weight[tap] * heat[first + at[tap]];
      lines[row * width + x] = STEPS * sum;
    }
  }
  return lines;
}

function isWarm(heat, from, to) {
  for (let i = from; i < to; i++) if (heat[i] !== 0) return true;
  return false;
}

function fillFlat(steps, lines, width, { cell }) {
  for (let x = 0; x < width; x++) steps[x] = Math.round(lines[cell * width + x]);
  for (let at = width; at < steps.length; at += width) steps.copyWithin(at, 0, width);
}

// Writes between 0 and STEPS: the polynomial of each column by its differences from one pixel to the next. They wrap around
// where they do not fit into 32 bits, and are right again in the sum.
function fillCubic(steps, lines, width, { cells, start: t, step: h }) {
  const [above, first, second, below] = cells.map((cell) => cell * width);
  steps.fill(0);
  for (let x = 0; x < width; x++) {
    const p = lines[above + x];
    const q = lines[first + x];
    const r = lines[second + x];
    const s = lines[below + x];
    if (q <= 0 && r <= 0 && p >= 0 && s >= 0) continue; // the outer two have no weight over 0
    const third = BEND * p + (BEND + 2) * (q - r) - BEND * s;
    const square = BEND * (s - 2 * p) - (BEND + 3) * q + (2 * BEND + 3) * r;
    const linear = BEND * (p - r);
    let value = (PARTS * (((third * t + square) * t + linear) * t + q + 0.5)) | 0; // rounded by what is cut off
    let slope =
      (PARTS * (((3 * t + 3 * h) * t + h * h) * h * third + (2 * t + h) * h * square + h * linear)) | 0;
    let bend = (PARTS * (6 * (t + h) * h * h * third + 2 * h * h * square)) | 0;
    const twist = (PARTS * (6 * h * h * h * third)) | 0;
    for (let i = x; i < steps.length; i += width) {
      steps[i] = Math.min(Math.max(value >> BITS, 0), STEPS);
      value = (value + slope) | 0;
      slope = (slope + bend) | 0;
      bend = (bend + twist) | 0;
    }
  }
}

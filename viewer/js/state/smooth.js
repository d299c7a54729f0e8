// Smooth maps: blended between cell centres by a cubic with level ends, so that no value is invented.
import { limited } from './numbers.js';

const SIDE = 400; // pixels of the longer side at which a smooth map is computed

// Returns, for each pixel along an axis, the cell before it and the weight of the next one.
export function axis(size, cells) {
  const before = new Int32Array(size);
  const weight = new Float32Array(size);
  for (let pixel = 0; pixel < size; pixel++) {
    const position = limited(((pixel + 0.5) * cells) / size - 0.5, 0, cells - 1);
    before[pixel] = Math.min(Math.floor(position), Math.max(cells - 2, 0));
    const share = position - before[pixel];
    weight[pixel] = share * share * (3 - 2 * share);
  }
  return { before, weight };
}

// Returns {width, height, across, down}: the axes on which maps of a grid are blended at so many pixels.
export function axesAt([rows, columns], { width, height }) {
  return { width, height, across: axis(width, columns), down: axis(height, rows) };
}

// Returns the axes on which maps of this grid are blended over the picture.
export function smoothAxes([rows, columns], picture) {
  const scale = SIDE / Math.max(picture.width, picture.height);
  const width = Math.max(columns, Math.round(picture.width * scale));
  const height = Math.max(rows, Math.round(picture.height * scale));
  return axesAt([rows, columns], { width, height });
}

// Returns a map of (rows, columns) as values at every pixel of the axes.
export function smoothed(values, [rows, columns], { width, height, across, down }) {
  const result = new Float32Array(width * height);
  const line = new Float32Array(columns);
  for (let y = 0, at = 0; y < height; y++) {
    const upper = down.before[y] * columns;
    const lower = Math.min(down.before[y] + 1, rows - 1) * columns;
    for (let col = 0; col < columns; col++) {
      line[col] = values[upper + col] + down.weight[y] * (values[lower + col] - values[upper + col]);
    }
    for (let x = 0; x < width; x++, at++) {
      const left = line[across.before[x]];
      result[at] = left + across.weight[x] * (line[Math.min(across.before[x] + 1, columns - 1)] - left);
    }
  }
  return result;
}

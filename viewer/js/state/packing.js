// Numbers as they travel, {data, bits, low, high}: base64 of little-endian whole numbers, row by row; row i holds
// low[i] + number / (2 ** bits - 1) · (high[i] - low[i]).
import { onPlane, planesOf } from './planes.js';

export function bytesOf(base64) {
  const raw = atob(base64);
  const bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return bytes;
}

// Returns a Float32Array for each row.
export function unpacked({ data, bits, low, high }) {
  const bytes = bytesOf(data);
  const numbers = bits === 16 ? new Uint16Array(bytes.buffer) : bytes; // little-endian, as browsers are
  const width = low.length ? numbers.length / low.length : 0;
  return low.map((least, row) => {
    const step = (high[row] - least) / (2 ** bits - 1);
    const values = new Float32Array(width);
    for (let i = 0; i < width; i++) values[i] = least + step * numbers[row * width + i];
    return values;
  });
}

// Returns a record with its maps unpacked and the ends of their ranges beside them. There may be no maps, or only those of
// some tokens, named in `have`: then the others' places are empty.
export function withMaps(record) {
  const { maps, have } = record;
  return {
    ...record,
    low: maps?.low ?? [],
    high: maps?.high ?? [],
    maps: maps && placed(unpacked(maps), have),
  };
}

function placed(rows, have) {
  if (!have) return rows;
  const maps = [];
  have.forEach((token, i) => {
    maps[token] = rows[i];
  });
  return maps;
}

export const withWeights = (leaned) => (leaned ? { ...leaned, weights: unpacked(leaned.weights) } : null);

// Returns the payload with everything that is packed in it unpacked.
export function decoded(raw) {
  const data = {
    ...raw,
    planes: planesOf(raw),
    boxesIn: raw.boxes,
    answer: withMaps(raw.answer),
    prompt: withMaps(raw.prompt),
    leaned: withWeights(raw.leaned),
  };
  return onPlane(data, 0);
}

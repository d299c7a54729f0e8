// Glow and spotlight: how a map is drawn over its picture. drawing/glow.py draws the same pixels, to within 2 of 255,
// and says what e, t, v and q are. Pixels are RGBA bytes, or one number a pixel as canvas memory has them.
import { STEPS } from './enlarged.js';
import { indices, limited } from './numbers.js';

export const GROUND = [247, 247, 245]; // under a map that is drawn without its picture

const RAMP = [
  [0, 196, 42, 106],
  [0.3, 232, 69, 47],
  [0.6, 255, 132, 16],
  [0.85, 255, 176, 32],
  [1, 255, 210, 60],
];
const LEAST_TOP = 4; // even shares that the hottest colour stands for, at least
const ROUNDING = 1e-6; // what is so little over an even share is an even share that was rounded
const RETURN = 2.5; // a picture has its own colours again from v = 1 / RETURN on
const DIM = 0.38; // what is left of the light outside the spotlight
const FIELDS = 6; // of the table, for each step of v
const BRIGHT = 1 << 8; // parts of a pixel's brightness, of what is multiplied by it, and of what comes of both
const HOT = 1 << 4;
const WHOLE = BRIGHT * HOT;
const BITS = 12; // of WHOLE
const BAR = 256; // colours of the colour bar
const OPAQUE = 0xff000000;

// --- Values ---

// Returns the sum of a map's values above 0.
function massOf(values) {
  let mass = 0;
  for (const value of values) if (value > 0) mass += value;
  return mass;
}

// Returns [e, t]: the even share of a map, up to which it is clear, and the share with the hottest colour.
export function glowScale(values) {
  const even = 1 / values.length;
  const mass = massOf(values);
  let largest = 0;
  for (const value of values) if (value > largest) largest = value;
  return [even, Math.max(mass > 0 ? largest / mass : 0, LEAST_TOP * even)];
}

// Returns [e, t] for maps of one grid that are to be compared: the largest t of all.
export function sharedGlowScale(maps) {
  const scales = maps.map(glowScale);
  return [scales[0][0], Math.max(...scales.map(([, top]) => top))];
}

// Returns the share of a map that each cell has; all 0 where none is above 0.
export function sharesOf(values) {
  const mass = massOf(values);
  return Float64Array.from(values, (value) => (value > 0 ? value / mass : 0));
}

// Returns v of each cell, 0 to 1, for the scale [e, t].
export function heat(values, [even, top], gamma) {
  return Float32Array.from(sharesOf(values), (share) => {
    const over = share - even;
    return over > ROUNDING * even ? Math.min(over / (top - even), 1) ** gamma : 0;
  });
}

// Returns where values stand between the ends of a colour map's range, 0 to 1: v of its spotlight. Where cells are
// blended that is to be done first.
export function places(values, [low, high], gamma) {
  if (high <= low) return new Float32Array(values.length);
  return Float32Array.from(values, (value) => limited((value - low) / (high - low), 0, 1) ** gamma);
}

// --- Pictures ---

// Returns parts of 0 to 255, rounded, as one number.
const pixelOf = (r, g, b) => OPAQUE | ((b + 0.5) << 16) | ((g + 0.5) << 8) | (r + 0.5);

// Returns what of a picture does not depend on a map: its own pixels, those where nothing is hot, each pixel's grey and
// how bright the glow is on it. `warmth` is the payload's.
export function prepared(rgba, warmth) {
  const size = rgba.length / 4;
  const found = {
    own: new Int32Array(size), // signed: bits of numbers that fit into 32 are quicker to take apart
    cold: new Int32Array(size),
    grey: new Uint8ClampedArray(size),
    light: new Int16Array(size), // in parts of BRIGHT
  };
  const lightOf = Int16Array.from({ length: 1 + 16 * 255 }, (_, i) =>
    Math.round(BRIGHT * (0.58 + 0.48 * (i / 16 / 255) ** 0.7)),
  );
  const mixed = 0.65 * warmth;
  const dim = 1 - 0.16 * warmth;
  for (let i = 0, at = 0; i < size; i++, at += 4) {
    const r = rgba[at];
    const g = rgba[at + 1];
    const b = rgba[at + 2];
    const grey = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    found.own[i] = pixelOf(r, g, b);
    found.grey[i] = grey;
    found.light[i] = lightOf[(16 * grey + 0.5) | 0];
    const part = mixed * grey;
    const own = 1 - mixed;
    found.cold[i] = pixelOf(dim * (part + own * r), dim * (part + own * g), dim * (part + own * b));
  }
  return found;
}

// Returns a ground of so many pixels, prepared, on which a map is drawn without its picture, at full strength.
export function preparedGround({ width, height }) {
  const ground = prepared(Uint8ClampedArray.of(...GROUND, 255), 0);
  return Object.fromEntries(
    Object.entries(ground).map(([name, [value]]) => {
      const Kind = ground[name].constructor;
      return [name, new Kind(width * height).fill(value)];
    }),
  );
}

// --- Drawing ---

// Returns the ramp's colour at v.
function rampAt(v) {
  const upper = RAMP.find(([at], i) => i > 0 && v <= at);
  const lower = RAMP[RAMP.indexOf(upper) - 1];
  const share = (v - lower[0]) / (upper[0] - lower[0]);
  return [1, 2, 3].map((part) => lower[part] + share * (upper[part] - lower[part]));
}

const tables = new Map(); // strength -> what the last was asked for

// Returns for each step of v, in whole numbers: how much is left of the cold picture and of the picture's own colours, the
// ramp's colour times alpha, and the most that red may be.
function glowTable(strength) {
  if (!tables.has(strength)) {
    tables.clear();
    const table = new Int32Array(FIELDS * (STEPS + 1));
    for (let i = 0; i <= STEPS; i++) {
      const v = i / STEPS;
      const alpha = strength * 0.88 * v ** 0.85;
      const own = (1 - alpha) * Math.min(1, RETURN * v);
      const hot = rampAt(v).map((part) => HOT * alpha * part);
      const fields = [WHOLE * (1 - alpha - own), WHOLE * own, ...hot, WHOLE * alpha * 255];
      table.set(fields.map(Math.round), FIELDS * i);
    }
    tables.set(strength, table);
  }
  return tables.get(strength);
}

// Writes the glow of v, in steps for each pixel, over a prepared picture into pixels (Uint32Array). Whole numbers only,
// as in enlarged.js.
export function paintGlow(pixels, { own, cold, light }, v, strength) {
  const table = glowTable(strength);
  const shown = new Int32Array(pixels.buffer, pixels.byteOffset, pixels.length);
  const half = WHOLE >> 1;
  shown.set(cold);
  for (let i = 0; i < shown.length; i++) {
    if (v[i] === 0) continue;
    const step = Math.imul(FIELDS, v[i]);
    const rest = table[step];
    const back = table[step + 1];
    const bright = light[i];
    const kept = cold[i];
    const full = own[i];
    // Of the hot colours only red is ever over 255.
    const red = Math.min(table[step + 5], Math.imul(table[step + 2], bright));
    const r = red + Math.imul(rest, kept & 255) + Math.imul(back, full & 255) + half;
    const g =
      Math.imul(table[step + 3], bright) +
      Math.imul(rest, (kept >> 8) & 255) +
      Math.imul(back, (full >> 8) & 255) +
      half;
    const b =
      Math.imul(table[step + 4], bright) +
      Math.imul(rest, (kept >> 16) & 255) +
      Math.imul(back, (full >> 16) & 255) +
      half;
    shown[i] = OPAQUE | ((b >> BITS) << 16) | ((g >> BITS) << 8) | (r >> BITS);
  }
}

// Writes the picture, dim and grey where v, in steps, is 0 and as it is from 0.4 on, into pixels (Uint32Array); of
// `strength` less than 1, only part of the way there.
export function paintSpotlight(pixels, { own, grey }, v, strength) {
  for (let i = 0; i < pixels.length; i++) {
    const back = Math.min(1, (RETURN / STEPS) * v[i]);
    const light = DIM + (1 - DIM) * back;
    const keep = 1 - strength + strength * back * light; // of the picture's own colours
    const flat = strength * (1 - back) * light * grey[i] + 0.5;
    const full = own[i];
    const r = keep * (full & 255) + flat;
    const g = keep * ((full >> 8) & 255) + flat;
    const b = keep * ((full >> 16) & 255) + flat;
    pixels[i] = OPAQUE | (b << 16) | (g << 8) | r;
  }
}

// Returns the colours of the bar, on white, for v from 0 to 1: of the glow, or of the spotlight.
export function rampColours(isSpotlight = false) {
  const white = prepared(new Uint8ClampedArray(4 * BAR).fill(255), 0);
  const colours = new Uint32Array(BAR);
  const v = Uint16Array.from(indices(BAR), (i) => Math.round((STEPS * i) / (BAR - 1)));
  (isSpotlight ? paintSpotlight : paintGlow)(colours, white, v, 1);
  return colours;
}

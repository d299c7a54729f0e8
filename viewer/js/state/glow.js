// Glow and spotlight: how a map is drawn over its picture. drawing/glow.py draws the same pixels, to within 2 of 255,
// and says what e, t, v and q are. Pixels are RGBA bytes, or one number a pixel as canvas memory has them.
import { eachBand, STEPS } from './enlarged.js';
import { keptFor } from './kept.js';
import { indices, limited, rangeOf } from './numbers.js';
import { wholeOf } from './planes.js';
import { smoothed } from './smooth.js';

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
const BITS = 16; // of a whole in the table
const WHOLE = 1 << BITS;
const FAINT = 0.58; // of a hot colour's light on a black pixel
const BRIGHT = 0.48; // so much more on a white one
const FROM_FAINT = Math.round((255 * FAINT) / BRIGHT); // the faint light, in steps of brightness
const OVER = 223; // brightness from which the light is more than whole
const GREY = Int32Array.from({ length: 256 }, (_, i) => 64 * 255 * (i / 255) ** (1 / 0.7)); // of a brightness, in 64ths
const BAR = 256; // colours of the colour bar
const OPAQUE = 0xff000000;

// --- Values ---

const ownMass = keptFor((values) => {
  let mass = 0;
  for (const value of values) if (value > 0) mass += value;
  return mass;
});

// Returns the sum of a map's values above 0, of the whole map where these are a part of it: shares and scales are the whole's.
export const massOf = (values) => ownMass(wholeOf(values));

// Returns the share of a map that one of its values is; 0 of one that is not above 0.
export const shareOf = (values, value) => (value > 0 ? value / massOf(values) : 0);

const largestShare = (values) => shareOf(values, rangeOf(wholeOf(values))[1]);

// Returns [e, t]: the even share of a map, up to which it is clear, and the share with the hottest colour.
export const glowScale = keptFor((values) => {
  const even = 1 / wholeOf(values).length;
  return [even, Math.max(largestShare(values), LEAST_TOP * even)];
});

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
  const mass = massOf(values);
  const found = new Float32Array(values.length);
  for (let i = 0; i < found.length; i++) {
    const over = values[i] > 0 ? values[i] / mass - even : 0;
    if (over > ROUNDING * even) found[i] = Math.min(over / (top - even), 1) ** gamma;
  }
  return found;
}

// Returns whether no cell has more than an even share.
export function isFlat(values) {
  const even = 1 / wholeOf(values).length;
  return largestShare(values) - even <= ROUNDING * even;
}

// Returns where values stand between the ends of a colour map's range, 0 to 1: v of its spotlight.
export function places(values, [low, high], gamma) {
  if (high <= low) return new Float32Array(values.length);
  return Float32Array.from(values, (value) => limited((value - low) / (high - low), 0, 1) ** gamma);
}

// Returns the same at every pixel of the axes of smooth.js, in steps, for a map of a grid whose cells are blended first.
export const blendedPlaces = (values, grid, axes, range, gamma) =>
  Uint16Array.from(places(smoothed(values, grid, axes), range, gamma), (v) => Math.round(STEPS * v));

// --- Pictures ---

// Returns what of a picture does not depend on a map, a number a pixel: `cold`, as it is where nothing is hot, and `own`, its
// own colours with its brightness, luminance^0.7 of 255, in the place of alpha. `warmth` is the payload's.
export function prepared(rgba, warmth) {
  const size = rgba.length / 4;
  const cold = new Int32Array(size); // signed: bits of numbers that fit into 32 are quicker to take apart
  const own = new Int32Array(size);
  const brightness = Uint8Array.from({ length: 1 + 16 * 255 }, (_, i) => 255 * (i / 16 / 255) ** 0.7 + 0.5);
  const [kept, mixed] = coldParts(warmth);
  for (let i = 0, at = 0; i < size; i++, at += 4) {
    const r = rgba[at];
    const g = rgba[at + 1];
    const b = rgba[at + 2];
    const grey = 0.2126 * r + 0.7152 * g + 0.0722 * b;
    const flat = mixed * grey + 0.5;
    own[i] = (brightness[(16 * grey + 0.5) | 0] << 24) | (b << 16) | (g << 8) | r;
    cold[i] = OPAQUE | ((flat + kept * b) << 16) | ((flat + kept * g) << 8) | (flat + kept * r);
  }
  return { cold, own, warmth };
}

// Returns how much of its own colours and of its grey a cold picture has.
const coldParts = (warmth) => [1 - 0.65 * warmth, 0.65 * warmth].map((part) => part * (1 - 0.16 * warmth));

// Returns a ground of so many pixels, prepared, on which a map is drawn without its picture, at full strength.
export function preparedGround({ width, height }) {
  const { cold, own, warmth } = prepared(Uint8ClampedArray.of(...GROUND, 255), 0);
  const filled = ([value]) => new Int32Array(width * height).fill(value);
  return { cold: filled(cold), own: filled(own), warmth };
}

// --- Drawing ---

// Returns the ramp's colour at v.
function rampAt(v) {
  const upper = RAMP.find(([at], i) => i > 0 && v <= at);
  const lower = RAMP[RAMP.indexOf(upper) - 1];
  const share = (v - lower[0]) / (upper[0] - lower[0]);
  return [1, 2, 3].map((part) => lower[part] + share * (upper[part] - lower[part]));
}

const tables = new Map(); // strength and warmth -> what the last was asked for

// Returns for each step of v, in parts of WHOLE: how much is left of the picture's own colours, `kept`, and of its grey (in
// 64ths), `flat`; the ramp's colour times alpha, for a step of brightness; and the most that red may be.
function glowTable(strength, warmth) {
  const key = `${strength} ${warmth}`;
  if (!tables.has(key)) {
    tables.clear();
    const steps = indices(STEPS + 1).map((i) => glowStep(i / STEPS, strength, warmth));
    const field = (part) => Int32Array.from(steps, (step) => Math.round(WHOLE * step[part]));
    const [kept, flat, red, green, blue, most] = indices(6).map(field);
    tables.set(key, { kept, flat, red, green, blue, most });
  }
  return tables.get(key);
}

function glowStep(v, strength, warmth) {
  const [own, grey] = coldParts(warmth);
  const alpha = strength * 0.88 * v ** 0.85;
  const back = Math.min(1, RETURN * v);
  const cold = (1 - alpha) * (1 - back);
  const hot = rampAt(v).map((part) => alpha * part * (BRIGHT / 255));
  return [(1 - alpha) * back + cold * own, (cold * grey) / 64, ...hot, alpha * 255];
}

// Writes the glow of v, in steps for each pixel, over a prepared picture into pixels (Uint32Array). Whole numbers only,
// as in enlarged.js.
export function paintGlow(pixels, { cold, own, warmth }, v, strength) {
  const { kept, flat, red, green, blue, most } = glowTable(strength, warmth);
  const shown = new Int32Array(pixels.buffer, pixels.byteOffset, pixels.length);
  shown.set(cold);
  for (let i = 0; i < shown.length; i++) {
    const step = v[i];
    if (step === 0) continue;
    const full = own[i];
    const brightness = full >>> 24;
    const light = brightness + FROM_FAINT;
    const keep = kept[step];
    const rest = Math.imul(flat[step], GREY[brightness]) + (WHOLE >> 1);
    let hot = Math.imul(red[step], light);
    if (brightness > OVER) hot = Math.min(hot, most[step]); // of the hot colours only red is ever over 255
    const r = hot + Math.imul(keep, full & 255) + rest;
    const g = Math.imul(green[step], light) + Math.imul(keep, (full >> 8) & 255) + rest;
    const b = Math.imul(blue[step], light) + Math.imul(keep, (full >> 16) & 255) + rest;
    shown[i] = OPAQUE | (b & 0xff0000) | ((g >> 8) & 0xff00) | (r >> BITS);
  }
}

// Writes heat of cells, 0 to 1, over a prepared picture into pixels (Uint32Array) by one of the two above and below.
export function paintHeat(paint, pixels, { cold, own, warmth }, { heat: cells, axes, strength }) {
  eachBand(cells, axes, (from, v) => {
    const to = from + v.length;
    const under = { cold: cold.subarray(from, to), own: own.subarray(from, to), warmth };
    paint(pixels.subarray(from, to), under, v, strength);
  });
}

// Writes the picture, dim and grey where v, in steps, is 0 and as it is from 0.4 on, into pixels (Uint32Array); of
// `strength` less than 1, only part of the way there.
export function paintSpotlight(pixels, { own }, v, strength) {
  for (let i = 0; i < pixels.length; i++) {
    const back = Math.min(1, (RETURN / STEPS) * v[i]);
    const light = DIM + (1 - DIM) * back;
    const keep = 1 - strength + strength * back * light; // of the picture's own colours
    const full = own[i];
    const flat = strength * (1 - back) * light * (GREY[full >>> 24] / 64) + 0.5;
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

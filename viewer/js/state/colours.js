// Colours of values: palettes are base64 of 256 colours, lowest first, three bytes each.
import { limited } from './numbers.js';
import { bytesOf } from './packing.js';

export const RAMP = 4096; // steps of the colour table: a multiple of 256, so that γ = 1 is exact

// Returns the power by which shares of the range are coloured.
export const gammaOf = (look) => 2 ** look.contrast;

// Returns the palette as one number a colour, as canvas memory has them.
export function paletteColours(packed) {
  const bytes = bytesOf(packed);
  const colours = new Uint32Array(bytes.length / 3);
  for (let i = 0; i < colours.length; i++) {
    colours[i] = 0xff000000 | (bytes[3 * i + 2] << 16) | (bytes[3 * i + 1] << 8) | bytes[3 * i];
  }
  return colours;
}

// Returns a colour for each of RAMP steps between the ends of the scale.
export function colourTable(colours, gamma) {
  return Uint32Array.from(
    { length: RAMP },
    (_, i) => colours[Math.floor((i / RAMP) ** gamma * colours.length)],
  );
}

// Writes the colours of values into pixels; a range of one value has the lowest colour.
export function paint(pixels, values, [low, high], table) {
  const steps = high > low ? RAMP / (high - low) : 0;
  for (let i = 0; i < values.length; i++) {
    pixels[i] = table[limited(((values[i] - low) * steps) | 0, 0, RAMP - 1)];
  }
}

// Draws what Python's tests ask for, by the viewer's own functions. A list of cases comes in as JSON, what each gives
// goes out as JSON: pixels as base64 of RGBA, cells and lines as numbers.

import { readFileSync } from 'node:fs';
import { heatAxes } from '../../viewer/js/state/enlarged.js';
import {
  blendedPlaces,
  glowScale,
  heat,
  paintGlow,
  paintHeat,
  paintSpotlight,
  places,
  prepared,
  preparedGround,
  rampColours,
  sharedGlowScale,
} from '../../viewer/js/state/glow.js';
import { borderSegments, halfCells } from '../../viewer/js/state/outline.js';
import { axesAt } from '../../viewer/js/state/smooth.js';

const bytesOf = (pixels) => Buffer.from(pixels.buffer).toString('base64');

function heatOf({ values, range, gamma, shared }) {
  const scale = shared ? sharedGlowScale([values, ...shared]) : glowScale(values);
  return range ? places(values, range, gamma) : heat(values, scale, gamma);
}

function painted(asked) {
  const { rgba, width, height, warmth, strength, view, values, grid, range, gamma, smooth } = asked;
  const size = { width, height };
  const picture = view === 'heatmap' ? preparedGround(size) : prepared(Buffer.from(rgba, 'base64'), warmth);
  const pixels = new Uint32Array(width * height);
  const paint = view === 'spotlight' ? paintSpotlight : paintGlow;
  if (range && smooth) {
    const v = blendedPlaces(values, grid, axesAt(grid, size), range, gamma);
    paint(pixels, picture, v, strength);
  } else {
    const axes = heatAxes(grid, size, smooth);
    paintHeat(paint, pixels, picture, { heat: heatOf(asked), axes, strength });
  }
  return { pixels: bytesOf(pixels) };
}

const ANSWERS = {
  painted,
  outline: ({ values, grid }) => {
    const cells = halfCells(values);
    return { cells, segments: borderSegments(cells, grid) };
  },
  bar: ({ isSpotlight }) => ({ pixels: bytesOf(rampColours(isSpotlight)) }),
};

const cases = JSON.parse(readFileSync(0, 'utf8'));
process.stdout.write(JSON.stringify(cases.map((one) => ANSWERS[one.kind](one))));

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { STEPS } from '../../viewer/js/state/enlarged.js';
import {
  GROUND,
  glowScale,
  heat,
  paintGlow,
  paintSpotlight,
  places,
  prepared,
  preparedGround,
  rampColours,
  sharedGlowScale,
  sharesOf,
} from '../../viewer/js/state/glow.js';

const MAP = [10, 0, 0, 2, -5, 3, 4, 1]; // of 20; an even share is 1/8
const FLAT = [
  [0.2, 0.2, 0.2],
  [0, 0, 0],
  [-1, -2, 0],
];
const near = (found, expected, most = 1e-6) =>
  assert.ok(
    found.length === expected.length && [...found].every((one, i) => Math.abs(one - expected[i]) <= most),
    `${[...found]} is not ${expected}`,
  );

const partsOf = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255, pixel >>> 24];

// Returns the parts of each pixel of a picture [[r, g, b], …] that is drawn with v.
function drawn(paint, colours, { v, warmth = 0, strength = 1 }) {
  const rgba = Uint8ClampedArray.from(colours.flatMap((colour) => [...colour, 255]));
  const pixels = new Uint32Array(colours.length);
  paint(
    pixels,
    prepared(rgba, warmth),
    Uint16Array.from(v, (one) => Math.round(STEPS * one)),
    strength,
  );
  return [...pixels].map(partsOf);
}

test('a map has shares, an even one and a top', () => {
  near(sharesOf(MAP), [0.5, 0, 0, 0.1, 0, 0.15, 0.2, 0.05]);
  near(glowScale(MAP), [0.125, 0.5]);
  near(glowScale([3, 2, 2, 2, 2, 2, 2, 1]), [0.125, 0.5]); // four even shares
  near(glowScale([0, 0, 9, 1, 0, 0, 0, 0]), [0.125, 0.9]);
  near(sharedGlowScale([MAP, [0, 0, 9, 1, 0, 0, 0, 0]]), [0.125, 0.9]);
});

test('heat begins above an even share', () => {
  near(heat(MAP, [0.125, 0.5], 1), [1, 0, 0, 0, 0, 0.025 / 0.375, 0.2, 0]);
  near(heat(MAP, [0.125, 0.5], 2), [1, 0, 0, 0, 0, (0.025 / 0.375) ** 2, 0.04, 0]);
  near(heat(MAP, [0.125, 0.2], 1), [1, 0, 0, 0, 0, 1 / 3, 1, 0]);
});

test('a flat map has none', () => {
  for (const values of FLAT) {
    const found = heat(values, glowScale(values), 1);
    assert.ok(found.every((v) => v === 0));
  }
  const rounded = new Float32Array(7).fill(0.1);
  assert.ok(heat(rounded, glowScale(rounded), 1).every((v) => v === 0));
});

test('places are between the ends of a range', () => {
  near(places([-1, 0, 0.5, 2, 3], [0, 2], 2), [0, 0, 0.0625, 1, 1]);
  near(places([4, 4], [4, 4], 1), [0, 0]);
});

test('a cold picture is as it is where nothing is hot', () => {
  const colours = [
    [0, 0, 0],
    [12, 34, 56],
    [255, 254, 1],
  ];
  assert.deepEqual(
    drawn(paintGlow, colours, { v: [0, 0, 0] }),
    colours.map((one) => [...one, 255]),
  );
});

test('colours known on paper', () => {
  const [white, grey] = drawn(
    paintGlow,
    [
      [255, 255, 255],
      [0, 0, 0],
    ],
    { v: [1, 0.3] },
  );
  // 0.12 · 255 + 0.88 · min(255, 1.06 · ramp)
  near(white, [255, 0.12 * 255 + 0.88 * 222.6, 0.12 * 255 + 0.88 * 63.6, 255], 1);
  const alpha = 0.88 * 0.3 ** 0.85;
  near(grey, [alpha * 0.58 * 232, alpha * 0.58 * 69, alpha * 0.58 * 47, 255], 1);
  const half = drawn(paintGlow, [[0, 0, 0]], { v: [0.3], strength: 0.5 });
  near(half[0], [...grey.slice(0, 3).map((part) => part / 2), 255], 1);
});

test('warm colours stand back, and return where it is hot', () => {
  const grey = 0.2126 * 200 + 0.7152 * 100;
  const cold = [200, 100, 0].map((part) => (0.35 * part + 0.65 * grey) * 0.84);
  const [away, , hot] = drawn(paintGlow, Array(3).fill([200, 100, 0]), {
    v: [0, 0.1, 0.4],
    warmth: 1,
    strength: 0,
  });
  near(away, [...cold, 255], 1);
  near(hot, [200, 100, 0, 255], 1); // all of it is back at v = 0.4
});

test('the spotlight is grey and dim, and the picture itself from 0.4 on', () => {
  const colour = [200, 100, 0];
  const grey = 0.2126 * 200 + 0.7152 * 100;
  const [dark, half, lit] = drawn(paintSpotlight, [colour, colour, colour], { v: [0, 0.2, 0.4] });
  near(dark, [0.38 * grey, 0.38 * grey, 0.38 * grey, 255], 1);
  near(half, [...colour.map((part) => 0.69 * (0.5 * part + 0.5 * grey)), 255], 1);
  assert.deepEqual(lit, [...colour, 255]);
  assert.deepEqual(drawn(paintSpotlight, [colour], { v: [0], strength: 0 })[0], [...colour, 255]);
});

test('a map alone lies on a light ground', () => {
  const pixels = new Uint32Array(6);
  paintGlow(pixels, preparedGround({ width: 3, height: 2 }), Uint16Array.of(0, 0, STEPS, 0, 0, 0), 1);
  assert.deepEqual(partsOf(pixels[0]), [...GROUND, 255]);
  assert.notEqual(pixels[2], pixels[0]);
  assert.equal(pixels[5], pixels[0]);
});

test('the bar begins at white, or dim', () => {
  const glow = rampColours();
  assert.deepEqual([glow.length, partsOf(glow[0])], [256, [255, 255, 255, 255]]);
  near(partsOf(glow[255]), [255, 226, 87, 255], 1);
  const spotlight = rampColours(true);
  near(partsOf(spotlight[0]), [97, 97, 97, 255], 1);
  assert.deepEqual(partsOf(spotlight[255]), [255, 255, 255, 255]);
});

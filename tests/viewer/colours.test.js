import assert from 'node:assert/strict';
import { test } from 'node:test';
import { colourTable, gammaOf, paint, paletteColours, RAMP } from '../../viewer/js/state/colours.js';

// 256 colours that tell their number: (i, 255 - i, 7)
const packed = Buffer.from(Array.from({ length: 256 }, (_, i) => [i, 255 - i, 7]).flat()).toString('base64');
const colours = paletteColours(packed);
const numberOf = (colour) => colour & 255;

test('colours are opaque, and in memory red, green, blue', () => {
  assert.equal(colours.length, 256);
  assert.deepEqual([...new Uint8Array(colours.buffer, 4 * 3, 4)], [3, 252, 7, 255]);
});

test('without a curve each colour takes up an equal part of the table', () => {
  const table = colourTable(colours, 1);
  assert.equal(table.length, RAMP);
  for (let i = 0; i < RAMP; i++) assert.equal(numberOf(table[i]), Math.floor(i / 16));
});

test('a curve bends shares by its power', () => {
  assert.equal(gammaOf({ contrast: -1 }), 0.5);
  const table = colourTable(colours, 2);
  for (const share of [0, 0.25, 0.5, 0.75]) assert.equal(numberOf(table[share * RAMP]), 256 * share ** 2);
});

test('values are painted by their share of the range, and by its ends beyond them', () => {
  const table = colourTable(colours, 1);
  const values = [-1, -0.5, 0, 1, 1.999, 3, 99, -99];
  const pixels = new Uint32Array(values.length);
  paint(pixels, values, [-1, 3], table);
  assert.deepEqual([...pixels].map(numberOf), [0, 32, 64, 128, 191, 255, 255, 0]);
});

test('a range of one value has the lowest colour', () => {
  const pixels = new Uint32Array(2);
  paint(pixels, [5, 5], [5, 5], colourTable(colours, 1));
  assert.deepEqual([...pixels].map(numberOf), [0, 0]);
});

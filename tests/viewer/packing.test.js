import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bytesOf, decoded, unpacked, withMaps } from '../../viewer/js/state/packing.js';
import { mapsOf, packed, payload } from './made.js';

test('bytes are those of the text', () => {
  assert.deepEqual([...bytesOf('AAH/gA==')], [0, 1, 255, 128]);
});

test('16 bits are little-endian and span each row from its lowest to its highest', () => {
  // 0, 65535, 256 | 1, 0, 65535
  const data = Buffer.from([0, 0, 255, 255, 0, 1, 1, 0, 0, 0, 255, 255]).toString('base64');
  const rows = unpacked({ data, bits: 16, low: [0, -2], high: [1, 2] });
  const expected = [
    [0, 1, 256 / 65535],
    [-2 + 4 / 65535, -2, 2],
  ];
  assert.equal(rows.length, 2);
  rows.forEach((row, i) => {
    assert.ok(row instanceof Float32Array);
    assert.deepEqual([...row], expected[i].map(Math.fround));
  });
});

test('8 bits have 255 steps', () => {
  const data = Buffer.from([0, 51, 255]).toString('base64');
  const [row] = unpacked({ data, bits: 8, low: [1], high: [2] });
  assert.deepEqual([...row], [1, 1.2, 2].map(Math.fround));
});

test('a flat row has its one value, and no rows are none', () => {
  const data = Buffer.from([0, 0, 0, 0]).toString('base64');
  assert.deepEqual([...unpacked({ data, bits: 16, low: [0.25], high: [0.25] })[0]], [0.25, 0.25]);
  assert.deepEqual(unpacked({ data: '', bits: 16, low: [], high: [] }), []);
});

test('a payload comes back with the maps that were packed into it', () => {
  const data = decoded(payload());
  for (const name of ['answer', 'prompt']) {
    mapsOf(name).forEach((truth, token) => {
      const span = Math.max(...truth) - Math.min(...truth);
      truth.forEach((value, cell) => {
        assert.ok(Math.abs(data[name].maps[token][cell] - value) <= span / 65535 + 1e-7);
      });
    });
  }
  assert.deepEqual(data.answer.high, [0.09, 0.2, 0.02, 0.3]);
  assert.equal(data.leaned, null);
});

test('a text without maps stays without', () => {
  assert.deepEqual(withMaps({ text: 'x', maps: null }), { text: 'x', low: [], high: [], maps: null });
});

test('maps of some tokens are at the places of those tokens, and nothing is at the others', () => {
  const rows = [mapsOf('answer')[3], mapsOf('answer')[0]];
  const { maps, low, high } = withMaps({ maps: packed(rows), have: [3, 0] });
  assert.ok(Math.abs(maps[3][6] - 0.3) < 1e-5);
  assert.ok(Math.abs(maps[0][14] - 0.09) < 1e-6);
  assert.deepEqual([maps[1], maps[2]], [undefined, undefined]);
  assert.deepEqual(
    [low, high],
    [
      [-0.1, 0],
      [0.3, 0.09],
    ],
  );
  const none = withMaps({ maps: { data: '', bits: 16, low: [], high: [] }, have: [] });
  assert.deepEqual(none.maps, []);
  assert.equal(withMaps({ maps: null, have: null }).maps, null);
  assert.equal(withMaps({ maps: packed(rows), have: null }).maps.length, 2);
});

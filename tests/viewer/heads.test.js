import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chosenHeads,
  headAt,
  headCorner,
  headNameAt,
  headNameNear,
  headNumbers,
  headsLayout,
  headText,
  namedBox,
  namedRange,
  noHeadsText,
} from '../../viewer/js/state/heads.js';
import { withMaps } from '../../viewer/js/state/packing.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { headsOf, payload } from './made.js';

const grid = withMaps(headsOf([1]));
const picture = { width: 350, height: 210 };

test('there is a row and a column more than layers and heads, for the means', () => {
  const layout = headsLayout(grid, picture, 700);
  assert.deepEqual([layout.down, layout.across, layout.isSquares], [3, 7, false]);
  assert.equal(layout.width, Math.floor((700 - 58) / 7) - 5);
  assert.equal(layout.height, Math.floor((layout.width * 210) / 350));
  assert.deepEqual(layout.step, { x: layout.width + 5, y: layout.height + 10 });
  assert.ok(layout.total.width <= 700);
});

test('maps keep a size that says something, else a square stands for each', () => {
  const large = headsLayout(grid, picture, 9000);
  assert.equal(large.width, 104);
  assert.deepEqual(large.step, { x: 104 + 5, y: 62 + 10 });
  assert.equal(headsLayout(grid, { width: 3000, height: 100 }, 700).height, 12);
  assert.equal(headsLayout(grid, { width: 100, height: 3000 }, 700).height, 120);
  const small = headsLayout(grid, picture, 340); // 40 pixels each, gaps included
  assert.deepEqual([small.isSquares, small.width, small.height], [true, 22, 22]);
  assert.deepEqual(small.step, { x: 24, y: 24 });
  assert.equal(headsLayout(grid, picture, 100).width, 10);
});

test('names of rows and columns are where there are no maps', () => {
  const layout = headsLayout(grid, picture, 700);
  const { x, y } = headCorner(layout, { row: 2, col: 3 });
  assert.deepEqual(headNameAt(layout, { x: 10, y: y + 1 }), { axis: 'layers', at: 2 });
  assert.deepEqual(headNameAt(layout, { x: x + 1, y: 4 }), { axis: 'heads', at: 3 });
  for (const none of [
    { x: 10, y: 4 },
    { x: x + 1, y: y + 1 },
    { x: 10, y: 9000 },
    { x: 9000, y: 4 },
  ]) {
    assert.equal(headNameAt(layout, none), null);
  }
});

test('from one name to another are all between, and all of them where it is the name of all', () => {
  assert.deepEqual(namedRange(grid, { axis: 'layers', at: 1 }, 2), { layers: [3, 8] });
  assert.deepEqual(namedRange(grid, { axis: 'layers', at: 2 }, 2), { layers: [8] });
  assert.deepEqual(namedRange(grid, { axis: 'heads', at: 5 }, 3), { heads: [2, 3, 4] });
  assert.deepEqual(namedRange(grid, { axis: 'heads', at: 0 }, 3), { heads: [0, 1, 2, 3, 4, 5] });
});

test('a point inside a map is at its place, one among the names at none', () => {
  const layout = headsLayout(grid, picture, 700);
  for (let row = 0; row < 3; row++) {
    for (let col = 0; col < 7; col++) {
      const { x, y } = headCorner(layout, { row, col });
      assert.deepEqual(headAt(layout, { x: x + layout.width / 2, y: y + 1 }), { row, col });
    }
  }
  assert.equal(headAt(layout, { x: 5, y: 50 }), null);
  assert.equal(headAt(layout, { x: 100, y: 5 }), null);
  assert.equal(headAt(layout, { x: layout.total.width + 1, y: 50 }), null);
  assert.equal(headAt(layout, { x: 100, y: layout.total.height + 1 }), null);
});

test('what the maps are made of has its place, a choice of several has none', () => {
  const state = (layers, heads) => {
    const settings = { ...payload().settings, layers, heads };
    return withPayload(newState({}), payload({ settings }));
  };
  assert.deepEqual(chosenHeads(state([3, 8], [0, 1, 2, 3, 4, 5]), grid), { row: 0, col: 0 });
  assert.deepEqual(chosenHeads(state([8], [4]), grid), { row: 2, col: 5 });
  assert.deepEqual(chosenHeads(state([3], [1, 2]), grid), { row: 1, col: null });
  const alone = { row: 1, col: 1 };
  assert.deepEqual(chosenHeads({ ...state([8], [4]), alone }, grid), alone);
});

test('a place is told by layer and head, its share and its hottest patch', () => {
  const plain = (place) => headText(grid, place).replaceAll('\u00a0', ' ');
  assert.equal(
    plain({ row: 2, col: 4 }),
    'layer 8, head 3: 18 % of its attention on the picture, 100 % of that on one patch',
  );
  assert.match(plain({ row: 0, col: 0 }), /^all layers, all heads: 0 %/);
  assert.deepEqual(headNumbers(grid, { row: 1, col: 0 }), { layer: 3, head: null });
});

test('squares are as large as the room allows, between 10 and 22 pixels, whatever the picture', () => {
  for (const [room, size] of [
    [58 + 7 * 40, 22], // 40 pixels each, 5 of them a gap: a map would have 35
    [58 + 7 * 15, 13],
    [58 + 7 * 12, 10],
    [58, 10],
  ]) {
    const layout = headsLayout(grid, { width: 100, height: 3000 }, room);
    assert.deepEqual([layout.isSquares, layout.width, layout.height], [true, size, size]);
    assert.deepEqual(layout.total, { width: 58 + 7 * (size + 2), height: 22 + 3 * (size + 2) });
  }
  const maps = headsLayout(grid, picture, 58 + 7 * 41); // a pixel more is a map
  assert.deepEqual([maps.isSquares, maps.width, maps.height], [false, 36, 21]);
});

test('36 layers of 16 heads are squares that stand where they are pointed at', () => {
  const many = { ...grid, layers: Array.from({ length: 36 }, (_, i) => i), heads: 16 };
  const layout = headsLayout(many, picture, 520);
  assert.ok(layout.isSquares);
  assert.deepEqual([layout.down, layout.across], [37, 17]);
  const { x, y } = headCorner(layout, { row: 36, col: 16 });
  assert.deepEqual(headAt(layout, { x: x + 1, y: y + 1 }), { row: 36, col: 16 });
  assert.deepEqual(headNameAt(layout, { x: x + 1, y: 1 }), { axis: 'heads', at: 16 });
  assert.deepEqual(headNameAt(layout, { x: 1, y: y + 1 }), { axis: 'layers', at: 36 });
  assert.deepEqual(namedRange(many, { axis: 'layers', at: 36 }, 34), { layers: [33, 34, 35] });
});

test('a range that ends at the name of all is all', () => {
  assert.deepEqual(namedRange(grid, { axis: 'layers', at: 2 }, 0), { layers: [3, 8] });
  assert.deepEqual(namedRange(grid, { axis: 'heads', at: 6 }, 6), { heads: [5] });
});

test('maps are lower where that lets all be seen, down to a part of their height', () => {
  const full = headsLayout(grid, picture, 700); // 86 wide, 51 high; 22 and three rows of 61
  assert.deepEqual([full.height, full.total.height], [51, 205]);
  assert.equal(headsLayout(grid, picture, 700, 205).height, 51);
  const lower = headsLayout(grid, picture, 700, 204);
  assert.deepEqual([lower.width, lower.height, lower.step.y, lower.total.height], [86, 50, 60, 202]);
  assert.equal(headsLayout(grid, picture, 700, 10).height, 31); // of 51, 0.6
  assert.equal(headsLayout(grid, { width: 3000, height: 100 }, 700, 10).height, 12);
  assert.equal(headsLayout(grid, picture, 340, 10).height, 22); // squares
});

test('why there is no map of each head is said: not kept, on its way, or not in the file', () => {
  const state = withPayload(newState({ heads: true }), payload());
  assert.equal(noHeadsText(state), 'They are being fetched …');
  assert.equal(noHeadsText({ ...state, can: {} }), 'They are not in this file.');
  const { data } = state;
  const settings = { ...data.settings, heads_refused: 'Only their mean was kept.' };
  assert.equal(noHeadsText({ ...state, data: { ...data, settings } }), 'Only their mean was kept.');
});

test('a drag from a name ends at the nearest one of its axis, wherever the pointer is', () => {
  const layout = headsLayout(grid, picture, 700);
  const { x, y } = headCorner(layout, { row: 1, col: 4 });
  const near = (axis, point) => headNameNear(layout, axis, point);
  assert.equal(near('layers', { x: x + 1, y: y + 1 }), 1);
  assert.equal(near('heads', { x: x + 1, y: y + 1 }), 4);
  assert.deepEqual([near('layers', { x: 0, y: -50 }), near('layers', { x: 0, y: 9000 })], [0, 2]);
  assert.deepEqual([near('heads', { x: -50, y: 0 }), near('heads', { x: 9000, y: 0 })], [0, 6]);
});

test('what is taken in by a drag has a box around it', () => {
  const layout = headsLayout(grid, picture, 700); // steps of 91 and 61 from 58, 22
  assert.deepEqual(namedBox(layout, { axis: 'layers', at: 2 }, 1), { x: 58, y: 83, width: 637, height: 122 });
  assert.deepEqual(namedBox(layout, { axis: 'heads', at: 3 }, 4), { x: 331, y: 22, width: 182, height: 183 });
  assert.deepEqual(namedBox(layout, { axis: 'heads', at: 3 }, 0), { x: 58, y: 22, width: 637, height: 183 });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chosenHeads,
  headAt,
  headCorner,
  headNumbers,
  headRanges,
  headsLayout,
  headText,
} from '../../viewer/js/state/heads.js';
import { withMaps } from '../../viewer/js/state/packing.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { headsOf, payload } from './made.js';

const grid = withMaps(headsOf([1]));
const picture = { width: 350, height: 210 };

test('there is a row and a column more than layers and heads, for the means', () => {
  const layout = headsLayout(grid, picture, 700);
  assert.deepEqual([layout.down, layout.across], [3, 7]);
  assert.equal(layout.width, Math.floor((700 - 40) / 7 - 5));
  assert.equal(layout.height, Math.floor((layout.width * 210) / 350));
  assert.ok(layout.total.width <= 700);
});

test('maps keep a size that can be seen, and shares are printed where there is room', () => {
  const small = headsLayout(grid, picture, 100);
  assert.deepEqual([small.width, small.height, small.isNamed], [26, 15, false]);
  assert.deepEqual(small.step, { x: 26 + 5, y: 15 + 5 + 6 });
  const large = headsLayout(grid, picture, 9000);
  assert.deepEqual([large.width, large.isNamed], [104, true]);
  assert.deepEqual(large.step, { x: 104 + 5, y: 62 + 5 + 20 });
  assert.equal(headsLayout(grid, { width: 3000, height: 100 }, 700).height, 12);
  assert.equal(headsLayout(grid, { width: 100, height: 3000 }, 700).height, 120);
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
    return withPayload(newState(true), payload({ settings }));
  };
  assert.deepEqual(chosenHeads(state([3, 8], [0, 1, 2, 3, 4, 5]), grid), { row: 0, col: 0 });
  assert.deepEqual(chosenHeads(state([8], [4]), grid), { row: 2, col: 5 });
  assert.deepEqual(chosenHeads(state([3], [1, 2]), grid), { row: 1, col: null });
  const alone = { row: 1, col: 1 };
  assert.deepEqual(chosenHeads({ ...state([8], [4]), alone }, grid), alone);
});

test('each map has its own range, or all of them one', () => {
  assert.deepEqual(headRanges(grid, 'own')[18], [0, 0.19]);
  assert.deepEqual(headRanges(grid, 'shared')[18], [0, 0.21]);
  assert.equal(headRanges(grid, 'own').length, 21);
});

test('a place is told by layer and head, its share and its cells', () => {
  const plain = (place) => headText(grid, '%', place).replaceAll('\u00a0', ' ');
  assert.equal(
    plain({ row: 2, col: 4 }),
    'layer 8, head 3: 18 % of its attention on the image, cells from 0 % to 19.0 %',
  );
  assert.match(plain({ row: 0, col: 0 }), /^all layers, all heads: 0 %/);
  assert.deepEqual(headNumbers(grid, { row: 1, col: 0 }), { layer: 3, head: null });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  beginsIn,
  boxAt,
  boxIn,
  boxNameOf,
  boxPick,
  coverageOf,
  figuresNote,
  figuresOf,
  figuresText,
  isOfBox,
  nameOfBox,
  shownBoxes,
} from '../../viewer/js/state/boxes.js';
import { indices } from '../../viewer/js/state/numbers.js';
import { nameOf, quoted } from '../../viewer/js/state/texts.js';
import { GRID, payload } from './made.js';

const CAT = { label: 'cat', at: [0.2, 0, 0.6, 1 / 3], is_point: false, tokens: [1, 3] }; // row 0, columns 1 and 2
const NOSE = { label: '', at: [0.5, 0.5, 0.5, 0.5], is_point: true, tokens: [2] };
const HALF = 0.5;

const dataWith = (list) =>
  payload({ boxes: { list, notes: '', json: '[]', threshold: HALF, threshold_text: 'the hot cells' } });
const stateWith = (list, picked, more = {}) => ({
  data: dataWith(list),
  picked,
  previewed: null,
  granularity: 'words',
  ...more,
});
const near = (found, expected) => assert.ok(Math.abs(found - expected) < 1e-9, `${found} is not ${expected}`);

test('a word of a box has to do with it, the whole answer and the question have not', () => {
  const data = dataWith([CAT]);
  assert.ok(isOfBox(data, { tokens: [3], of_prompt: false }, CAT));
  assert.ok(!isOfBox(data, { tokens: [2], of_prompt: false }, CAT));
  assert.ok(!isOfBox(data, { tokens: [1], of_prompt: true }, CAT));
  assert.ok(!isOfBox(data, { tokens: [0, 1, 2, 3], of_prompt: false }, CAT));
  assert.ok(!isOfBox(data, null, CAT));
  const picked = { tokens: [1], of_prompt: false };
  assert.deepEqual(shownBoxes(stateWith([CAT, NOSE], picked)), [0]);
  const previewed = { tokens: [2], of_prompt: false };
  assert.deepEqual(shownBoxes(stateWith([CAT, NOSE], picked, { previewed })), [1]);
});

test('a box picks its tokens, and its pick has its name', () => {
  const pick = boxPick(CAT);
  assert.deepEqual(pick, { tokens: [1, 3], of_prompt: false });
  const state = stateWith([NOSE, CAT], pick);
  assert.equal(boxNameOf(state.data, pick), 'box 2: cat');
  assert.equal(boxNameOf(state.data, { tokens: [1], of_prompt: false }), '');
  assert.equal(nameOfBox(NOSE, 0), 'point 1');
  assert.equal(quoted(state, pick), '“box 2: cat”');
  assert.equal(nameOf(state, pick), '“box 2: cat” (tokens 1, 3)');
});

test('a box begins in one word', () => {
  const data = dataWith([CAT, NOSE]);
  assert.deepEqual(
    data.answer.words.map((segment) => beginsIn(data, segment)),
    [0, 0, 1, 0, 2],
  );
});

test('cells are covered by the part that is inside', () => {
  const box = { at: [0.1, 0.5, 0.3, 1], is_point: false }; // of 3 rows and 5 columns
  const expected = [0, 0, 0, 0, 0, 0.25, 0.25, 0, 0, 0, 0.5, 0.5, 0, 0, 0];
  coverageOf(box, GRID).forEach((part, i) => {
    near(part, expected[i]);
  });
  const corner = { at: [1, 1, 1, 1], is_point: true };
  assert.deepEqual(coverageOf(corner, GRID), [...indices(14).fill(0), 1]);
});

test('a map equal to its box has all of it, a flat one the share of chance', () => {
  const map = new Float32Array(15);
  map[1] = 0.3;
  map[2] = 0.3;
  const all = figuresOf(CAT, map, GRID, HALF);
  near(all.share, 1);
  near(all.iou, 1);
  near(all.chance, 2 / 15);
  const flat = figuresOf({ ...CAT }, new Float32Array(15).fill(0.2), GRID, HALF);
  near(flat.share, 2 / 15);
  near(flat.iou, 2 / 15);
  const none = figuresOf({ ...CAT }, new Float32Array(15).fill(-1), GRID, HALF);
  assert.deepEqual([none.share, none.iou], [0, 0]);
});

test('what is hot counts from half of the highest value on, and what speaks against a word nowhere', () => {
  const map = Float32Array.from([0.1, 0.4, 0, 0, 0, 0, 0, 0.2, 0, 0, 0, 0, 0, 0, -3]);
  const { share, iou } = figuresOf({ ...CAT }, map, GRID, HALF);
  near(share, map[1] / (map[0] + map[1] + map[7]));
  near(iou, 1 / 3); // one of the two cells of the box, and another one
});

test('of a point it is the cell that holds it', () => {
  const map = new Float32Array(15).fill(1);
  map[7] = 6;
  const figures = figuresOf(NOSE, map, GRID, HALF);
  near(figures.share, 0.3);
  near(figures.chance, 1 / 15);
  assert.equal(figures.iou, null);
  assert.equal(figuresText(figures), '30\u00a0% inside (chance 6.7\u00a0%)');
  assert.equal(
    figuresText({ share: 0.5, chance: 0.25, iou: 0.6 }),
    '50\u00a0% inside (chance 25\u00a0%) · IoU 0.60',
  );
});

test('the threshold is named', () => {
  assert.match(figuresNote(dataWith([CAT, NOSE]), '“cat”'), /map of “cat”.*IoU: overlap with the hot cells$/);
  assert.match(figuresNote(dataWith([NOSE]), '“cat”'), /one cell’s part of the picture$/);
});

test('a box is drawn in its part of each pane, and its line is found there', () => {
  const panes = [
    { x: 0, y: 0, width: 100, height: 60 },
    { x: 110, y: 0, width: 100, height: 60 },
  ];
  assert.deepEqual(boxIn(panes[1], { at: [0.1, 0.5, 0.5, 1] }), {
    left: 120,
    top: 30,
    width: 40,
    height: 30,
  });
  const large = { at: [0, 0, 1, 1], is_point: false };
  const small = { at: [0, 0, 0.5, 1], is_point: false };
  const layout = { panes, density: 1 };
  const found = (x, y) => boxAt([large, small], layout, { x, y });
  assert.equal(found(160, 30), small);
  assert.equal(found(2, 30), small); // on both lines: the smaller one
  assert.equal(found(98, 30), large);
  assert.equal(found(30, 30), null);
  assert.equal(boxAt([NOSE], layout, { x: 54, y: 33 }), NOSE);
});

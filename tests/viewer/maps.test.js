import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  highestCell,
  hottestShare,
  mapOf,
  massIn,
  shownMap,
  unfinishedMap,
} from '../../viewer/js/state/maps.js';
import { rangeOf } from '../../viewer/js/state/numbers.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { headsOf, mapsOf, packed, payload } from './made.js';

const near = (found, expected, tolerance = 1e-5) => {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i] - value) <= tolerance, `${found[i]} ≠ ${value}`);
};
const stateOf = (changes = {}, raw = {}) => ({ ...withPayload(newState({}), payload(raw)), ...changes });
const pick = (tokens, of_prompt = false) => ({ tokens, of_prompt });

test('the map of several tokens is their mean, cell by cell', () => {
  const { data } = stateOf();
  const mean = mapsOf('answer')[0].map((_, cell) =>
    [1, 2, 3].reduce((sum, token) => sum + mapsOf('answer')[token][cell] / 3, 0),
  );
  near(mapOf(data, pick([1, 2, 3])), mean);
  near(mapOf(data, pick([1])), mapsOf('answer')[1]);
  near(
    mapOf(data, pick([0, 1], true)),
    mapsOf('prompt')[0].map((value, cell) => (value + mapsOf('prompt')[1][cell]) / 2),
  );
  near(
    mapOf(data, pick([0, 1])),
    mapsOf('answer')[0].map((value, cell) => (value + mapsOf('answer')[1][cell]) / 2),
  );
});

test('a mean is computed once, and anew for other maps of the same tokens', () => {
  const first = stateOf().data;
  assert.equal(mapOf(first, pick([0, 1])), mapOf(first, pick([0, 1])));
  const other = stateOf().data;
  assert.notEqual(mapOf(first, pick([0, 1])), mapOf(other, pick([0, 1])));
});

test('the own range is the shown map’s, the shared one that of all tokens of answer and prompt', () => {
  const state = stateOf({ picked: pick([1]) });
  near(shownMap(state).range, [0, 0.2]);
  assert.deepEqual(shownMap({ ...state, look: { ...state.look, scale: 'shared' } }).range, [-0.1, 0.5]);
});

test('what is under the pointer is shown before what is picked', () => {
  const state = stateOf({ picked: pick([1]), previewed: pick([0], true) });
  near(shownMap(state).values, mapsOf('prompt')[0]);
});

test('nothing picked shows nothing', () => {
  const { values, range, scale } = shownMap(stateOf({ picked: null }));
  assert.deepEqual([values, range, scale], [null, [0, 0], [0, 0]]);
});

test('one head alone has its own values, and shares the range of all layers and heads', () => {
  const state = stateOf({ picked: pick([1]), alone: { row: 2, col: 4 } }, { heads: [headsOf([1])] });
  const { values, range } = shownMap(state);
  assert.deepEqual(range, [0, 0.19]); // number 2 · 7 + 4
  near([values[2], values[3], values[4]], [0, 0.19, 0]);
  assert.deepEqual(shownMap({ ...state, look: { ...state.look, scale: 'shared' } }).range, [0, 0.21]);
  near(shownMap({ ...state, previewed: pick([0]) }).values, mapsOf('answer')[0]); // whose heads are not there
});

test('the highest cell is found by row and column, the first of several', () => {
  const { data } = stateOf();
  assert.deepEqual(highestCell(data, data.answer.maps[0]), { row: 2, col: 4 });
  assert.deepEqual(highestCell(data, data.answer.maps[1]), { row: 1, col: 1 });
  assert.deepEqual(highestCell(data, data.answer.maps[2]), { row: 0, col: 0 });
  assert.deepEqual(rangeOf([3, -1, 2]), [-1, 3]);
});

test('the mass in a region is its share of all that is above 0', () => {
  const { data } = stateOf();
  const values = Float32Array.from(mapsOf('answer')[3]); // −0.1, 0.1 … 0.3
  const whole = { row: 0, col: 0, rows: 3, cols: 5 };
  near([massIn(data, values, whole)], [1]);
  near([massIn(data, values, { row: 0, col: 0, rows: 1, cols: 5 })], [0.25]);
  near([massIn(data, values, { row: 0, col: 1, rows: 2, cols: 1 })], [1]);
  near([massIn(data, values, { row: 1, col: 1 })], [0.75]);
  assert.equal(massIn(data, values, { row: 0, col: 0 }), 0);
  assert.equal(massIn(data, new Float32Array(15).fill(-1), whole), 0);
});

test('the scale of the glow is the map’s own, or one for all words', () => {
  const state = stateOf({ picked: pick([0]) }); // 0.09 of 0.24
  near(shownMap(state).scale, [1 / 15, 0.09 / 0.24], 1e-4);
  const shared = { ...state, look: { ...state.look, scale: 'shared' } };
  near(shownMap(shared).scale, [1 / 15, 1], 1e-6); // "red" has all of its map in one cell
  near(shownMap(stateOf({ picked: pick([2]) })).scale, [1 / 15, 4 / 15], 1e-6); // a flat map stays flat
});

test('hottest shares are of what is above 0, and 0 where there is no map yet', () => {
  const { data } = stateOf();
  near([hottestShare(data, [1]), hottestShare(data, [3])], [1, 0.75], 1e-4);
  const answer = { ...payload().answer, maps: packed([mapsOf('answer')[1]]), have: [1] };
  const some = stateOf({}, { answer }).data;
  near([hottestShare(some, [1]), hottestShare(some, [0])], [1, 0]);
  assert.equal(mapOf(some, pick([0, 1])), null);
  near(mapOf(some, pick([1])), mapsOf('answer')[1]);
});

test('of a word that is being written there is the map that came with it', () => {
  const map = packed([[0, 1, 0, 0, 0, 3]]);
  const { values, grid, range, scale } = unfinishedMap({ progress: { map, grid: [2, 3] } });
  near(values, [0, 1, 0, 0, 0, 3]);
  assert.deepEqual(
    [grid, range],
    [
      [2, 3],
      [0, 3],
    ],
  );
  near(scale, [1 / 6, 0.75], 1e-6);
  assert.equal(unfinishedMap({ progress: { text: 'A' } }).values, null);
  assert.equal(unfinishedMap({}).values, null);
});

test('the scale of one head alone is its own, or one for all layers and heads', () => {
  const state = stateOf({ picked: pick([1]), alone: { row: 2, col: 4 } }, { heads: [headsOf([1])] });
  near(shownMap(state).scale, [1 / 15, 1], 1e-6); // each has all of its map in one cell
  const flat = { ...headsOf([1]), maps: packed(Array(21).fill(Array(15).fill(0.02)), 8) };
  const even = stateOf({ picked: pick([1]), alone: { row: 2, col: 4 } }, { heads: [flat] });
  near(shownMap(even).scale, [1 / 15, 4 / 15], 1e-6);
  near(shownMap({ ...even, look: { ...even.look, scale: 'shared' } }).scale, [1 / 15, 4 / 15], 1e-6);
});

test('a scale of all words is of those whose maps are there', () => {
  const maps = packed([mapsOf('answer')[0], mapsOf('answer')[2]]);
  const state = stateOf({ picked: pick([2]) }, { answer: { ...payload().answer, maps, have: [0, 2] } });
  near(shownMap({ ...state, look: { ...state.look, scale: 'shared' } }).scale, [1 / 15, 0.09 / 0.24], 1e-4);
});

test('of a pick whose map is not there yet nothing is shown', () => {
  const maps = packed([mapsOf('answer')[0]]);
  const state = stateOf({ picked: pick([2, 3]) }, { answer: { ...payload().answer, maps, have: [0] } });
  assert.equal(shownMap(state).values, null);
});

test('the hottest share of a word of several tokens is that of their mean', () => {
  // (0.02 · 15 and −0.1, 0.1, 0.3) / 2: 0.16 of 0.34; what is below 0 has no share
  near([hottestShare(stateOf().data, [2, 3])], [0.16 / 0.34], 1e-4);
  near([hottestShare(stateOf().data, [2])], [1 / 15], 1e-6);
});

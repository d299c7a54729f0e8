import assert from 'node:assert/strict';
import { test } from 'node:test';
import { highestCell, mapOf, massIn, rangeOf, shownMap } from '../../viewer/js/state/maps.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { headsOf, mapsOf, payload } from './made.js';

const near = (found, expected, tolerance = 1e-5) => {
  assert.equal(found.length, expected.length);
  for (const [i, value] of expected.entries())
    assert.ok(Math.abs(found[i] - value) <= tolerance, `${found[i]} ≠ ${value}`);
};
const stateOf = (changes = {}, raw = {}) => ({ ...withPayload(newState(false), payload(raw)), ...changes });
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
  assert.deepEqual(shownMap(stateOf({ picked: null })), { values: null, range: [0, 0] });
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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withMaps } from '../../viewer/js/state/packing.js';
import { keyOf } from '../../viewer/js/state/picks.js';
import { newState, publicState, withChanges, withPayload } from '../../viewer/js/state/state.js';
import { headsOf, packed, payload } from './made.js';

const fresh = () => withPayload(newState(true), payload());
const busy = () => ({
  ...fresh(),
  picked: { tokens: [2], of_prompt: false },
  anchor: { tokens: [2], of_prompt: false },
  region: { row: 0, col: 0, rows: 2, cols: 2 },
  cursor: { row: 1, col: 1 },
  alone: { row: 1, col: 1 },
  heads: new Map([['2', withMaps(headsOf([2]))]]),
  headsWanted: '2',
  look: { ...payload().look, opacity: 0.1 },
});

test('a viewer starts with the pick and look of its payload', () => {
  const state = withPayload(newState(false), payload({ pick: '1', heads: [headsOf([1])] }));
  assert.equal(keyOf(state.data, state.picked), '1');
  assert.deepEqual(state.look, payload().look);
  assert.deepEqual([...state.heads.keys()], ['1']);
  assert.equal(state.heads.get('1').maps.length, 21);
});

test('other maps of the same answer keep what a person did, but for the head shown alone', () => {
  const before = busy();
  const after = withPayload(
    before,
    payload({ pick: '0', answer: { ...payload().answer, maps: packed(Array(4).fill([1, 2])) } }),
  );
  for (const name of ['picked', 'anchor', 'region', 'cursor', 'look'])
    assert.deepEqual(after[name], before[name]);
  assert.deepEqual([...after.heads.keys()], ['2']);
  assert.equal(after.alone, null);
  assert.equal(after.headsWanted, '');
  assert.equal(after.data.answer.maps[2][1], 2);
});

for (const [what, raw] of [
  ['picture', { picture: { url: 'data:,other', width: 1, height: 1 } }],
  ['answer', { answer: { ...payload().answer, text: 'Another' } }],
  ['question', { prompt: { ...payload().prompt, text: 'Another' } }],
  ['model', { settings: { ...payload().settings, model: 'another' } }],
  ['split into tokens', { answer: { ...payload().answer, tokens: ['A ', 'red', ' c', 'at'] } }],
]) {
  test(`another ${what} begins anew and keeps the look`, () => {
    const after = withPayload(busy(), payload({ ...raw, pick: '0' }));
    assert.equal(keyOf(after.data, after.picked), '0');
    for (const name of ['anchor', 'region', 'cursor', 'alone']) assert.equal(after[name], null);
    assert.equal(after.heads.size, 0);
    assert.equal(after.look.opacity, 0.1);
  });
}

test('heads, leaned and look come one by one', () => {
  const state = fresh();
  const leaned = { texts: ['x'], picks: [''], weights: packed([[0.5], [0.25], [0], [1]]) };
  const after = withChanges(withChanges(withChanges(state, { heads: headsOf([1]) }), { leaned }), {
    look: { opacity: 0.2 },
  });
  assert.deepEqual([...after.heads.keys()], ['1']);
  assert.equal(after.data.leaned.weights[1][0], 0.25);
  assert.deepEqual(after.look, { ...state.look, opacity: 0.2 });
  assert.equal(after.data.answer, state.data.answer);
  assert.equal(withChanges(after, { leaned: null }).data.leaned, null);
  assert.equal(state.heads.size, 0); // what was there is not changed
});

test('what the page around is told is plain data, and its own', () => {
  const state = busy();
  const told = publicState(state);
  assert.deepEqual(told, JSON.parse(JSON.stringify(told)));
  assert.deepEqual(told.pick, { tokens: [2], of_prompt: false, key: '2' });
  assert.equal(told.shown, '2');
  assert.equal(told.values.length, 15);
  told.region.row = 9;
  told.look.opacity = 9;
  assert.equal(state.region.row, 0);
  assert.equal(state.look.opacity, 0.1);
});

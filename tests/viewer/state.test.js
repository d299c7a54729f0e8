import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withMaps } from '../../viewer/js/state/packing.js';
import { keyOf } from '../../viewer/js/state/picks.js';
import {
  controlsOf,
  following,
  newState,
  onPlaneOf,
  publicState,
  withChanges,
  withPayload,
} from '../../viewer/js/state/state.js';
import { checkOf, headsOf, packed, payload, severalPayload } from './made.js';

const fresh = () => withPayload(newState({}), payload());
const busy = () => ({
  ...fresh(),
  isOwnPick: true,
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
  const state = withPayload(newState({}), payload({ pick: '1', heads: [headsOf([1])] }));
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
  assert.equal(after.headsWanted, '2'); // those are there
  assert.equal(after.data.answer.maps[2][1], 2);
});

for (const [what, raw] of [
  ['picture', { pictures: [{ url: 'data:,other', width: 1, height: 1 }] }],
  ['answer', { answer: { ...payload().answer, text: 'Another' } }],
  ['question', { prompt: { ...payload().prompt, text: 'Another' } }],
  ['turn of a conversation', { turns: [{ prompt: 'What is it?', text: 'A red cat' }] }],
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

test('of the same answer the pick stays, also one that nobody picked', () => {
  const before = { ...fresh(), picked: { tokens: [3], of_prompt: false } };
  assert.equal(keyOf(before.data, withPayload(before, payload({ pick: '0' })).picked), '3');
});

test('where a payload names no pick it is the most telling word, anew when the need is known', () => {
  const state = withPayload(newState({}), payload({ pick: null }));
  assert.equal(keyOf(state.data, state.picked), '1'); // red: all of its map is one patch
  const without = [0.5, 0.001, 0.00001, 0.00001].map(Math.log); // cat needed the picture, the others did not
  assert.equal(keyOf(state.data, withChanges(state, { without }).picked), '2-3');
  const own = { ...state, isOwnPick: true };
  assert.equal(keyOf(own.data, withChanges(own, { without }).picked), '1');
  assert.equal(withChanges(state, { without }).data.answer.without, without);
});

test('a test takes the place of that of the same map and tokens, and of no other', () => {
  const state = withPayload(newState({}), payload({ checks: [checkOf([1]), checkOf([2, 3])] }));
  const next = withChanges(state, { check: checkOf([1], { verdict: 'Partly' }) });
  assert.deepEqual(
    next.checks.map(({ tokens, verdict }) => [`${tokens}`, verdict]),
    [
      ['2,3', 'Holds up'],
      ['1', 'Partly'],
    ],
  );
  const other = withChanges(next, { check: checkOf([1], { map_key: 'other' }) });
  assert.equal(other.checks.length, 3);
});

test('maps of one word by several methods are kept by pick and name', () => {
  const one = (name, value) => ({ key: '1', name, maps: packed([Array(15).fill(value)]) });
  const state = [one('tam', 1), one('rollout', 2), one('tam', 3)].reduce(
    (before, compared) => withChanges(before, { compared }),
    fresh(),
  );
  const known = state.compared.get('1').map(({ name, maps }) => [name, maps[0][7]]);
  assert.deepEqual(known, [
    ['rollout', 2],
    ['tam', 3],
  ]);
});

test('controls are those of the shown maps, in words that the page can ask with', () => {
  assert.deepEqual(controlsOf(fresh()), {
    method: 'attention',
    layers: [3, 8],
    heads: [0, 1, 2, 3, 4, 5],
    aggregation: 'max',
    no_sinks: false,
  });
});

test('without an answer there is a state all the same', () => {
  const told = publicState(newState({}));
  assert.deepEqual([told.phase, told.pick, told.values, told.wanted], ['empty', null, null, null]);
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

test('where the payload names a pick, knowing the need picks no other', () => {
  const state = withPayload(newState({}), payload({ pick: '0' }));
  const without = [0.5, 0.001, 0.00001, 0.00001].map(Math.log);
  assert.equal(keyOf(state.data, withChanges(state, { without }).picked), '0');
});

test('of an empty answer nothing is picked, also when its need is known', () => {
  const none = { text: '', tokens: [], words: [], pieces: [], shares: [], layer_shares: [], logprobs: [] };
  const maps = { data: '', bits: 16, low: [], high: [] };
  const state = withPayload(
    newState({}),
    payload({ answer: { ...payload().answer, ...none, maps }, pick: null }),
  );
  assert.equal(state.picked, null);
  assert.equal(withChanges(state, { without: [] }).picked, null);
  assert.deepEqual([publicState(state).pick, publicState(state).values], [null, null]);
});

test('a payload of the same answer brings its tests to those that are there; another one begins without', () => {
  const state = withChanges(fresh(), { check: checkOf([1]) });
  const same = withPayload(state, payload({ checks: [checkOf([1], { text: 'new' }), checkOf([2, 3])] }));
  assert.deepEqual(
    same.checks.map(({ text, tokens }) => [text, tokens]),
    [
      ['new', [1]],
      ['red', [2, 3]],
    ],
  );
  const other = withPayload(same, payload({ answer: { ...payload().answer, text: 'Another' } }));
  assert.deepEqual([other.checks, other.compared.size], [[], 0]);
});

test('tests belong to a map and to tokens: either other makes another test', () => {
  const all = [
    checkOf([2, 3]),
    checkOf([2]),
    checkOf([23]),
    checkOf([2, 3], { map_key: 'attention-2' }),
  ].reduce((state, check) => withChanges(state, { check }), fresh());
  assert.equal(all.checks.length, 4);
  assert.equal(withChanges(all, { check: checkOf([2, 3], { map_key: 'attention-2' }) }).checks.length, 4);
});

test('layers × heads of another pick stand beside those that are there', () => {
  const state = withChanges(fresh(), { heads: [headsOf([1]), headsOf([2, 3])] });
  const next = withChanges(state, { heads: headsOf([0, 1, 2, 3]) });
  assert.deepEqual([...next.heads.keys()], ['1', '2-3', 'all']);
  assert.equal(next.heads.get('2-3'), state.heads.get('2-3'));
});

test('maps by other methods are one pick’s own', () => {
  const one = (key, name, value) => ({ key, name, maps: packed([Array(15).fill(value)]) });
  const state = withChanges(withChanges(fresh(), { compared: one('1', 'tam', 1) }), {
    compared: one('2-3', 'tam', 2),
  });
  assert.deepEqual(
    [...state.compared].map(([key, [{ maps }]]) => [key, maps[0][0]]),
    [
      ['1', 1],
      ['2-3', 2],
    ],
  );
});

test('phase, progress, work, notice and sources are taken as they come', () => {
  const changes = {
    phase: 'writing',
    progress: { text: 'A', count: 1 },
    work: { part: 'need' },
    notice: { kind: 'error', text: 'No.' },
    sources: [{ url: 'data:,x', width: 2, height: 3 }],
  };
  const after = withChanges(newState({}), changes);
  for (const [name, value] of Object.entries(changes)) assert.equal(after[name], value);
  const answered = withPayload(after, payload());
  assert.deepEqual([answered.phase, answered.progress], ['answered', null]);
});

test('a conversation is the turns before, and the answer; the page knows of those after it', () => {
  const before = { prompt: 'What is it?', text: 'A cat.' };
  const state = withPayload(newState({}), payload({ turns: [before] }));
  const last = { prompt: payload().prompt.text, text: 'A red cat' };
  assert.deepEqual([state.turns, state.turn], [[before, last], 1]);
  const told = withChanges(state, { turns: [before, last, before], turn: 1 });
  assert.equal(withPayload(told, payload({ turns: [before] })).turns.length, 3); // other maps of the same answer
  assert.deepEqual(withPayload(told, payload()).turns, [last]);
});

test('controls are wanted until it is said that they are done with, whatever maps come meanwhile', () => {
  const wish = { ...controlsOf(fresh()), layers: [1], heads: [0] };
  const waiting = { ...fresh(), wanted: wish };
  assert.deepEqual(withPayload(waiting, payload()).wanted, wish); // the maps of an earlier wish
  const other = payload({ answer: { ...payload().answer, text: 'another' } });
  assert.equal(withPayload(waiting, other).wanted, null); // another answer
});

test('controls that are done with are wanted no more, unless others are wanted by now', () => {
  const wish = { ...controlsOf(fresh()), method: 'tam' };
  const waiting = { ...fresh(), wanted: wish };
  assert.equal(withChanges(waiting, { ended: structuredClone(wish) }).wanted, null);
  assert.deepEqual(withChanges(waiting, { ended: { ...wish, method: 'occlusion' } }).wanted, wish);
  assert.deepEqual(withChanges(waiting, { work: null }).wanted, wish);
  assert.equal(withChanges(fresh(), { ended: wish }).wanted, null);
});

test('of several pictures the one is shown that has most of the picked map, until a person chose one', () => {
  const state = withPayload(newState({}), severalPayload({ pick: '0' }));
  assert.equal(state.data.plane, 0); // 0.15 of the map's 0.24
  assert.deepEqual(state.data.grid, [1, 5]);
  const other = following({ ...state, picked: { tokens: [1], of_prompt: false } });
  assert.deepEqual([other.data.plane, other.data.picture.url], [1, 'data:,two']);
  const own = following({ ...state, isOwnPlane: true, picked: { tokens: [1], of_prompt: false } });
  assert.equal(own.data.plane, 0);
});

test('another picture shown lets go of what was a part of the one before', () => {
  const cell = { row: 0, col: 1 };
  const state = { ...withPayload(newState({}), severalPayload({ pick: '0' })), region: cell, cursor: cell };
  assert.deepEqual(onPlaneOf(state, 0), {});
  const { data, ...rest } = onPlaneOf(state, 1);
  assert.equal(data.plane, 1);
  assert.deepEqual(rest, { region: null, regionAnchor: null, cursor: null });
});

test('more maps of the same answer leave the picture that is shown, another answer begins anew', () => {
  const state = withPayload(newState({}), severalPayload({ pick: '0' }));
  const own = { ...state, ...onPlaneOf(state, 1), isOwnPlane: true };
  assert.equal(withPayload(own, severalPayload()).data.plane, 1);
  const prompt = { ...severalPayload().prompt, text: 'Another' };
  const after = withPayload(own, severalPayload({ pick: '0', prompt }));
  assert.deepEqual([after.data.plane, after.isOwnPlane], [0, false]);
});

test('what is told of several has the shares of each, and the values of the one that is shown', () => {
  const told = publicState(withPayload(newState({}), severalPayload({ pick: '0' })));
  assert.equal(told.plane, 0);
  assert.equal(told.values.length, 5);
  assert.ok(Math.abs(told.visualShares[0] - 0.15 / 0.24) < 1e-4);
  assert.ok(Math.abs(told.visualShares[1] - 0.09 / 0.24) < 1e-4);
});

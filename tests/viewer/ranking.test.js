import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rankedLeaned } from '../../viewer/js/state/ranking.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { packed, payload } from './made.js';

const stateOf = (changes = {}, raw = {}) => ({ ...withPayload(newState({}), payload(raw)), ...changes });
const rounded = (items) => items.map(({ text, share }) => [text, Number(share.toFixed(3))]);

const leaned = {
  texts: ['<|system|>', 'What', '\n', 'A'],
  picks: ['', 'p0', 'p1', '0'],
  weights: packed([
    [0.1, 0.2, 0.3, 0],
    [0.1, 0.4, 0, 0],
    [0, 0, 0, 0],
    [0, 0, 0, 0.5],
  ]),
};

test('tokens that were leaned on are ranked by the mean over what is picked', () => {
  const { title, items } = rankedLeaned(
    stateOf({ picked: { tokens: [0, 1], of_prompt: false } }, { leaned }),
  );
  assert.match(title, /^What “A red” attended to/);
  assert.deepEqual(rounded(items), [
    ['What', 0.3],
    ['␣', 0.15],
    ['<|system|>', 0.1],
  ]);
  assert.deepEqual(items[0].pick, { tokens: [0], of_prompt: true });
  assert.equal(items[2].pick, null);
});

test('words of a question without maps are ranked and cannot be picked', () => {
  const raw = { leaned, prompt: { ...payload().prompt, maps: null } };
  const { items } = rankedLeaned(stateOf({ picked: { tokens: [0], of_prompt: false } }, raw));
  assert.deepEqual(
    items.map(({ pick }) => pick),
    [null, null, null],
  );
});

test('a word of the question leaned on nothing that is told', () => {
  assert.deepEqual(rankedLeaned(stateOf({ picked: { tokens: [0], of_prompt: true } }, { leaned })).items, []);
});

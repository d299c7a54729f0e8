import assert from 'node:assert/strict';
import { test } from 'node:test';
import { indices } from '../../viewer/js/state/numbers.js';
import { rankedLeaned, rankedWords } from '../../viewer/js/state/ranking.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { packed, payload } from './made.js';

const stateOf = (changes = {}, raw = {}) => ({ ...withPayload(newState(false), payload(raw)), ...changes });
const rounded = (items) => items.map(({ text, share }) => [text, Number(share.toFixed(3))]);

test('words are ranked by the share of their map in the region', () => {
  const { title, items } = rankedWords(stateOf({ region: { row: 1, col: 0, rows: 2, cols: 2 } }));
  assert.equal(title, 'Words that look at rows 1–2, columns 0–1');
  // red: all of it; cat: the mean of a flat map and of one with 0.3 there, 0.19 of 0.31; A: nothing
  const cat = (0.16 + 3 * 0.01) / (0.16 + 12 * 0.01 + 0.06); // a cell below 0 has no mass
  assert.deepEqual(rounded(items), [
    ['red', 1],
    ['cat', Number(cat.toFixed(3))],
    ['A', 0],
  ]);
  assert.deepEqual(items[1].pick, { tokens: [2, 3], of_prompt: false });
});

test('without a region it is the cell that is pointed at, and without that nothing', () => {
  const cursor = { row: 2, col: 4 };
  assert.equal(rankedWords(stateOf({ cursor })).items[0].text, 'A');
  assert.equal(
    rankedWords(stateOf({ cursor, region: { row: 1, col: 1, rows: 1, cols: 1 } })).items[0].text,
    'red',
  );
  assert.deepEqual(rankedWords(stateOf()).items, []);
});

test('no more than eight words are ranked', () => {
  const count = 11;
  const rows = indices(count).map((token) => [token, ...Array(14).fill(1)]);
  const words = rows.map((_, token) => ({ text: `w${token}`, tokens: [token] }));
  const answer = {
    ...payload().answer,
    tokens: words.map(({ text }) => text),
    words,
    pieces: words,
    maps: packed(rows),
  };
  const { items } = rankedWords(stateOf({ cursor: { row: 0, col: 0 } }, { answer }));
  assert.deepEqual(
    items.map(({ text }) => text),
    ['w10', 'w9', 'w8', 'w7', 'w6', 'w5', 'w4', 'w3'],
  );
});

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
  assert.match(title, /^What “A red” \(tokens 0–1\) attended to/);
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

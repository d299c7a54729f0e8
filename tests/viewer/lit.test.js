import assert from 'node:assert/strict';
import { test } from 'node:test';
import { litWords } from '../../viewer/js/state/lit.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { packed, payload } from './made.js';

const dataOf = (raw = {}) => withPayload(newState({}), payload(raw)).data;
const rounded = (numbers) => numbers.map((number) => Number(number.toFixed(3)));

test('words are lit by how much more of their map than an even share lies in a region', () => {
  const { shades, top } = litWords(dataOf(), 'words', { row: 1, col: 0, rows: 2, cols: 2 });
  const even = 4 / 15;
  const cat = (0.16 + 3 * 0.01) / (0.16 + 12 * 0.01 + 0.06); // a cell below 0 has no mass
  assert.deepEqual(rounded(shades), rounded([0, 0, 1, 0, (cat - even) / (1 - even)]));
  assert.deepEqual(
    top.map(({ text, share, tokens }) => [text, Number(share.toFixed(3)), tokens]),
    [
      ['red', 1, [1]],
      ['cat', Number(cat.toFixed(3)), [2, 3]],
    ],
  );
});

test('a faint shade is none, and where no word looks none is lit', () => {
  const { shades } = litWords(dataOf(), 'words', { row: 0, col: 4 }); // A: 0.05 of 0.24, cat: 0.01 of 0.34
  assert.deepEqual(rounded(shades), [1, 0, 0, 0, 0]);
  const nowhere = litWords(dataOf(), 'words', { row: 1, col: 4 });
  assert.deepEqual([nowhere.shades, nowhere.top], [[0, 0, 0, 0, 0], []]);
});

test('tokens are lit each for itself, and words whose maps are not there yet are not', () => {
  const { shades } = litWords(dataOf(), 'tokens', { row: 1, col: 1 });
  assert.deepEqual(rounded(shades), [0, 1, 0, rounded([(0.75 - 1 / 15) / (1 - 1 / 15)])[0]]);
  const answer = { ...payload().answer, maps: { data: '', bits: 16, low: [], high: [] }, have: [] };
  assert.deepEqual(litWords(dataOf({ answer }), 'words', { row: 1, col: 1 }).top, []);
});

test('a shade of 0.15 is the faintest', () => {
  const even = 1 / 15;
  // the brightest has all of its map there; others so much that they have these shades
  const shades = [1, 0.16, 0.14, 0].map((shade) => even + shade * (1 - even));
  const maps = packed(shades.map((share) => [share, ...Array(14).fill((1 - share) / 14)]));
  const found = litWords(dataOf({ answer: { ...payload().answer, maps } }), 'tokens', { row: 0, col: 0 });
  assert.deepEqual(
    found.shades.map((shade) => shade.toFixed(2)),
    ['1.00', '0.16', '0.00', '0.00'],
  );
});

test('of words that look there alike the first ones are told, three at most', () => {
  const maps = packed(Array(4).fill([1, ...Array(14).fill(0)]));
  const { shades, top } = litWords(dataOf({ answer: { ...payload().answer, maps } }), 'tokens', {
    row: 0,
    col: 0,
  });
  assert.deepEqual(shades, [1, 1, 1, 1]);
  assert.deepEqual(
    top.map(({ text }) => text),
    ['A', 'red', 'c'],
  );
});

test('all of the picture is an even share of every map: no word looks there more than another', () => {
  const { shades, top } = litWords(dataOf(), 'words', { row: 0, col: 0, rows: 3, cols: 5 });
  assert.deepEqual([shades, top], [[0, 0, 0, 0, 0], []]);
});

test('rows are not columns: a cell is found in a grid that is not square', () => {
  const maps = packed(Array(4).fill([0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0])); // row 2, column 3
  const data = dataOf({ answer: { ...payload().answer, maps } });
  assert.equal(litWords(data, 'tokens', { row: 1, col: 2 }).top[0].share, 1);
  assert.deepEqual(litWords(data, 'tokens', { row: 2, col: 1 }).top, []);
});

test('punctuation is lit like words, by its sign where it has no text of its own', () => {
  const words = [
    { text: 'A', tokens: [0] },
    { text: '', tokens: [1], sign: '<|im_end|>' },
    { text: '.', tokens: [2, 3] },
  ];
  const { top } = litWords(dataOf({ answer: { ...payload().answer, words } }), 'words', { row: 1, col: 1 });
  assert.deepEqual(
    top.map(({ text, tokens }) => [text, tokens]),
    [
      ['<|im_end|>', [1]],
      ['.', [2, 3]],
    ],
  );
});

test('an empty answer has no words that look anywhere', () => {
  const empty = {
    text: '',
    tokens: [],
    words: [],
    pieces: [],
    maps: { data: '', bits: 16, low: [], high: [] },
  };
  const data = dataOf({ answer: { ...payload().answer, ...empty }, pick: null });
  assert.deepEqual(litWords(data, 'words', { row: 0, col: 0 }), { shades: [], top: [] });
  const bare = dataOf({ answer: { ...payload().answer, maps: null }, pick: null });
  assert.deepEqual(litWords(bare, 'words', { row: 0, col: 0 }).top, []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSpoken, needs, probabilities } from '../../viewer/js/state/need.js';

const words = [
  { text: 'A', tokens: [0] },
  { text: ' ' },
  { text: 'cat', tokens: [1, 2] },
  { text: ',', tokens: [3] },
  { text: 'so', tokens: [4] },
];
const dataOf = (seen, unseen) => ({
  answer: {
    words,
    pieces: words,
    logprobs: seen.map(Math.log),
    without: unseen?.map(Math.log) ?? null,
  },
});
const rounded = (numbers) => numbers.map((number) => (number === null ? null : Number(number.toFixed(4))));

test('need is the power of ten by which a word is likelier with the picture, scaled over the answer', () => {
  // A: 0.5 / 0.5 = 1; cat: 0.8 · 1 / (0.8 · 0.01) = 100; so: 1 / 0.1 = 10
  const data = dataOf([0.5, 0.8, 1, 1, 1], [0.5, 0.8, 0.01, 0.0001, 0.1]);
  assert.deepEqual(rounded(needs(data, 'words')), [0, null, 1, null, 0.5]);
});

test('a word needs no more than all: a hundred times as likely is the most, twice as unlikely the least', () => {
  const data = dataOf([0.1, 1, 1, 1, 1], [0.9, 1, 1e-9, 1, 0.1]);
  assert.deepEqual(rounded(needs(data, 'words')), [0, null, 1, null, 0.5]);
});

test('where all words are close together none stands out, and nothing is said where it is not known', () => {
  const close = dataOf([1, 1, 1, 1, 1], [0.6, 1, 0.9, 0.0001, 0.7]); // at most 10 ** 0.22
  assert.deepEqual(needs(close, 'words'), [0, null, 0, null, 0]);
  assert.deepEqual(needs(dataOf([1, 1, 1, 1, 1], null), 'words'), [null, null, null, null, null]);
});

test('probabilities are the products over the tokens', () => {
  const data = dataOf([0.5, 0.8, 0.5, 1, 1], [0.5, 0.1, 0.2, 1, 1]);
  const { seen, unseen } = probabilities(data, { tokens: [1, 2] });
  assert.deepEqual(rounded([seen, unseen]), [0.4, 0.02]);
  assert.equal(probabilities(dataOf([1, 1, 1, 1, 1], null), { tokens: [0] }).unseen, null);
});

test('letters and digits of any script are spoken, punctuation and space are not', () => {
  for (const text of ['a', '7', '猫', 'é']) assert.ok(isSpoken({ text, tokens: [0] }));
  for (const text of [',', ' ', '…', '«']) assert.ok(!isSpoken({ text, tokens: [0] }));
  assert.ok(!isSpoken({ text: 'a' }));
});

test('a need of tokens is each token’s own', () => {
  const data = dataOf([1, 1, 1, 1, 1], [1, 0.1, 0.1, 1, 0.01]);
  const pieces = ['A', ' c', 'at', ',', 'so'].map((text, token) => ({ text, tokens: [token] }));
  data.answer.pieces = pieces; // powers of ten: 0, 1, 1, none, 2
  assert.deepEqual(rounded(needs(data, 'tokens')), [0, 0.5, 0.5, null, 1]);
  assert.deepEqual(rounded(needs(data, 'words')), [0, null, 1, null, 1]); // cat: 2 together
});

test('equal needs are equal, and the least is the answer’s own, not 0', () => {
  // powers of ten: 0.5, 1.5, 1.5: the lowest is not underlined, whatever it is
  const data = dataOf([1, 1, 1, 1, 1], [10 ** -0.5, 10 ** -1, 10 ** -0.5, 1, 10 ** -1.5]);
  assert.deepEqual(rounded(needs(data, 'words')), [0, null, 1, null, 1]);
});

test('where all needed the picture more than can be told, none stands out', () => {
  const data = dataOf([1, 1, 1, 1, 1], [1e-5, 1e-6, 1, 1, 1e-3]); // low is above the most that counts
  assert.deepEqual(needs(data, 'words'), [0, null, 0, null, 0]);
});

test('words stand out from a difference of 0.3 powers of ten on', () => {
  const apart = (power) => dataOf([1, 1, 1, 1, 1], [1, 1, 1, 1, 10 ** -power]);
  assert.deepEqual(needs(apart(0.29), 'words'), [0, null, 0, null, 0]);
  assert.deepEqual(rounded(needs(apart(0.31), 'words')), [0, null, 0, null, 1]);
});

test('an empty answer has no needs, and one of punctuation alone has none to tell', () => {
  const none = { answer: { words: [], pieces: [], logprobs: [], without: [] } };
  assert.deepEqual(needs(none, 'words'), []);
  const stop = [{ text: '…', tokens: [0] }, { text: ' ' }];
  const dots = { answer: { words: stop, pieces: stop, logprobs: [0], without: [-9] } };
  assert.deepEqual(needs(dots, 'words'), [null, null]);
});

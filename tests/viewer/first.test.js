import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstPick, tellingWords } from '../../viewer/js/state/first.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { packed, payload } from './made.js';

// Returns a payload of these words, each a token with so much of its map in one of 15 cells.
function dataOf(texts, hottest, changes = {}) {
  const words = texts.map((text, token) => ({ text, tokens: [token] }));
  const maps = packed(hottest.map((share) => [share, ...Array(14).fill((1 - share) / 14)]));
  const answer = { ...payload().answer, tokens: texts, words, pieces: words, maps, ...changes };
  return withPayload(newState({}), payload({ answer })).data;
}

test('the first pick is the word whose need times hottest share is highest', () => {
  const logprobs = [1, 1, 1].map(Math.log);
  const texts = ['red', 'fish', 'boat'];
  const data = dataOf(texts, [0.9, 0.5, 0.4], { logprobs, without: [1, 0.1, 0.01].map(Math.log) });
  assert.deepEqual(firstPick(data), { tokens: [2], of_prompt: false }); // 0 · 0.9, 0.5 · 0.5, 1 · 0.4
  assert.deepEqual(firstPick(dataOf(texts, [0.9, 0.5, 0.4])), { tokens: [0], of_prompt: false }); // need unknown
});

test('function words, words of place and short ones come only where there are no others', () => {
  const texts = ['The', 'top', 'an', 'kite', '.'];
  assert.deepEqual(firstPick(dataOf(texts, [0.9, 0.9, 0.9, 0.2, 0.9])).tokens, [3]);
  assert.deepEqual(firstPick(dataOf(['At', 'the', 'left', '.'], [0.7, 0.8, 0.5, 0.9])).tokens, [2]); // place before none
  assert.deepEqual(firstPick(dataOf(['猫', 'No'], [0.2, 0.4])).tokens, [1]);
});

test('the first of equal words, and none where nothing is spoken', () => {
  assert.deepEqual(firstPick(dataOf(['sun', 'sea'], [0.5, 0.5])).tokens, [0]);
  assert.equal(firstPick(dataOf(['.', '!'], [0.5, 0.5])), null);
  assert.equal(
    firstPick(withPayload(newState({}), payload({ answer: { ...payload().answer, maps: null } })).data),
    null,
  );
});

test('telling words are the highest, as they were said', () => {
  const data = dataOf(['sun', 'over', 'boat', 'bird', 'tree'], [0.3, 0.9, 0.5, 0.2, 0.4]);
  assert.deepEqual(
    tellingWords(data, 3).map(({ text }) => text),
    ['sun', 'boat', 'tree'],
  );
});

test('once it is known, telling words are those that needed the picture, also words of place', () => {
  const likely = {
    logprobs: [0.9, 0.9, 0.9, 0.8].map(Math.log),
    without: [0.01, 0.8, 0.1, 0.01].map(Math.log),
  };
  const data = dataOf(['boat', 'blue', 'left', 'the'], [0.3, 0.9, 0.4, 0.9], likely);
  assert.deepEqual(
    tellingWords(data, 8).map(({ text }) => text),
    ['boat', 'left'],
  );
});

test('an answer of a thousand words has its first pick', () => {
  const texts = Array.from({ length: 1000 }, (_, i) => `word${i}`);
  const shares = texts.map((_, i) => 0.2 + (i === 617 ? 0.3 : 0));
  assert.deepEqual(firstPick(dataOf(texts, shares)).tokens, [617]);
});

test('a word of several tokens counts with the mean of their maps, and is picked whole', () => {
  const words = [
    { text: 'a', tokens: [0] },
    { text: ' ' },
    { text: 'fish', tokens: [1] },
    { text: ' ' },
    { text: 'butterfly', tokens: [2, 3] },
    { text: '.', tokens: [4] },
  ];
  const texts = ['a', ' fish', ' butter', 'fly', '.'];
  const hottest = (shares) => firstPick(dataOf(texts, shares, { words })).tokens;
  assert.deepEqual(hottest([0.9, 0.5, 0.9, 0.2, 1]), [2, 3]); // 0.55
  assert.deepEqual(hottest([0.9, 0.5, 0.7, 0.2, 1]), [1]); // 0.45
});

test('words in other scripts and in other languages name something too', () => {
  assert.deepEqual(firstPick(dataOf(['Ein', 'Bär', 'mit', 'Hüten'], [0.9, 0.3, 0.9, 0.2])).tokens, [1]);
  assert.deepEqual(firstPick(dataOf(['THE', 'LEFT', 'DOG'], [0.9, 0.9, 0.1])).tokens, [2]); // as large as they like
  assert.deepEqual(firstPick(dataOf(['42', 'Hut'], [0.9, 0.1])).tokens, [1]); // digits are no letters
});

test('where nothing needed the picture the first word that names something is taken', () => {
  const same = { logprobs: [0, 0, 0], without: [0, 0, 0] };
  assert.deepEqual(firstPick(dataOf(['the', 'sun', 'sea'], [0.9, 0.2, 0.8], same)).tokens, [1]);
});

test('telling words are no more than there are, and of equal ones the first', () => {
  const told = (texts, shares, count) => tellingWords(dataOf(texts, shares), count).map(({ text }) => text);
  assert.deepEqual(told(['sun', 'and', 'sea', '.'], [0.3, 0.9, 0.5, 0.9], 8), ['sun', 'sea']);
  assert.deepEqual(told(['sun', 'sea', 'bird', 'tree'], [0.4, 0.5, 0.4, 0.4], 2), ['sun', 'sea']);
  assert.deepEqual(told(['.', 'a'], [0.4, 0.5], 2), []);
});

test('an empty answer has no first pick and no telling words', () => {
  const empty = { ...payload().answer, text: '', tokens: [], words: [], pieces: [] };
  empty.maps = { data: '', bits: 16, low: [], high: [] };
  const { data, picked } = withPayload(newState({}), payload({ answer: empty, pick: null }));
  assert.deepEqual([firstPick(data), tellingWords(data, 8), picked], [null, [], null]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { decoded } from '../../viewer/js/state/packing.js';
import {
  between,
  isPickable,
  isWhole,
  keyOf,
  knownPick,
  noPickText,
  pickOf,
} from '../../viewer/js/state/picks.js';
import { payload } from './made.js';

const data = decoded(payload());
const silent = decoded(payload({ prompt: { ...payload().prompt, maps: null } }));

for (const [key, tokens, of_prompt] of [
  ['all', [0, 1, 2, 3], false],
  ['3', [3], false],
  ['1-3', [1, 2, 3], false],
  ['0,2-3', [0, 2, 3], false],
  ['p0', [0], true],
  ['p0-1', [0, 1], true],
]) {
  test(`${key} names its tokens and is their name`, () => {
    const pick = pickOf(data, key);
    assert.deepEqual(pick, { tokens, of_prompt });
    assert.equal(keyOf(data, pick), key);
  });
}

test('all words of the question are no whole answer, though they may be as many', () => {
  assert.equal(isWhole(data, { tokens: [0, 1, 2, 3], of_prompt: true }), false);
  assert.deepEqual(pickOf(data, 'pall'), { tokens: [0, 1], of_prompt: true });
});

test('nothing picked has no name', () => {
  assert.equal(keyOf(data, null), '');
});

for (const wrong of [undefined, null, '9', '2-7', 'p2', { tokens: [] }, { tokens: [4] }]) {
  test(`${JSON.stringify(wrong)} is no pick: the whole answer is taken`, () => {
    assert.equal(keyOf(data, pickOf(data, wrong)), 'all');
  });
}

for (const wrong of [
  '',
  ' ',
  '9',
  '2-7',
  '3-1',
  '-1',
  '1-2-3',
  '1.5',
  '0x1',
  '0,',
  '<b>',
  'p',
  'p2',
  '0-999999999999',
]) {
  test(`“${wrong}” names no token`, () => {
    assert.equal(knownPick(data, wrong), null);
    assert.equal(noPickText(data, wrong), `There is no token ${wrong.trim()}.`);
  });
}

test('white space around a key and its numbers does not count', () => {
  assert.deepEqual(knownPick(data, ' 1 - 2, 3 '), { tokens: [1, 2, 3], of_prompt: false });
});

test('words of the question without maps are told from those that are not there', () => {
  assert.equal(knownPick(silent, 'p0'), null);
  assert.match(noPickText(silent, 'p0'), /^Only Fast has maps of the question’s words/);
  assert.equal(noPickText(silent, 'p9'), 'There is no token p9.');
});

test('a text without maps cannot be picked', () => {
  assert.equal(isPickable(silent, 'p0'), false);
  assert.equal(isPickable(silent, '0'), true);
  assert.equal(keyOf(silent, pickOf(silent, 'p0')), 'all');
});

test('an empty answer has nothing to pick', () => {
  const answer = { ...payload().answer, tokens: [], maps: { data: '', bits: 16, low: [], high: [] } };
  const empty = decoded(payload({ answer }));
  assert.equal(pickOf(empty, 'all'), null);
  assert.deepEqual(pickOf(empty, 'p1'), { tokens: [1], of_prompt: true });
});

test('a range goes from the first token of either end to the last', () => {
  const word = { tokens: [2, 3], of_prompt: false };
  const first = { tokens: [0], of_prompt: false };
  const expected = { tokens: [0, 1, 2, 3], of_prompt: false };
  assert.deepEqual(between(word, first), expected);
  assert.deepEqual(between(first, word), expected);
});

test('a pick is a copy', () => {
  const given = { tokens: [1], of_prompt: false };
  pickOf(data, given).tokens.push(2);
  assert.deepEqual(given.tokens, [1]);
});

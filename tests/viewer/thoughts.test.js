import assert from 'node:assert/strict';
import { test } from 'node:test';
import { firstPick } from '../../viewer/js/state/first.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { nameOf, quoted } from '../../viewer/js/state/texts.js';
import { isFolded, isSaid, runsOf, saidPick, thoughtsText } from '../../viewer/js/state/thoughts.js';
import { payload } from './made.js';

const stateOf = (thoughts, changes = {}) =>
  withPayload(newState({}), payload({ answer: { ...payload().answer, thoughts, ...changes } }));
const pick = (...tokens) => ({ tokens, of_prompt: false });

test('what is said is the answer without its thoughts, where it has both', () => {
  assert.deepEqual(saidPick(stateOf([0]).data), pick(1, 2, 3));
  assert.equal(saidPick(stateOf([]).data), null);
  assert.equal(saidPick(stateOf([0, 1, 2, 3]).data), null);
});

test('one word is named by itself though it is all that is said', () => {
  const { data } = stateOf([0]);
  assert.equal(isSaid(data, pick(1, 2, 3)), true);
  assert.equal(isSaid(data, pick(1)), false);
  assert.equal(isSaid(data, { ...pick(1, 2, 3), of_prompt: true }), false);
  assert.equal(isSaid(stateOf([0, 1]).data, pick(2, 3)), false);
  assert.equal(quoted(stateOf([0]), pick(1, 2, 3)), 'the answer');
  assert.equal(quoted(stateOf([0, 1]), pick(2, 3)), '“cat”');
  assert.equal(nameOf(stateOf([0]), pick(1, 2, 3)), 'The answer without its thoughts (3 tokens)');
});

test('thoughts are folded until they are opened or a word of them is picked alone', () => {
  const state = stateOf([0, 1]);
  assert.equal(isFolded(state), true);
  assert.equal(isFolded({ ...state, isUnfolded: true }), false);
  assert.equal(isFolded({ ...state, picked: pick(1) }), false);
  assert.equal(isFolded({ ...state, picked: pick(0, 1, 2, 3) }), true);
  assert.equal(isFolded({ ...state, picked: { ...pick(1), of_prompt: true } }), true);
  assert.equal(isFolded(stateOf([])), false);
  assert.equal(isFolded(stateOf([0, 1, 2, 3])), false); // nothing else would be there
});

test('the space between two thoughts is theirs, that before the answer is not', () => {
  const { data } = stateOf([0, 1]);
  const runs = runsOf(data, data.answer.words);
  assert.deepEqual(
    runs.map((run) => [run.isThought, run.segments.map(({ text }) => text).join('')]),
    [
      [true, 'A red'],
      [false, ' cat'],
    ],
  );
  assert.equal(runsOf(data, []).length, 0);
});

test('words of thought are counted, not marks and points', () => {
  const words = ['<think>', 'Hm', ',', 'red', '</think>', 'A'].map((text, token) => ({
    text,
    tokens: [token],
  }));
  const data = { answer: { tokens: words.map(({ text }) => text), thoughts: [0, 1, 2, 3, 4], words } };
  assert.equal(thoughtsText(data, words), '2 words of thought');
  assert.equal(thoughtsText({ answer: { ...data.answer, thoughts: [0, 1] } }, words), '1 word of thought');
});

test('the first pick is no thought where there is more', () => {
  const hot = firstPick(stateOf([]).data);
  assert.notDeepEqual(firstPick(stateOf(hot.tokens).data), hot);
  assert.deepEqual(firstPick(stateOf([0, 1, 2, 3]).data), hot);
});

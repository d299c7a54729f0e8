import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { newState, withChanges, withPayload } from '../../viewer/js/state/state.js';
import {
  checkOf as checkFor,
  headline,
  pickedSource,
  sourceOf,
  testState,
} from '../../viewer/js/state/verdict.js';
import { checkOf, payload } from './made.js';

const sources = JSON.parse(readFileSync(new URL('./sources.json', import.meta.url)));
const pick = (tokens, of_prompt = false) => ({ tokens, of_prompt });
const stateOf = (changes = {}, raw = {}) => ({
  ...withPayload(newState({}), payload(raw)),
  ...changes,
});
const spoken = (state) =>
  headline(state)
    .map(({ text }) => text)
    .join('');
const known = (state, unseen) =>
  withChanges({ ...state, isOwnPick: true }, { without: unseen.map(Math.log) });

test('a word came from where the shell says', () => {
  for (const [seen, unseen, tokens, source] of sources) assert.equal(sourceOf(seen, unseen, tokens), source);
});

test('the headline says where a word came from, in a tone of its own', () => {
  const state = known(stateOf({ picked: pick([0]) }), [0.001, 0.001, 0.5, 0.5]); // A: 0.5 with the picture
  assert.deepEqual(headline(state), [{ text: '“A” came from ' }, { text: 'the picture', tone: 'picture' }]);
  assert.equal(spoken({ ...state, picked: pick([1]) }), '“red” came from language alone');
  assert.equal(headline({ ...state, picked: pick([1]) })[1].tone, 'language');
  assert.equal(spoken({ ...state, picked: pick([0, 1, 2, 3]) }), 'The whole answer came from the picture');
});

test('what is not known is not said', () => {
  assert.equal(spoken(stateOf({ picked: pick([1]) })), '“red”: how much it needed the picture is not known');
  const working = stateOf({ picked: pick([1]), work: { part: 'need' } });
  assert.equal(spoken(working), 'Working out how much “red” needed the picture …');
  assert.match(spoken(stateOf({ picked: pick([0], true) })), /is part of the question/);
  assert.match(spoken(stateOf({ picked: null })), /The answer is empty/);
});

test('a test belongs to the map that is shown and to just these tokens', () => {
  const state = stateOf(
    { picked: pick([1]) },
    { checks: [checkOf([1]), checkOf([2], { map_key: 'other' })] },
  );
  assert.equal(testState(state), 'holds');
  assert.equal(checkFor(state).text, 'red');
  assert.equal(testState({ ...state, picked: pick([2]) }), 'untested');
  assert.equal(testState({ ...state, picked: pick([1, 2]) }), 'untested');
  const work = { part: 'check', key: '2' };
  assert.equal(testState({ ...state, picked: pick([2]), work }), 'running');
  const other = { ...work, key: '0' };
  assert.equal(testState({ ...state, picked: pick([2]), work: other }), 'untested'); // of another word
  assert.equal(testState({ ...state, picked: pick([1], true) }), 'none');
  for (const [verdict, now] of [
    ['Partly', 'partly'],
    ['Does not hold', 'fails'],
  ]) {
    assert.equal(testState(withChanges(state, { check: checkOf([1], { verdict }) })), now);
  }
});

test('a word of several tokens came from where all of them together did', () => {
  // c, at: 0.5 · 0.5 with the picture; without 0.25 · 0.5, and 0.25 · 0.1
  const cat = (unseen) => pickedSource(known(stateOf({ picked: pick([2, 3]) }), unseen));
  assert.equal(cat([1, 1, 0.25, 0.5]), 'language alone'); // just a half
  assert.equal(cat([1, 1, 0.25, 0.1]), 'both'); // just a tenth
  assert.equal(cat([1, 1, 0.2, 0.1]), 'the picture');
  assert.equal(cat([1, 1, 0.9, 0.9]), 'language, against the picture');
});

test('a source has a tone: of the picture, of both, or of language', () => {
  const tone = (unseen) => headline(known(stateOf({ picked: pick([0]) }), [unseen, 1, 1, 1]))[1].tone;
  assert.deepEqual([0.001, 0.1, 0.5, 1].map(tone), ['picture', 'both', 'language', 'language']);
  assert.equal(tone(0.999), 'language'); // twice as likely is not yet against the picture
});

test('the only word of an answer is called by its name', () => {
  const answer = {
    ...payload().answer,
    text: 'cat',
    tokens: ['c', 'at'],
    words: [{ text: 'cat', tokens: [0, 1] }],
    logprobs: [0, 0],
    without: [-9, 0],
  };
  assert.equal(spoken(stateOf({ picked: pick([0, 1]) }, { answer })), '“cat” came from the picture');
});

test('an answer that is not there, and words of the question, came from nowhere', () => {
  assert.equal(pickedSource(stateOf({ picked: null })), null);
  assert.equal(pickedSource(known(stateOf({ picked: pick([0], true) }), [0.1, 0.1, 0.1, 0.1])), null);
  assert.equal(pickedSource(stateOf({ picked: pick([0]) })), null);
  assert.equal(checkFor(stateOf({ picked: null })), null);
  assert.equal(testState(stateOf({ picked: null })), 'none');
});

test('a test of other tokens in the same run of digits is another one', () => {
  const state = stateOf({ picked: pick([2, 3]) }, { checks: [checkOf([23]), checkOf([3, 2])] });
  assert.equal(checkFor(state), null);
});

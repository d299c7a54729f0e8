import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextSteps } from '../../viewer/js/state/next.js';
import { newState, withChanges, withPayload } from '../../viewer/js/state/state.js';
import { checkOf, payload } from './made.js';

const ALL = { test: true, maps: true, hide: true };
const pick = (tokens, of_prompt = false) => ({ tokens, of_prompt });

// Returns a state in which red needed the picture, A and cat did not, and the page can do all or some of it.
const stateOf = (picked, can = ALL, raw = {}) => ({
  ...withChanges(
    { ...withPayload(newState(can), payload(raw)), isOwnPick: true },
    { without: [0.5, 0.000001, 0.5, 0.5].map(Math.log) },
  ),
  picked,
});
const tested = (verdict, can, raw) =>
  withChanges(stateOf(pick([1]), can, raw), { check: checkOf([1], { verdict }) });
const kinds = (state) => nextSteps(state).map(({ kind, text }) => [kind, text]);

test('a word of language leads to one that came from the picture, and can be tested all the same', () => {
  assert.deepEqual(kinds(stateOf(pick([0]))), [
    ['show', 'Show “red”'],
    ['test', 'Test this map'],
  ]);
});

test('a word from the picture is tested next', () => {
  assert.deepEqual(kinds(stateOf(pick([1]))), [['test', 'Test this map']]);
  assert.deepEqual(kinds({ ...stateOf(pick([1])), work: { part: 'check', key: '1' } }), []); // that is under way
});

test('where a map does not hold, or only partly, the slow method is tried', () => {
  for (const verdict of ['Does not hold', 'Partly']) {
    assert.deepEqual(nextSteps(tested(verdict)), [
      { kind: 'method', text: 'Try Causal', method: 'occlusion' },
    ]);
  }
});

test('where the slow one does not hold either, the recommended one is tried', () => {
  const method = { ...payload().method, id: 'occlusion' };
  assert.deepEqual(nextSteps(tested('Partly', ALL, { method })), [
    { kind: 'method', text: 'Try Best', method: 'gradient-attention' },
  ]);
});

test('where a map holds its cells can be hidden, and other words and methods looked at', () => {
  assert.deepEqual(kinds(tested('Holds up')), [
    ['hide', 'Hide “red” and ask again'],
    ['panel', 'Compare methods'],
  ]);
  const cat = withChanges(stateOf(pick([2, 3])), { check: checkOf([2, 3]) });
  const given = withChanges(cat, { without: [0.5, 0.000001, 0.001, 0.001].map(Math.log) }); // red and cat
  assert.deepEqual(kinds(given), [
    ['hide', 'Hide “cat” and ask again'],
    ['show', 'Show “red”'],
    ['panel', 'Compare methods'],
  ]);
});

test('no step is offered twice', () => {
  const cat = withChanges(stateOf(pick([2, 3])), { check: checkOf([2, 3]) }); // language alone, and yet it holds
  assert.deepEqual(kinds(cat), [
    ['show', 'Show “red”'],
    ['hide', 'Hide “cat” and ask again'],
    ['panel', 'Compare methods'],
  ]);
});

test('a word of the question leads to the answer', () => {
  assert.deepEqual(kinds(stateOf(pick([1], true))), [['show', 'Show “red”']]);
});

test('a file can show other words and panels, and offers nothing else', () => {
  assert.deepEqual(kinds(stateOf(pick([0]), {})), [['show', 'Show “red”']]);
  assert.deepEqual(kinds(stateOf(pick([1]), {})), []);
  assert.deepEqual(kinds(tested('Does not hold', {})), []);
  assert.deepEqual(kinds(tested('Holds up', {})), [['panel', 'Compare methods']]);
});

test('where nothing is picked there is no next step', () => {
  assert.deepEqual(nextSteps(stateOf(null)), []);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { actionOf } from '../../viewer/js/state/keys.js';

test('keys ask for words, views, methods and the test; not in a field, and not with Ctrl, Alt or Cmd', () => {
  const key = (name, more = {}) => actionOf({ key: name, shiftKey: false, ...more });
  assert.deepEqual(key('ArrowRight'), { action: 'word', step: 1, extend: false });
  assert.deepEqual(key('ArrowLeft', { shiftKey: true }), { action: 'word', step: -1, extend: true });
  assert.deepEqual(key('3'), { action: 'view', index: 2 });
  assert.deepEqual(key('B'), { action: 'method', index: 1 });
  assert.deepEqual(key('t'), { action: 'test' });
  for (const more of [{ inField: true }, { ctrlKey: true }, { altKey: true }, { metaKey: true }]) {
    for (const name of ['t', '1', 'ArrowLeft']) assert.equal(key(name, more), null);
  }
  for (const name of ['x', '5', 'Tab', 'T ']) assert.equal(key(name), null);
});

test('Esc asks for the whole answer, but not in a field, where it has its own use', () => {
  assert.deepEqual(actionOf({ key: 'Escape', shiftKey: false }), { action: 'whole' });
  assert.equal(actionOf({ key: 'Escape', shiftKey: false, inField: true }), null);
  assert.deepEqual(actionOf({ key: 'Escape', shiftKey: false, hasArrows: true }), { action: 'whole' });
});

test('where arrow keys have a use of their own they are no steps, and letters are as ever', () => {
  const on = (name, shiftKey = false) => actionOf({ key: name, shiftKey, hasArrows: true });
  assert.equal(on('ArrowLeft'), null);
  assert.equal(on('ArrowRight', true), null);
  assert.deepEqual(on('2'), { action: 'view', index: 1 });
});

test('a letter with Shift asks for nothing, and neither do arrows up and down', () => {
  for (const name of ['T', '1', 'Escape']) assert.equal(actionOf({ key: name, shiftKey: true }), null);
  for (const name of ['ArrowUp', 'ArrowDown', 'Home'])
    assert.equal(actionOf({ key: name, shiftKey: false }), null);
});

test('letters name the first methods, in their order', () => {
  const indexOf = (name) => actionOf({ key: name, shiftKey: false });
  assert.deepEqual(
    ['f', 'b', 'c'].map(indexOf),
    [0, 1, 2].map((index) => ({ action: 'method', index })),
  );
  assert.deepEqual(
    ['1', '2', '3', '4'].map(indexOf),
    [0, 1, 2, 3].map((index) => ({ action: 'view', index })),
  );
});

test('brackets go to the picture or moment before and after, Shift and a digit to a picture, Space plays', () => {
  assert.deepEqual(actionOf({ key: ']', shiftKey: false }), { action: 'plane', step: 1 });
  assert.deepEqual(actionOf({ key: '[', shiftKey: false }), { action: 'plane', step: -1 });
  assert.deepEqual(actionOf({ key: '"', code: 'Digit2', shiftKey: true }), { action: 'visual', index: 1 });
  assert.deepEqual(actionOf({ key: '2', code: 'Digit2', shiftKey: false }), { action: 'view', index: 1 });
  assert.equal(actionOf({ key: '"', code: 'Digit2', shiftKey: true, inField: true }), null);
  assert.deepEqual(actionOf({ key: ' ', shiftKey: false }), { action: 'play' });
  assert.equal(actionOf({ key: ' ', shiftKey: false, isPressed: true }), null); // a button's own key
});

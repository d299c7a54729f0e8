import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import {
  asRanges,
  indices,
  limited,
  numberLabels,
  numbersBetween,
  percent,
  probabilityText,
} from '../../viewer/js/state/numbers.js';

const plain = (texts) => [texts].flat().map((text) => text.replaceAll('\u00a0', ' '));

test('numbers read as they do in the drawings, which the same cases hold for', () => {
  const cases = JSON.parse(readFileSync(new URL('./number_labels.json', import.meta.url), 'utf8'));
  assert.ok(cases.length > 10);
  for (const { values, unit, labels } of cases) assert.deepEqual(plain(numberLabels(values, unit)), labels);
});

test('one figure more is one decimal more', () => {
  assert.deepEqual(plain(numberLabels([0.01, 0.25], '%', 4)), ['1.00 %', '25.00 %']);
});

test('shares are told with a decimal under ten percent', () => {
  const told = [0, 0.0004, 0.0994, 0.0996, 0.5, 1].map(percent);
  assert.deepEqual(plain(told), ['0 %', '0.0 %', '9.9 %', '10 %', '50 %', '100 %']);
});

test('a number and its unit stay on one line', () => {
  assert.equal(percent(0.5), '50\u00a0%');
  assert.equal(numberLabels([1, 2], 'logit')[1], '2.00\u00a0logit');
});

test('runs of numbers are written in short', () => {
  assert.equal(asRanges([0, 1, 2, 5, 7, 8]), '0–2, 5, 7–8');
  assert.equal(asRanges([3, 4], '-', ','), '3-4');
  assert.equal(asRanges([]), '');
});

test('numbers of a range are counted, and held between their ends', () => {
  assert.deepEqual(indices(3), [0, 1, 2]);
  assert.deepEqual(numbersBetween(4, 6), [4, 5, 6]);
  assert.deepEqual(
    [-1, 0.5, 9].map((value) => limited(value, 0, 2)),
    [0, 0.5, 2],
  );
});

test('probabilities are read with two decimals, small ones with three, as in Python: the same cases hold for it', () => {
  const cases = JSON.parse(readFileSync(new URL('./probabilities.json', import.meta.url), 'utf8'));
  assert.ok(cases.length > 6);
  for (const [value, text] of cases) assert.equal(probabilityText(value), text);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curveOf, triesOf } from '../../viewer/js/state/curve.js';
import { checkOf } from './made.js';

test('a test is a curve with the range of its random draws, and three pictures', () => {
  const curve = curveOf(checkOf([1]));
  assert.deepEqual(
    [curve.low, curve.high],
    [
      [0.9, 0.7, 0.6],
      [0.9, 0.9, 0.8],
    ],
  );
  assert.deepEqual([curve.telling, curve.draws], [2, 2]);
  assert.match(curve.label, /First\. Second\. Third\.$/);
  assert.deepEqual(
    triesOf(checkOf([1], { telling: 1 })).map(({ name, cells, probability }) => [name, cells, probability]),
    [
      ['nothing hidden', [], 0.9],
      ['1 hottest hidden', [6], 0.4],
      ['1 random hidden', [3], 0.8],
    ],
  );
});

test('the curve has a place for each number of patches, those that were tried', () => {
  const check = checkOf([1], { patches: [0, 2, 5], telling: 5 });
  const { counts, hottest, random, telling, label } = curveOf(check);
  assert.deepEqual(counts, [0, 2, 5]);
  assert.deepEqual(hottest, [0.9, 0.4, 0.1]);
  assert.deepEqual(random, [0.9, 0.8, 0.7]);
  assert.equal(telling, 2); // the place of 5
  assert.match(label, /^The word’s probability over the number of patches hidden\. /);
});

test('with one draw its range is the draw itself', () => {
  const check = checkOf([1], { random: [[0.9, 0.5, 0.3]], random_mean: [0.9, 0.5, 0.3] });
  const { low, high, random, draws } = curveOf(check);
  assert.deepEqual([low, high, draws], [random, random, 1]);
});

test('the pictures show as many hidden cells as the sentences are about, in the order in which they went', () => {
  const cells = {
    hottest: [6, 1, 9, 4, 2],
    random: [
      [3, 14, 0, 7, 8],
      [0, 2, 5, 6, 9],
    ],
  };
  const tries = triesOf(checkOf([1], { patches: [0, 2, 5], telling: 2, cells }));
  assert.deepEqual(tries, [
    { name: 'nothing hidden', cells: [], probability: 0.9, tone: 'picture' },
    { name: '2 hottest hidden', cells: [6, 1], probability: 0.4, tone: 'picture' },
    { name: '2 random hidden', cells: [3, 14], probability: 0.8, tone: 'language' }, // the mean of all draws
  ]);
});

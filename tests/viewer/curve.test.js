import assert from 'node:assert/strict';
import { test } from 'node:test';
import { curveOf, placed, triesOf } from '../../viewer/js/state/curve.js';
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

test('of a clip the step is drawn that has most of what is hidden, and its time is said', () => {
  const planes = [0.5, 4, 65].map((time) => ({ grid: [2, 3], time }));
  const hidden = { hottest: [6, 7, 0, 11], random: [[17, 2, 4, 14]] }; // steps 1, 1, 0, 1 and 2, 0, 0, 2
  const tries = triesOf(checkOf([1], { patches: [0, 2, 4], telling: 4, cells: hidden }));
  assert.deepEqual(
    placed(tries, planes).map(({ name, where, cells, plane }) => [
      name + where,
      cells,
      planes.indexOf(plane),
    ]),
    [
      ['nothing hidden at 4.0 s', [], 1],
      ['4 hottest hidden, 3 of them at 4.0 s', [0, 1, 5], 1],
      ['4 random hidden, 2 of them at 0.5 s', [2, 4], 0],
    ],
  );
});

test('on a picture every hidden cell is drawn and no time is said', () => {
  const planes = [{ grid: [3, 5], time: null }];
  assert.deepEqual(
    placed(triesOf(checkOf([1])), planes).map(({ where, cells, plane }) => [where, cells, plane]),
    [
      ['', [], planes[0]],
      ['', [6, 1], planes[0]],
      ['', [3, 14], planes[0]],
    ],
  );
});

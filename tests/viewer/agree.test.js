import assert from 'node:assert/strict';
import { test } from 'node:test';
import { agreement } from '../../viewer/js/state/agree.js';

const WIDE = [{ first: 0, grid: [3, 5] }];
const TALL = [{ first: 0, grid: [5, 3] }];

// Returns maps of 3 × 5 cells whose hottest cells are these.
const mapsAt = (cells) => cells.map((at) => Float32Array.from({ length: 15 }, (_, i) => (i === at ? 1 : 0)));

test('methods agree whose hottest patches are at most one cell apart', () => {
  const { agrees, sentence } = agreement(mapsAt([6, 0, 12, 14, 7]), WIDE, '“red”');
  assert.deepEqual(agrees, [true, true, true, false, true]); // 6 is row 2, column 2; 12 row 3, column 3; 14 the corner
  assert.equal(sentence, '4 of 5 methods agree on “red”. One looks elsewhere.');
  assert.equal(agreement(mapsAt([6, 7]), WIDE, '“red”').sentence, 'All 2 methods agree on “red”.');
  assert.equal(
    agreement(mapsAt([0, 6, 4, 14, 10]), WIDE, '“red”').sentence,
    '3 of 5 methods agree on “red”. Two look elsewhere.', // 0 and 10 are near to 6
  );
  assert.equal(agreement(mapsAt([0, 4]), WIDE, '“red”').sentence, 'No two of 2 methods agree on “red”.');
  assert.equal(agreement(mapsAt([3]), WIDE, '“red”').sentence, '');
});

test('of several that most are near to the first counts', () => {
  // rows of 5: 0 and 1 are beside each other, and so are 13 and 14, far away
  assert.deepEqual(agreement(mapsAt([0, 1, 13, 14]), WIDE, '“red”').agrees, [true, true, false, false]);
  assert.deepEqual(agreement(mapsAt([14, 0, 13, 1]), WIDE, '“red”').agrees, [true, false, true, false]);
});

test('rows are as long as the grid says: the end of one is not beside the start of the next', () => {
  assert.deepEqual(agreement(mapsAt([4, 5]), WIDE, '“red”').agrees, [true, false]);
  assert.deepEqual(agreement(mapsAt([4, 5]), TALL, '“red”').agrees, [true, true]); // row 2, columns 2 and 3
  assert.deepEqual(agreement(mapsAt([4, 7]), TALL, '“red”').agrees, [true, true]); // one below the other
  assert.deepEqual(agreement(mapsAt([4, 10]), TALL, '“red”').agrees, [true, false]);
});

test('of equal patches the first is the hottest', () => {
  const twice = Float32Array.from([0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
  assert.deepEqual(agreement([twice, ...mapsAt([0, 13])], WIDE, '“red”').agrees, [true, true, false]);
  const flat = new Float32Array(15).fill(-3); // nothing is hottest: the first patch stands for it
  assert.deepEqual(agreement([flat, ...mapsAt([6])], WIDE, '“red”').agrees, [true, true]);
});

test('where there are no maps nothing agrees and nothing is said', () => {
  assert.deepEqual(agreement([], WIDE, '“red”'), { agrees: [], sentence: '' });
  assert.deepEqual(agreement(mapsAt([3]), WIDE, '“red”').agrees, [true]);
});

test('numbers up to ten are written out', () => {
  const all = (apart) => agreement(mapsAt([0, 0, ...apart]), WIDE, 'the whole answer').sentence;
  assert.equal(all([14, 4, 12]), '2 of 5 methods agree on the whole answer. Three look elsewhere.');
  const eleven = agreement(
    mapsAt([...Array(12).fill(0), ...[2, 3, 4, 7, 8, 9, 12, 13, 14, 10, 11]]),
    WIDE,
    'it',
  );
  assert.equal(eleven.sentence, '12 of 23 methods agree on it. 11 look elsewhere.');
});

test('in two pictures nothing is near, however close their cells are in number and place', () => {
  const planes = [
    { first: 0, grid: [2, 3] },
    { first: 6, grid: [3, 3] },
  ];
  assert.deepEqual(agreement(mapsAt([0, 1, 6, 14]), planes, '“red”').agrees, [true, true, false, false]);
  assert.deepEqual(agreement(mapsAt([6, 7, 10, 0, 5]), planes, '“red”').agrees, [
    true,
    true,
    true,
    false,
    false,
  ]);
});

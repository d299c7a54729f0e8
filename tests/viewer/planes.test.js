import assert from 'node:assert/strict';
import { test } from 'node:test';
import { glowScale, heat, massOf, sharesOf } from '../../viewer/js/state/glow.js';
import { halfCells } from '../../viewer/js/state/outline.js';
import {
  hottestIn,
  hottestPlane,
  isSeveral,
  nounOf,
  onPlane,
  partOn,
  planeShares,
  planesIn,
  planesOf,
  startOf,
  timeText,
  visualName,
  visualShares,
  wholeOf,
} from '../../viewer/js/state/planes.js';

// A picture of 1 × 2 cells, a clip of three steps of 1 × 1, and a picture of 2 × 1.
const VISUALS = [
  { name: 'a.png', kind: 'image', grid: [1, 1, 2], first: 0, times: [] },
  { name: 'b.mp4', kind: 'video', grid: [3, 1, 1], first: 2, times: [0.25, 1.25, 65] },
  { name: 'c.png', kind: 'image', grid: [1, 2, 1], first: 5, times: [] },
];
const PICTURES = ['a', 'b0', 'b1', 'b2', 'c'].map((url) => ({ url }));
const DATA = {
  visuals: VISUALS,
  planes: planesOf({ visuals: VISUALS, pictures: PICTURES }),
  boxesIn: ['in a', 'in b', 'in c'],
};
const MAP = Float32Array.from([1, 2, 0, 6, 3, -4, 8]); // 20 above 0

test('each picture and each step of a clip is a plane, in the order of the patches', () => {
  assert.deepEqual(
    DATA.planes.map(({ visual, step, first, grid, time, picture }) => [
      visual,
      step,
      first,
      grid,
      time,
      picture.url,
    ]),
    [
      [0, 0, 0, [1, 2], null, 'a'],
      [1, 0, 2, [1, 1], 0.25, 'b0'],
      [1, 1, 3, [1, 1], 1.25, 'b1'],
      [1, 2, 4, [1, 1], 65, 'b2'],
      [2, 0, 5, [2, 1], null, 'c'],
    ],
  );
  assert.deepEqual(planesIn(DATA, 1), [1, 2, 3]);
  assert.ok(isSeveral(DATA));
  assert.ok(!isSeveral({ planes: DATA.planes.slice(0, 1) }));
});

test('a part of a map is its cells on a plane, and knows its whole; of one picture it is the map itself', () => {
  const part = partOn(MAP, DATA.planes[4]);
  assert.deepEqual([...part], [-4, 8]);
  assert.equal(partOn(MAP, DATA.planes[4]), part); // the same object, so that what is worked out of it is kept
  assert.equal(wholeOf(part), MAP);
  assert.equal(startOf(part), 5);
  assert.equal(wholeOf(MAP), MAP);
  assert.equal(partOn(MAP, { first: 0, grid: [1, 7] }), MAP);
});

test('shares, the scale of the glow and the outline of a part are those of the whole map', () => {
  const [a, c] = [DATA.planes[0], DATA.planes[4]].map((plane) => partOn(MAP, plane));
  assert.equal(massOf(a), 20);
  assert.deepEqual([...sharesOf(a)], [0.05, 0.1]);
  assert.deepEqual([...sharesOf(c)], [0, 0.4]);
  assert.deepEqual(glowScale(a), [1 / 7, 4 / 7]); // four even shares of seven cells
  assert.deepEqual(glowScale(a), glowScale(MAP));
  assert.deepEqual([...heat(a, glowScale(a), 1)], [0, 0]); // less than an even share: clear
  assert.ok(Math.abs(heat(c, glowScale(c), 1)[1] - (0.4 - 1 / 7) / (3 / 7)) < 1e-6);
  assert.deepEqual(halfCells(MAP), [3, 6]); // 6 and 8 are half of 20
  assert.deepEqual(halfCells(a), []);
  assert.deepEqual(halfCells(c), [1]);
  assert.deepEqual(halfCells(partOn(MAP, DATA.planes[2])), [0]);
});

test('a map has a share on each plane and on each picture and clip; values below 0 have none', () => {
  assert.deepEqual(planeShares(MAP, DATA.planes), [0.15, 0, 0.3, 0.15, 0.4]);
  assert.deepEqual(
    visualShares(MAP, DATA).map((share) => Number(share.toFixed(9))),
    [0.15, 0.45, 0.4],
  );
  assert.deepEqual(visualShares(new Float32Array(7).fill(-1), DATA), [0, 0, 0]);
});

test('the hottest plane is the hottest step of the clip, or the picture, that has most of the map', () => {
  assert.equal(hottestPlane(MAP, DATA), 2); // the last picture has the hottest plane, but less than the clip
  assert.equal(hottestPlane(Float32Array.from([0, 0, 1, 0, 0, 0, 2]), DATA), 4);
  assert.equal(hottestIn(MAP, DATA, 0), 0);
  assert.equal(hottestPlane(new Float32Array(7), DATA), 0); // nothing is hottest: the first stands for it
});

test('a plane brings its grid, its picture and the boxes as they lie in it', () => {
  const data = onPlane(DATA, 4);
  assert.deepEqual([data.plane, data.grid, data.picture.url, data.boxes], [4, [2, 1], 'c', 'in c']);
});

test('what is shown has names', () => {
  assert.equal(nounOf(DATA), 'pictures and clips');
  assert.equal(nounOf({ visuals: [VISUALS[0], VISUALS[2]] }), 'pictures');
  assert.equal(nounOf({ visuals: [VISUALS[0]] }), 'picture');
  assert.equal(nounOf({ visuals: [VISUALS[1]] }), 'clip');
  assert.equal(visualName(VISUALS[2], 2), 'picture 3');
  assert.equal(visualName(VISUALS[1], 1), 'clip 2');
  assert.deepEqual([0, 59.94, 60, 125.9].map(timeText), ['0.0 s', '59.9 s', '1:00', '2:05']);
});

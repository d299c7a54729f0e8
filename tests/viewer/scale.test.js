import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeOnBar } from '../../viewer/js/state/scale.js';

test('a value stands on the bar by its share of the range, bent by the contrast', () => {
  assert.equal(placeOnBar(3, [1, 5], 1), 0.5);
  assert.equal(placeOnBar(3, [1, 5], 2), 0.25);
  assert.deepEqual(
    [-9, 9].map((value) => placeOnBar(value, [1, 5], 1)),
    [0, 1],
  );
  assert.equal(placeOnBar(1, [1, 1], 1), 0.5);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { keptFor } from '../../viewer/js/state/kept.js';

test('what was worked out of an object is kept for that object', () => {
  const asked = [];
  const sumOf = keptFor((values, more) => {
    asked.push(values);
    return values[0] + values[1] + more;
  });
  const [one, other] = [
    [1, 2],
    [1, 2],
  ];
  assert.deepEqual([sumOf(one, 4), sumOf(one, 4), sumOf(other, 8), sumOf(one, 4)], [7, 7, 11, 7]);
  assert.deepEqual(asked, [one, other]);
  assert.equal(asked[1], other);
});

test('that nothing came of it is kept too', () => {
  let count = 0;
  const nothing = keptFor(() => {
    count += 1;
  });
  const object = {};
  assert.deepEqual([nothing(object), nothing(object), count], [undefined, undefined, 1]);
});

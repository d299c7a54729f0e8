import assert from 'node:assert/strict';
import { test } from 'node:test';
import { momentsText, sparkline } from '../../viewer/js/state/moments.js';

const TIMES = [0, 1, 2, 3];

test('the line has a point in the middle of each moment, as high as its share of the largest', () => {
  assert.deepEqual(sparkline([0, 0.5]), {
    line: 'M25.00 100.00L75.00 8.00',
    area: 'M25.00 100L25.00 100.00L75.00 8.00L75.00 100Z',
  });
  assert.equal(sparkline([0.2]).line, 'M50.00 8.00');
  assert.equal(sparkline([0, 0]).line, 'M25.00 100.00L75.00 100.00'); // a map that is nowhere
  assert.deepEqual(sparkline([]), { line: '', area: '' });
});

test('a sentence names the moments with half of the largest share, from the first to the last where they are one span', () => {
  assert.equal(
    momentsText('“boat”', [0, 0.2, 0.4, 0], TIMES, 1),
    '“boat” looks at 1.0 to 2.0 s, most at 2.0 s',
  );
  assert.equal(momentsText('“boat”', [0, 0.1, 0.4, 0], TIMES, 1), '“boat” looks at 2.0 s');
  assert.equal(
    momentsText('“boat”', [0.3, 0, 0.4, 0], TIMES, 1),
    '“boat” looks at several moments, most at 2.0 s',
  );
  assert.equal(
    momentsText('the whole answer', [0.2, 0.3, 0.2, 0.3], TIMES, 1),
    'The whole answer looks at all of it, most at 1.0 s',
  );
  assert.equal(momentsText('“boat”', [0.1], [0.5], 1), '“boat” looks at 0.5 s');
  assert.equal(momentsText('“boat”', [0, 0, 0, 0], TIMES, 0), '“boat” does not look at this clip');
});

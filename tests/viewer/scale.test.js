import assert from 'node:assert/strict';
import { test } from 'node:test';
import { placeOnBar, roundValues, ticksOf } from '../../viewer/js/state/scale.js';

const numberOf = ({ label }) => Number(label.replace('−', '-').replace(/\u00a0.*$/, ''));

test('a value stands on the bar by its share of the range, bent by the contrast', () => {
  assert.equal(placeOnBar(3, [1, 5], 1), 0.5);
  assert.equal(placeOnBar(3, [1, 5], 2), 0.25);
  assert.deepEqual(
    [-9, 9].map((value) => placeOnBar(value, [1, 5], 1)),
    [0, 1],
  );
  assert.equal(placeOnBar(1, [1, 1], 1), 0.5);
});

test('round values are multiples of 1, 2, 2.5 or 5 of a power of ten, inside the range', () => {
  const near = (found, expected) => {
    assert.equal(found.length, expected.length);
    found.forEach((value, i) => {
      assert.ok(Math.abs(value - expected[i]) < 1e-12 * Math.max(1, Math.abs(value)));
    });
  };
  near(roundValues(0, 1), [0.2, 0.4, 0.6, 0.8]);
  near(roundValues(0.01, 0.25), [0.05, 0.1, 0.15, 0.2]);
  near(roundValues(-3, 9), [-2.5, 0, 2.5, 5, 7.5]);
  near(roundValues(0, 2.5e-7), [5e-8, 1e-7, 1.5e-7, 2e-7]);
  near(roundValues(5000, 5020), [5005, 5010, 5015]);
});

for (const [range, unit] of [
  [[0.01, 0.25], '%'],
  [[0, 1], ''],
  [[-3.2, 8.9], 'logit'],
  [[0, 3.3e-8], '%'],
  [[0.755, 0.7551], '%'],
]) {
  for (const width of [90, 300, 800]) {
    for (const gamma of [0.25, 1, 4]) {
      test(`ticks of ${range} ${unit} on ${width} pixels at γ = ${gamma} do not overlap`, () => {
        const ticks = ticksOf(range, gamma, unit, width);
        const spans = ticks.map(({ label, at, isEnd }, i) => {
          const drawn = 7 * label.length; // no figure is wider
          if (i === 0) return [0, drawn];
          return isEnd ? [width - drawn, width] : [at * width - drawn / 2, at * width + drawn / 2];
        });
        const inside = ticks.slice(1, -1);
        assert.deepEqual([ticks[0].at, ticks.at(-1).at], [0, 1]);
        assert.deepEqual(ticks.map(({ isEnd }) => isEnd).indexOf(true), ticks.length - 1);
        spans.slice(2).forEach((span, i) => {
          assert.ok(span[0] >= spans[i + 1][1], JSON.stringify(ticks));
        });
        for (const tick of inside) assert.ok(tick.at > 0 && tick.at < 1);
      });
    }
  }
}

test('numbers stand where they belong, the ends are the real ones', () => {
  const ticks = ticksOf([0.013, 0.25], 2, '%', 900);
  assert.deepEqual(ticks.map(numberOf), [1.3, 10, 15, 20, 25]); // 5 would stand on the first one
  for (const tick of ticks) assert.ok(Math.abs(tick.at - ((numberOf(tick) - 1.3) / 23.7) ** 2) < 1e-9);
});

test('a map of one value has one tick', () => {
  assert.deepEqual(ticksOf([1, 1], 1, '%', 300), [{ label: '100\u00a0%', at: 0, isEnd: false }]);
});

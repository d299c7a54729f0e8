// The colour bar: where a value stands on it, and the numbers under it.
import { limited, numberLabels } from './numbers.js';

const FIGURE_WIDTH = 7.5; // pixels, at most
const TICK_GAP = 14;

// Returns where a value stands between the ends of the bar, 0 to 1.
export function placeOnBar(value, [low, high], gamma) {
  return high > low ? limited((value - low) / (high - low), 0, 1) ** gamma : 0.5;
}

// Returns about five round values inside a range.
export function roundValues(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const found = [];
  for (let i = Math.ceil(low / step); i * step < high && found.length < 12; i++) {
    if (i * step > low) found.push(i * step);
  }
  return found;
}

// Returns [{label, at, isEnd}] for a bar so many pixels wide: both ends of the range, and the round values between them
// that leave room for one another. `at` is 0 to 1.
export function ticksOf(range, gamma, unit, width) {
  const [low, high] = range;
  const values = high > low ? [low, ...roundValues(low, high), high] : [low];
  const last = values.length - 1;
  const ticks = numberLabels(values, unit).map((label, i) => {
    const at = last ? placeOnBar(values[i], range, gamma) : 0;
    return {
      label,
      at,
      isEnd: last > 0 && i === last,
      span: spanOnBar(label, at, width, [i === 0, i === last]),
    };
  });
  const kept = new Set([0, last]);
  const isFree = ({ span }) =>
    [...kept].every((k) => span[0] >= ticks[k].span[1] || span[1] <= ticks[k].span[0]);
  for (let i = 1; i < last; i++) if (isFree(ticks[i])) kept.add(i);
  return ticks.filter((_, i) => kept.has(i)).map(({ label, at, isEnd }) => ({ label, at, isEnd }));
}

// Returns the pixels that a label takes up, at most: the first begins where the bar does, the last ends there.
function spanOnBar(label, at, width, [isFirst, isLast]) {
  const own = FIGURE_WIDTH * label.length + TICK_GAP;
  if (isFirst) return [0, own];
  return isLast ? [width - own, width] : [at * width - own / 2, at * width + own / 2];
}

// The colour bar: where a value stands on it.
import { limited } from './numbers.js';

// Returns where a value stands between the ends of the bar, 0 to 1.
export function placeOnBar(value, [low, high], gamma) {
  return high > low ? limited((value - low) / (high - low), 0, 1) ** gamma : 0.5;
}

// Numbers, and how people read them. Knows nothing of maps or words.
import { keptFor } from './kept.js';

export const SPACE = '\u00a0'; // between a number and its unit, which stay on one line

export const limited = (value, low, high) => Math.min(high, Math.max(low, value));

export const indices = (count) => Array.from({ length: count }, (_, index) => index);

// Returns [lowest, highest] of values.
export const rangeOf = keptFor((values) => {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
});

// Returns the whole numbers from first to last.
export const numbersBetween = (first, last) => indices(last - first + 1).map((step) => first + step);

// Returns ascending whole numbers in short: [0, 1, 2, 5] is "0–2, 5".
export function asRanges(numbers, dash = '–', comma = ', ') {
  const runs = [];
  for (const number of numbers) {
    const last = runs.at(-1);
    if (last && number === last[1] + 1) last[1] = number;
    else runs.push([number, number]);
  }
  return runs.map(([first, last]) => (first === last ? `${first}` : `${first}${dash}${last}`)).join(comma);
}

export function percent(share) {
  const value = 100 * share;
  return `${value.toFixed(value !== 0 && value < 9.95 ? 1 : 0)}${SPACE}%`;
}

// Returns the power of ten of the first figure: 2 for 123; just below a power counts as that power.
const magnitude = (number) => Math.floor(Math.log10(number) + 1e-9);

const raised = (power) => String(power).replace(/./g, (sign) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(sign)]);

// Returns numbers as text with their unit, with as many decimals as show so many figures of their range. Numbers that
// are all under a thousandth, or over a million, share a power of ten. In the unit "%", values are shares.
export function numberLabels(values, unit, figures = 3) {
  const numbers = values.map((value) => (unit === '%' ? 100 * value : value));
  const largest = Math.max(...numbers.map(Math.abs));
  const spread = Math.max(...numbers) - Math.min(...numbers) || largest;
  const power = largest === 0 || (largest >= 1e-3 && largest < 1e6) ? 0 : magnitude(largest);
  const decimals = spread === 0 ? 0 : limited(figures - 1 + power - magnitude(spread), 0, 9);
  const ending = unit ? SPACE + unit : '';
  const suffix = (power ? `×10${raised(power)}` : '') + ending;
  return numbers.map((number) => {
    if (!number) return `0${ending}`;
    const text = (number / 10 ** power).toFixed(decimals).replace(/^-(?=[0.]*$)/, '');
    return text.replace('-', '−') + suffix;
  });
}

// Returns a probability to read: two decimals, more for small ones.
export function probabilityText(value) {
  if (value >= 0.01 || value === 0) return value.toFixed(2);
  return value >= 0.001 ? value.toFixed(3) : '<0.001';
}

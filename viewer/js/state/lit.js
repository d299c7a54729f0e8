// Which words look at a part of the picture. Goes in: a payload and a cell or region {row, col, rows, cols}. Comes out: a
// shade 0 to 1 for each segment, and the words that look there most.
import { mapOf, valueAt } from './maps.js';
import { segmentsIn } from './picks.js';

const FAINT = 0.15; // shades under this are none
const TOP = 3;

const sums = new WeakMap(); // a map -> the sum of its values above 0

function massOf(values) {
  if (!sums.has(values)) {
    let sum = 0;
    for (const value of values) if (value > 0) sum += value;
    sums.set(values, sum);
  }
  return sums.get(values);
}

// Returns the part of a map that lies in a region, 0 to 1.
function partIn(data, values, { row, col, rows = 1, cols = 1 }) {
  const all = massOf(values);
  if (!all) return 0;
  let inside = 0;
  for (let r = row; r < row + rows; r++) {
    for (let c = col; c < col + cols; c++) inside += Math.max(0, valueAt(data, values, { row: r, col: c }));
  }
  return inside / all;
}

// Returns {shades, top}: a shade for each segment of the answer, by how much more of its map than an even share lies there;
// and the words with the largest parts, [{text, share, tokens}].
export function litWords(data, granularity, region) {
  const segments = segmentsIn(data.answer, granularity);
  const even = ((region.rows ?? 1) * (region.cols ?? 1)) / (data.grid[0] * data.grid[1]);
  const parts = segments.map((segment) => {
    const values =
      segment.tokens && data.answer.maps && mapOf(data, { tokens: segment.tokens, of_prompt: false });
    return values ? partIn(data, values, region) : 0;
  });
  const most = Math.max(0, ...parts);
  const shadeOf = (part) => {
    const shade = most > even ? (part - even) / (most - even) : 0;
    return shade < FAINT ? 0 : shade;
  };
  const top = segments
    .map((segment, i) => ({
      text: segment.text.trim() || segment.sign,
      share: parts[i],
      tokens: segment.tokens,
    }))
    .filter(({ share, tokens }) => tokens && share > even)
    .sort((a, b) => b.share - a.share)
    .slice(0, TOP);
  return { shades: parts.map(shadeOf), top };
}

// Which words look at a part of the picture. Goes in: a payload and a cell or region {row, col, rows, cols}. Comes out: a
// shade 0 to 1 for each segment, and the words that look there most.
import { mapOf, massIn } from './maps.js';
import { segmentsIn } from './picks.js';

const FAINT = 0.15; // shades under this are none
const TOP = 3;

const patchesOf = ({ planes }) => planes.reduce((sum, { grid: [rows, columns] }) => sum + rows * columns, 0);

// Returns {shades, top}: a shade for each segment of the answer, by how much more of its map than an even share lies there;
// and the words with the largest parts, [{text, share, tokens}].
export function litWords(data, granularity, region) {
  const segments = segmentsIn(data.answer, granularity);
  const even = ((region.rows ?? 1) * (region.cols ?? 1)) / patchesOf(data);
  const parts = segments.map((segment) => {
    const values =
      segment.tokens && data.answer.maps && mapOf(data, { tokens: segment.tokens, of_prompt: false });
    return values ? massIn(data, values, region) : 0;
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

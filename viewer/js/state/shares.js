// Shares of attention, (image, prompt, answer so far) each.
import { percent } from './numbers.js';
import { visualName } from './planes.js';

const PARTS = ['image', 'prompt', 'answer'];

// Returns the mean of some tokens' rows of shares.
export function meanShares(rows, tokens) {
  const mean = [0, 0, 0];
  for (const token of tokens) {
    rows[token].forEach((share, i) => {
      mean[i] += share / tokens.length;
    });
  }
  return mean;
}

// Returns how the attention on several pictures and clips is spread over them; an empty text for one.
export function visualsText({ visuals }, { visual_shares: rows }, tokens) {
  if (!rows) return '';
  const shares = visuals.map(
    (_, visual) => tokens.reduce((sum, token) => sum + rows[token][visual], 0) / tokens.length,
  );
  return shares
    .map((share, visual) => `${visualName(visuals[visual], visual)}: ${percent(share)}`)
    .join(' · ');
}

// Returns bars of (column, part) stacked from the bottom, in percent: {column, part, top, height}, 0 at the top.
export function stackedBars(rows) {
  return rows.flatMap((shares, column) => {
    let top = 1;
    return shares.map((share, i) => {
      top -= share;
      return { column, part: PARTS[i], top: 100 * top, height: 100 * share };
    });
  });
}

// Returns what is said of one column of a plot.
export function columnText(name, shares) {
  const [image, prompt, answer] = shares.map(percent);
  return `${name}: image ${image}, prompt ${prompt}, answer so far ${answer}`;
}

// Maps, row by row as Float32Arrays: of a pick, the one that is shown, its range, its heat and its highest cell.
import { glowScale, massOf, sharedGlowScale, shareOf } from './glow.js';
import { keptFor } from './kept.js';
import { rangeOf } from './numbers.js';
import { unpacked } from './packing.js';
import { keyOf, sideOf } from './picks.js';
import { partOn, wholeOf } from './planes.js';

const meansOf = keptFor(() => new Map()); // of a payload's answer: key of a pick -> its mean map

const hasMaps = (maps, pick) => Boolean(maps) && pick.tokens.every((token) => maps[token]);

// Returns the mean of the maps of the pick's tokens on the plane that is shown; null where one of them is not there yet.
export function mapOf(data, pick) {
  const whole = wholeMapOf(data, pick);
  return whole && partOn(whole, data.planes[data.plane]);
}

// Returns the same on all planes, one after the other.
export function wholeMapOf(data, pick) {
  const { maps } = sideOf(data, pick);
  if (!hasMaps(maps, pick)) return null;
  if (pick.tokens.length === 1) return maps[pick.tokens[0]];
  const known = meansOf(data.answer);
  const key = keyOf(data, pick);
  if (!known.has(key)) {
    const sum = new Float64Array(maps[pick.tokens[0]].length);
    for (const token of pick.tokens) {
      for (let i = 0; i < sum.length; i++) sum[i] += maps[token][i];
    }
    known.set(
      key,
      Float32Array.from(sum, (value) => value / pick.tokens.length),
    );
  }
  return known.get(key);
}

const ownRange = keptFor(({ low, high }) => [Math.min(...low), Math.max(...high)]);

// Returns the range of all maps of records with {low, high} of each of their maps.
function sharedRange(records) {
  const ranges = records.map(ownRange);
  return [Math.min(...ranges.map(([low]) => low)), Math.max(...ranges.map(([, high]) => high))];
}

export const shownPick = (state) => state.previewed || state.picked;

// Returns the layers × heads of a pick, where they are there.
export const headsOf = (state, pick) => pick && state.heads.get(keyOf(state.data, pick));

// Returns the place in layers × heads that is shown alone: under the pointer, or kept.
export const alonePlace = (state) => state.aloneSeen ?? state.alone;

// Returns the layers × heads of a pick, where one of them is shown alone.
export const aloneIn = (state, pick) => alonePlace(state) && headsOf(state, pick);

// Returns the number of a place in layers × heads, whose first row and column are means.
export const headIndex = (grid, { row, col }) => row * (grid.heads + 1) + col;

const sharedScaleOf = keptFor((maps) => sharedGlowScale(maps.filter(Boolean)));

// Returns what is needed to draw some values: {values, grid, range, scale}. `range` is that of a colour map, `scale` that of
// the glow: an even share and the hottest, in shares of the map; `others` are the maps that have it in common.
function drawable(grid, values, range, others = null) {
  return { values, grid, range, scale: others ? sharedScaleOf(others) : glowScale(values) };
}

const unpackedOnce = keptFor(unpacked);

const NOTHING = { values: null, grid: [1, 1], range: [0, 0], scale: [0, 0] };

// Returns what is needed to draw the map of the word that is being written, where it is known.
export function unfinishedMap({ progress }) {
  if (!progress?.map) return NOTHING;
  const [values] = unpackedOnce(progress.map);
  return drawable(progress.grid, values, rangeOf(values));
}

// Returns what is needed to draw the map of some tokens of the answer.
export function shownOf({ data, look }, values) {
  const isShared = look.scale === 'shared';
  const range = isShared ? sharedRange([data.answer, data.prompt]) : rangeOf(wholeOf(values));
  return drawable(data.grid, values, range, isShared ? data.answer.maps : null);
}

// Returns what is needed to draw the map that is shown: of one layer and head, or of the pick; values are null where
// nothing is picked.
export function shownMap(state) {
  const pick = shownPick(state);
  const grid = pick && aloneIn(state, pick);
  const values = pick && !grid ? mapOf(state.data, pick) : null;
  if (grid) {
    const index = headIndex(grid, alonePlace(state));
    const isShared = state.look.scale === 'shared';
    const range = isShared ? sharedRange([grid]) : [grid.low[index], grid.high[index]];
    const alone = partOn(grid.maps[index], state.data.planes[state.data.plane]);
    return drawable(state.data.grid, alone, range, isShared ? grid.maps : null);
  }
  return values ? shownOf(state, values) : NOTHING;
}

// Returns the hottest cell's share of the map of some tokens of the answer, 0 to 1; 0 where there is no map yet.
export function hottestShare(data, tokens) {
  const values = wholeMapOf(data, { tokens, of_prompt: false });
  return values ? shareOf(values, rangeOf(values)[1]) : 0;
}

export const valueAt = (data, values, { row, col }) => values[row * data.grid[1] + col];

// Returns the cell with the highest value, the first of several.
export function highestCell(data, values) {
  const at = values.indexOf(rangeOf(values)[1]);
  return { row: Math.floor(at / data.grid[1]), col: at % data.grid[1] };
}

// Returns the share of a map's mass that lies in a region; values below 0 have none.
export function massIn(data, values, { row, col, rows = 1, cols = 1 }) {
  const all = massOf(values);
  let inside = 0;
  for (let r = row; r < row + rows; r++) {
    for (let c = col; c < col + cols; c++) inside += Math.max(0, valueAt(data, values, { row: r, col: c }));
  }
  return all > 0 ? inside / all : 0;
}

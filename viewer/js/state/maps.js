// Maps, row by row as Float32Arrays: of a pick, the one that is shown, its range and its highest cell.
import { keyOf, sideOf } from './picks.js';

const means = new WeakMap(); // a payload's answer -> key of a pick -> its mean map

// Returns the mean of the maps of the pick's tokens.
export function mapOf(data, pick) {
  const { maps } = sideOf(data, pick);
  if (pick.tokens.length === 1) return maps[pick.tokens[0]];
  if (!means.has(data.answer)) means.set(data.answer, new Map());
  const known = means.get(data.answer);
  const key = keyOf(data, pick);
  if (!known.has(key)) {
    const sum = new Float64Array(data.grid[0] * data.grid[1]);
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

export function rangeOf(values) {
  let low = Infinity;
  let high = -Infinity;
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

// Returns the range of all maps of records with {low, high} of each of their maps.
export function sharedRange(records) {
  return [Math.min(...records.flatMap((one) => one.low)), Math.max(...records.flatMap((one) => one.high))];
}

export const shownPick = (state) => state.previewed || state.picked;

// Returns the layers × heads of a pick, where they are there.
export const headsOf = (state, pick) => pick && state.heads.get(keyOf(state.data, pick));

// Returns the layers × heads of a pick, where one of them is shown alone.
export const aloneIn = (state, pick) => state.alone && headsOf(state, pick);

// Returns the number of a place in layers × heads, whose first row and column are means.
export const headIndex = (grid, { row, col }) => row * (grid.heads + 1) + col;

// Returns the values that are shown and the range that the colours span; values are null where nothing is picked.
export function shownMap(state) {
  const { data, look } = state;
  const pick = shownPick(state);
  if (!pick) return { values: null, range: [0, 0] };
  const grid = aloneIn(state, pick);
  if (grid) {
    const index = headIndex(grid, state.alone);
    const own = [grid.low[index], grid.high[index]];
    return { values: grid.maps[index], range: look.scale === 'shared' ? sharedRange([grid]) : own };
  }
  const values = mapOf(data, pick);
  return {
    values,
    range: look.scale === 'shared' ? sharedRange([data.answer, data.prompt]) : rangeOf(values),
  };
}

export const valueAt = (data, values, { row, col }) => values[row * data.grid[1] + col];

// Returns the cell with the highest value, the first of several.
export function highestCell(data, values) {
  const at = values.indexOf(rangeOf(values)[1]);
  return { row: Math.floor(at / data.grid[1]), col: at % data.grid[1] };
}

// Returns the share of a map's mass that lies in a region; values below 0 have none.
export function massIn(data, values, { row, col, rows = 1, cols = 1 }) {
  let all = 0;
  let inside = 0;
  for (const value of values) if (value > 0) all += value;
  for (let r = row; r < row + rows; r++) {
    for (let c = col; c < col + cols; c++) inside += Math.max(0, valueAt(data, values, { row: r, col: c }));
  }
  return all > 0 ? inside / all : 0;
}

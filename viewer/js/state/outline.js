// The cells that hold half of a map, and the lines around them; drawing/outline.py finds the same.
import { isFlat, sharesOf } from './glow.js';
import { keptFor } from './kept.js';
import { indices } from './numbers.js';
import { startOf, wholeOf } from './planes.js';

const HALF = 0.5 - 1e-9; // sums of shares are rounded

// Returns the fewest cells (row * columns + column) that hold half of a map's values above 0, ascending; of equal cells
// the first ones, and none of a flat map. Of a part of a map those of the whole's that lie in it.
export function halfCells(values) {
  const first = startOf(values);
  const cells = halfOf(wholeOf(values));
  return first || wholeOf(values) !== values
    ? cells.map((cell) => cell - first).filter((cell) => cell >= 0 && cell < values.length)
    : cells;
}

const halfOf = keptFor((values) => {
  if (isFlat(values)) return [];
  const shares = sharesOf(values);
  const rising = shares.slice().sort();
  let next = rising.length;
  for (let held = 0; held < HALF; held += rising[next]) next -= 1;
  const least = rising[next];
  const count = rising.length - next;
  const higher = indices(shares.length).filter((cell) => shares[cell] > least);
  const equal = indices(shares.length).filter((cell) => shares[cell] === least);
  return [...higher, ...equal.slice(0, count - higher.length)].sort((one, other) => one - other);
});

// Returns the lines between these cells and all others, the grid's border included, as [x, y, x, y] in cells from the
// top left corner. Long ones are whole: first the level ones, row by row, then the upright ones, column by column.
export function borderSegments(cells, [rows, columns]) {
  const chosen = new Set(cells);
  const has = (row, col) =>
    row >= 0 && row < rows && col >= 0 && col < columns && chosen.has(row * columns + col);
  const level = indices(rows + 1).flatMap((y) =>
    runs(columns, (x) => has(y, x) !== has(y - 1, x)).map(([from, to]) => [from, y, to, y]),
  );
  const upright = indices(columns + 1).flatMap((x) =>
    runs(rows, (y) => has(y, x) !== has(y, x - 1)).map(([from, to]) => [x, from, x, to]),
  );
  return [...level, ...upright];
}

// Returns the lines around the fewest cells that hold half of a map of the grid.
export const outlineOf = keptFor((values, grid) => borderSegments(halfCells(values), grid));

// Returns [from, to] of each run of places, 0 to count - 1, where something is so.
function runs(count, isSo) {
  const found = [];
  for (let place = 0; place < count; place++) {
    if (!isSo(place)) continue;
    if (found.at(-1)?.[1] === place) found.at(-1)[1] = place + 1;
    else found.push([place, place + 1]);
  }
  return found;
}

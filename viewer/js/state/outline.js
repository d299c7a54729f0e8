// The cells that hold half of a map, and the lines around them; drawing/outline.py finds the same.
import { glowScale, heat, sharesOf } from './glow.js';
import { indices } from './numbers.js';

const HALF = 0.5 - 1e-9; // sums of shares are rounded

// Returns the fewest cells (row * columns + column) that hold half of a map's values above 0, ascending; of equal cells
// the first ones, and none of a flat map.
export function halfCells(values) {
  if (!heat(values, glowScale(values), 1).some((v) => v > 0)) return [];
  const shares = sharesOf(values);
  const order = indices(values.length).sort((a, b) => shares[b] - shares[a] || a - b);
  let held = 0;
  const count = order.findIndex((cell) => {
    held += shares[cell];
    return held >= HALF;
  });
  return order.slice(0, count + 1).sort((a, b) => a - b);
}

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

// Where things are drawn, and what is at a point. Panes are {x, y, width, height, kind} in device pixels; cells are
// {row, col}; regions {row, col, rows, cols}.
import { limited } from './numbers.js';

const GAP = 8; // between two panes, in pixels of the page
const NARROW = 520; // a stage under this has two wide pictures one below the other
const BESIDE = 10; // pixels of the page between a part of the picture and what is said of it
const LEAST_BESIDE = 130; // a text narrower than this cannot be read

// Returns the panes of a view within the room there is: {width, tallest, density}, in pixels of the page and device
// pixels for each of them; and the size of the canvas that holds them.
export function layoutOf(picture, view, { width: room, tallest, density }) {
  const ratio = picture.width / picture.height;
  const twice = view === 'side by side';
  const beside = twice && !(room < NARROW && ratio > 0.8);
  const paneRoom = beside ? (room - GAP) / 2 : room;
  const tall = twice && !beside ? tallest / 2 : tallest;
  const width = Math.max(1, Math.round(Math.min(paneRoom, tall * ratio) * density));
  const height = Math.max(1, Math.round(width / ratio));
  const step = Math.round(GAP * density);
  const second = beside ? { x: width + step, y: 0 } : { x: 0, y: height + step };
  const first = { x: 0, y: 0, width, height };
  const panes = twice
    ? [
        { ...first, kind: 'picture' },
        { ...first, ...second, kind: 'overlay' },
      ]
    : [{ ...first, kind: view }];
  const last = panes.at(-1);
  return { panes, density, width: last.x + width, height: last.y + height };
}

// Returns the cell at a point in device pixels, or null between and outside the panes.
export function cellAt(panes, [rows, columns], { x, y }) {
  const inside = (one) => x >= one.x && x < one.x + one.width && y >= one.y && y < one.y + one.height;
  const pane = panes.find(inside);
  if (!pane) return null;
  return {
    row: Math.floor(((y - pane.y) * rows) / pane.height),
    col: Math.floor(((x - pane.x) * columns) / pane.width),
  };
}

export const isSameCell = (a, b) => a?.row === b?.row && a?.col === b?.col;

export const isOneCell = (region) => region.rows * region.cols === 1;

const isInside = ({ row, col }, region) =>
  row >= region.row && row < region.row + region.rows && col >= region.col && col < region.col + region.cols;

// Returns the part of the picture that is asked about: the kept region, unless another place is pointed at; or null.
export function askedPart({ region, cursor }) {
  return region && (!cursor || isInside(cursor, region)) ? region : cursor;
}

// Returns the region from one cell to another.
export const spanOf = (a, b) => ({
  row: Math.min(a.row, b.row),
  col: Math.min(a.col, b.col),
  rows: Math.abs(a.row - b.row) + 1,
  cols: Math.abs(a.col - b.col) + 1,
});

// Returns the cell that an arrow key leads to, within the grid; null for other keys.
export function stepped({ row, col }, key, [rows, columns]) {
  const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[key];
  return move && { row: limited(row + move[0], 0, rows - 1), col: limited(col + move[1], 0, columns - 1) };
}

// Returns the box of a cell or region in a pane.
export function boxOf(pane, [gridRows, gridColumns], { row, col, rows = 1, cols = 1 }) {
  return {
    left: pane.x + (col * pane.width) / gridColumns,
    top: pane.y + (row * pane.height) / gridRows,
    width: (cols * pane.width) / gridColumns,
    height: (rows * pane.height) / gridRows,
  };
}

// Returns where what is said of a box stands, on the side of it with more room between the two ends: whether that is before
// it, the text's edge there, and its width at most. Where neither side has room for a text it reaches over the box.
export function besideOf({ left, width }, [from, to]) {
  const before = left - BESIDE - from;
  const after = to - (left + width + BESIDE);
  const isBefore = before > after;
  const room = Math.max(LEAST_BESIDE, before, after);
  return { isBefore, room, edge: isBefore ? Math.max(left - BESIDE, from + room) : to - room };
}

// Returns the boxes of cells that are crossed out in a pane: none where no map is drawn.
export function crossedBoxes(pane, grid, cells, divider) {
  if (pane.kind === 'picture') return [];
  const from = pane.kind === 'wipe' ? pane.x + divider * pane.width : pane.x;
  const boxes = cells.map((cell) =>
    boxOf(pane, grid, { row: Math.floor(cell / grid[1]), col: cell % grid[1] }),
  );
  return boxes.filter(({ left, width }) => left + width / 2 >= from);
}

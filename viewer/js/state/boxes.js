// The boxes and points of an answer: which belong to a pick, what is at a place, and how a map lies on them, as
// records/boxes.py works it out. Places are parts of the picture's sides, [left, top, right, bottom].
import { keptFor } from './kept.js';
import { shownPick } from './maps.js';
import { indices, limited, percent } from './numbers.js';
import { isWhole } from './picks.js';

const SAME = 1e-9; // of a map's highest value: less is rounding
const NEAR = 7; // pixels of the page around a line that are still on it

const tokensOf = keptFor((box) => new Set(box.tokens));

export const boxPick = (box) => ({ tokens: [...box.tokens], of_prompt: false });

// Returns whether a pick has to do with a box: one of its words does, and it is not the whole answer.
export function isOfBox(data, pick, box) {
  if (!pick || pick.of_prompt || isWhole(data, pick)) return false;
  const own = tokensOf(box);
  return pick.tokens.some((token) => own.has(token));
}

// Returns which boxes have to do with what is shown, by their numbers in the list.
export const shownBoxes = (state) =>
  indices(state.data.boxes.list.length).filter((i) =>
    isOfBox(state.data, shownPick(state), state.data.boxes.list[i]),
  );

// Returns the number of the box that begins in a segment, counted from 1; 0 where none does.
export const beginsIn = ({ boxes }, { tokens }) =>
  tokens ? boxes.list.findIndex((box) => tokens.includes(box.tokens[0])) + 1 : 0;

// Returns the name of the box that a pick is all of: "box 1: eye"; an empty text for another pick.
export function boxNameOf({ boxes }, pick) {
  const at = pick.of_prompt ? -1 : boxes.list.findIndex((box) => `${box.tokens}` === `${pick.tokens}`);
  return at < 0 ? '' : nameOfBox(boxes.list[at], at);
}

export const nameOfBox = ({ label, is_point }, i) =>
  `${is_point ? 'point' : 'box'} ${i + 1}${label ? `: ${label}` : ''}`;

// Returns which part of each cell along one side lies between two places.
const overlap = (start, end, cells) =>
  indices(cells).map((cell) =>
    limited(Math.min(end * cells, cell + 1) - Math.max(start * cells, cell), 0, 1),
  );

// Returns how much of each cell a box covers, 0 to 1; of a point, 1 in the cell that holds it.
export function coverageOf({ at, is_point }, [rows, columns]) {
  const [left, top, right, bottom] = at;
  const cellOf = (place, cells) => Math.min(Math.floor(place * cells), cells - 1);
  const only = (place, cells) => indices(cells).map((cell) => Number(cell === cellOf(place, cells)));
  const high = is_point ? only(top, rows) : overlap(top, bottom, rows);
  const wide = is_point ? only(left, columns) : overlap(left, right, columns);
  return high.flatMap((part) => wide.map((other) => part * other));
}

const coverage = keptFor(coverageOf);

// Returns {share, chance, iou} of a box under a map: the share of the map inside; that of a flat map; and the overlap with
// the cells of at least `threshold` of the highest value, null for a point. A map without a value above 0 is nowhere.
export function figuresOf(box, values, grid, threshold) {
  const covered = coverage(box, grid);
  const chance = covered.reduce((sum, one) => sum + one, 0) / covered.length;
  const highest = values.reduce((most, value) => Math.max(most, value), 0);
  const sums = { heat: 0, inside: 0, hot: 0, both: 0 };
  for (let i = 0; i < covered.length && highest > 0; i++) {
    const value = Math.max(0, values[i]);
    const isHot = value >= (threshold - SAME) * highest;
    sums.heat += value;
    sums.inside += value * covered[i];
    sums.hot += isHot;
    sums.both += isHot ? covered[i] : 0;
  }
  const union = sums.hot + chance * covered.length - sums.both;
  return {
    share: sums.heat ? sums.inside / sums.heat : 0,
    chance,
    iou: box.is_point ? null : sums.both / union,
  };
}

// Returns the figures of a box in words.
export function figuresText({ share, chance, iou }) {
  const overlaps = iou === null ? '' : ` · IoU ${iou.toFixed(2)}`;
  return `${percent(share)} inside (chance ${percent(chance)})${overlaps}`;
}

// Returns what the figures are, in one sentence; `name` is whose map is shown.
export function figuresNote({ boxes }, name) {
  const inside = `inside: share of the map of ${name}; chance: the box’s part of the picture`;
  if (boxes.list.every((box) => box.is_point)) return inside.replace('the box’s part', 'one cell’s part');
  return `${inside}; IoU: overlap with ${boxes.threshold_text}`;
}

// Returns where a box is in a pane, in its pixels.
export const boxIn = (pane, { at: [left, top, right, bottom] }) => ({
  left: pane.x + left * pane.width,
  top: pane.y + top * pane.height,
  width: (right - left) * pane.width,
  height: (bottom - top) * pane.height,
});

// Returns the box whose line is at a point in device pixels, the smallest of several; null where there is none.
export function boxAt(boxes, { panes, density }, { x, y }) {
  const near = NEAR * density;
  const found = panes.flatMap((pane) =>
    boxes.filter((box) => {
      const { left, top, width, height } = boxIn(pane, box);
      const beyond = Math.max(left - x, x - left - width, top - y, y - top - height); // below 0 inside
      return Math.abs(beyond) <= near;
    }),
  );
  const area = ({ at: [left, top, right, bottom] }) => (right - left) * (bottom - top);
  return found.sort((a, b) => area(a) - area(b))[0] ?? null;
}

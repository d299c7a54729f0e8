// Layers × heads: a small map for each, a row of means first and a column of means first. Places are {row, col}.
import { headIndex, sharedRange } from './maps.js';
import { indices, limited, numberLabels, percent } from './numbers.js';

const LEFT = 40; // room for the layers' names, in pixels of the page
const TOP = 20;
const GAP = 5;
const NAMED = 40; // a map this wide has its share printed, and "head" before its number

// Returns where the maps stand in so much room: the first one's corner, the step to the next, and the size of all.
export function headsLayout(grid, picture, room) {
  const across = grid.heads + 1;
  const down = grid.layers.length + 1;
  const width = Math.floor(limited((room - LEFT) / across - GAP, 26, 104));
  const height = Math.floor(limited((width * picture.height) / picture.width, 12, 120));
  const isNamed = width >= NAMED;
  const step = { x: width + GAP, y: height + GAP + (isNamed ? 20 : 6) };
  const total = { width: LEFT + across * step.x, height: TOP + down * step.y };
  return { grid, left: LEFT, top: TOP, step, across, down, width, height, isNamed, total };
}

// Returns the corner of the map at a place.
export const headCorner = ({ left, top, step }, { row, col }) => ({
  x: left + col * step.x,
  y: top + row * step.y,
});

// Returns the place at a point in pixels of the page, or null beside the maps.
export function headAt({ left, top, step, across, down }, { x, y }) {
  const col = Math.floor((x - left) / step.x);
  const row = Math.floor((y - top) / step.y);
  return row >= 0 && row < down && col >= 0 && col < across ? { row, col } : null;
}

// Returns the place of what the shown maps are made of: 0 is the mean, null stands for a choice of several.
export function chosenHeads({ data, alone }, grid) {
  if (alone) return alone;
  const { layers, heads, head_count } = data.settings;
  const place = (numbers, all) => {
    if (numbers.length === all.length) return 0;
    return numbers.length === 1 ? all.indexOf(numbers[0]) + 1 : null;
  };
  return { row: place(layers, grid.layers), col: place(heads, indices(head_count)) };
}

// Returns the range that the colours of each map span.
export function headRanges(grid, scale) {
  const common = sharedRange([grid]);
  return grid.maps.map((_, i) => (scale === 'shared' ? common : [grid.low[i], grid.high[i]]));
}

// Returns the layer and head at a place, null for all of them.
export const headNumbers = (grid, { row, col }) => ({
  layer: row ? grid.layers[row - 1] : null,
  head: col ? col - 1 : null,
});

export function headText(grid, unit, place) {
  const { layer, head } = headNumbers(grid, place);
  const index = headIndex(grid, place);
  const [low, high] = numberLabels([grid.low[index], grid.high[index]], unit);
  const share = percent(grid.shares[place.row][place.col]);
  return (
    `${layer === null ? 'all layers' : `layer ${layer}`}, ${head === null ? 'all heads' : `head ${head}`}: ` +
    `${share} of its attention on the image, cells from ${low} to ${high}`
  );
}

// Layers × heads: a small map for each, a row of means first and a column of means first. Places are {row, col}.
import { headIndex } from './maps.js';
import { indices, limited, numbersBetween, percent } from './numbers.js';

const LEFT = 58; // room for the layers' names, in pixels of the page
const TOP = 22;
const GAP = 5;
const MAP_WIDTH = 36; // narrower ones say less than a plain square
const SQUARE = 22; // pixels of a square, at most

const LEAST_PART = 0.6; // of a map's height, where lower ones spare one from scrolling

// Returns where the maps stand in so much room: the first one's corner, the step to the next, and the size of all. They
// are lower than the picture's shape where that lets all be seen in the height there is. Where there is no room for maps,
// a plain square stands for each.
export function headsLayout(grid, picture, room, tallest = Number.POSITIVE_INFINITY) {
  const across = grid.heads + 1;
  const down = grid.layers.length + 1;
  const wide = Math.floor((room - LEFT) / across);
  const isSquares = wide - GAP < MAP_WIDTH;
  const gap = isSquares ? 2 : GAP;
  const width = isSquares ? limited(wide - gap, 10, SQUARE) : limited(wide - gap, MAP_WIDTH, 104);
  const tall = Math.floor((width * picture.height) / picture.width);
  const fitting = Math.floor((tallest - TOP) / down) - gap - 5;
  const height = isSquares ? width : limited(limited(fitting, Math.ceil(LEAST_PART * tall), tall), 12, 120);
  const step = { x: width + gap, y: height + (isSquares ? gap : gap + 5) };
  const total = { width: LEFT + across * step.x, height: TOP + down * step.y };
  return { grid, left: LEFT, top: TOP, step, across, down, width, height, isSquares, total };
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

// Returns the name at a point: {axis, at} of a layer's row or a head's column, 0 for all of them; null elsewhere.
export function headNameAt({ left, top, step, across, down }, { x, y }) {
  const col = Math.floor((x - left) / step.x);
  const row = Math.floor((y - top) / step.y);
  if (x < left && row >= 0 && row < down) return { axis: 'layers', at: row };
  if (y < top && col >= 0 && col < across) return { axis: 'heads', at: col };
  return null;
}

// Returns the name of an axis nearest to a point: the end of a drag that began at one of its names.
export function headNameNear({ left, top, step, across, down }, axis, { x, y }) {
  return axis === 'layers'
    ? limited(Math.floor((y - top) / step.y), 0, down - 1)
    : limited(Math.floor((x - left) / step.x), 0, across - 1);
}

// Returns the box {x, y, width, height} around the maps from one name to another.
export function namedBox({ left, top, step, across, down }, { axis, at }, to) {
  const all = axis === 'layers' ? down : across;
  const isAll = at === 0 || to === 0;
  const first = isAll ? 0 : Math.min(at, to);
  const count = isAll ? all : Math.abs(at - to) + 1;
  return axis === 'layers'
    ? { x: left, y: top + first * step.y, width: across * step.x, height: count * step.y }
    : { x: left + first * step.x, y: top, width: count * step.x, height: down * step.y };
}

// Returns the layers, or heads, from one name to another: {layers: […]} or {heads: […]}.
export function namedRange(grid, { axis, at }, to) {
  const all = axis === 'layers' ? [...grid.layers] : indices(grid.heads);
  if (at === 0 || to === 0) return { [axis]: all };
  const [first, last] = [Math.min(at, to), Math.max(at, to)];
  return { [axis]: numbersBetween(first, last).map((place) => all[place - 1]) };
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

// Returns why the maps are not there: not kept with the answer, on their way, or not in the file.
export function noHeadsText({ data, can }) {
  if (data.settings.heads_refused) return data.settings.heads_refused;
  return can.heads ? 'They are being fetched …' : 'They are not in this file.';
}

// Returns the layer and head at a place, null for all of them.
export const headNumbers = (grid, { row, col }) => ({
  layer: row ? grid.layers[row - 1] : null,
  head: col ? col - 1 : null,
});

// Returns the line on a place: whose map it is, how much of its attention is on the picture, and its hottest patch.
export function headText(grid, place) {
  const { layer, head } = headNumbers(grid, place);
  const values = grid.maps[headIndex(grid, place)];
  const sum = values.reduce((all, value) => all + value, 0);
  const hottest = sum > 0 ? Math.max(...values) / sum : 0;
  return (
    `${layer === null ? 'all layers' : `layer ${layer}`}, ${head === null ? 'all heads' : `head ${head}`}: ` +
    `${percent(grid.shares[place.row][place.col])} of its attention on the picture, ` +
    `${percent(hottest)} of that on one patch`
  );
}

// What maps are drawn on: planes, each a picture or one step of a clip. Maps are of all of them, one after the other; the part
// of one plane is a window into the whole map's memory, which knows its whole: shares and scales are always the whole's.
import { keptFor } from './kept.js';
import { indices } from './numbers.js';

const wholes = new WeakMap(); // a part of a map -> the whole
const partsOf = keptFor(() => new Map()); // of a map: the first patch of a plane -> its part

// Returns the map that a part belongs to; a map of one picture is its own.
export const wholeOf = (values) => wholes.get(values) ?? values;

// Returns where a part begins in its whole.
export const startOf = (values) =>
  (values.byteOffset - wholeOf(values).byteOffset) / Float32Array.BYTES_PER_ELEMENT;

// Returns the part of a map that lies on a plane.
export function partOn(whole, { first, grid: [rows, columns] }) {
  const count = rows * columns;
  if (whole.length === count) return whole;
  const parts = partsOf(whole);
  if (!parts.has(first)) {
    const part = whole.subarray(first, first + count);
    wholes.set(part, whole);
    parts.set(first, part);
  }
  return parts.get(first);
}

// Returns the planes of a payload: {visual, step, first, grid: [rows, columns], picture, time}.
export function planesOf({ visuals, pictures }) {
  return visuals
    .flatMap(({ grid: [steps, rows, columns], first, times }, visual) =>
      indices(steps).map((step) => ({
        visual,
        step,
        first: first + step * rows * columns,
        grid: [rows, columns],
        time: times[step] ?? null,
      })),
    )
    .map((plane, i) => ({ ...plane, picture: pictures[i] }));
}

// Returns the data with another plane shown: its grid and picture, and the boxes as they lie in it.
export function onPlane(data, plane) {
  const { grid, picture, visual } = data.planes[plane];
  return { ...data, plane, grid, picture, boxes: data.boxesIn[visual] };
}

export const isSeveral = ({ planes }) => planes.length > 1;

const sumOf = (values) => {
  let sum = 0;
  for (const value of values) if (value > 0) sum += value;
  return sum;
};

// Returns the share of a whole map that lies on each plane, 0 to 1; all 0 where none of it is above 0.
export const planeShares = keptFor((whole, planes) => {
  const sums = planes.map((plane) => sumOf(partOn(whole, plane)));
  const all = sums.reduce((sum, one) => sum + one, 0);
  return sums.map((one) => (all > 0 ? one / all : 0));
});

// Returns the share of a whole map that lies on each picture and clip.
export function visualShares(whole, { planes, visuals }) {
  const shares = visuals.map(() => 0);
  planeShares(whole, planes).forEach((share, i) => {
    shares[planes[i].visual] += share;
  });
  return shares;
}

// Returns the plane that most of a map lies on: of the picture or clip that has most of it, the step that has most.
export function hottestPlane(whole, data) {
  const byVisual = visualShares(whole, data);
  return hottestIn(whole, data, byVisual.indexOf(Math.max(...byVisual)));
}

// Returns the plane of one picture or clip that most of a map lies on.
export function hottestIn(whole, data, visual) {
  const shares = planeShares(whole, data.planes);
  const own = planesIn(data, visual);
  return own.reduce((best, plane) => (shares[plane] > shares[best] ? plane : best), own[0]);
}

// Returns the planes of one picture or clip.
export const planesIn = ({ planes }, visual) =>
  indices(planes.length).filter((plane) => planes[plane].visual === visual);

// Returns what all that is shown to the model is called: "picture", "pictures", "clip".
export function nounOf({ visuals }) {
  if (visuals.length > 1)
    return visuals.every(({ kind }) => kind === 'image') ? 'pictures' : 'pictures and clips';
  return visuals[0].kind === 'image' ? 'picture' : 'clip';
}

// Returns what one picture or clip is called: "picture 2", "clip 1".
export const visualName = ({ kind }, visual) => `${kind === 'image' ? 'picture' : 'clip'} ${visual + 1}`;

// Returns a time in a clip: "3.0 s", "1:05".
export function timeText(seconds) {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  return `${Math.floor(seconds / 60)}:${String(Math.floor(seconds % 60)).padStart(2, '0')}`;
}

// A closer look: a part of a picture that is asked about again beside the whole, and where its map lies in that. Boxes are
// parts of the picture's sides, [left, top, right, bottom].
import { boxIn, shownBoxes } from './boxes.js';
import { mapOf, shownPick } from './maps.js';
import { onPlane, planesIn } from './planes.js';

// Returns the picture that is shown, where one can look closer at it: {visual}; null for a clip.
export function closable({ data, can }) {
  if (!can.closer || !data) return null;
  const { visual } = data.planes[data.plane];
  return data.visuals[visual].kind === 'image' ? { visual } : null;
}

// Returns the kept region as what is looked at closer; null without one.
export function regionAsked(state) {
  const found = closable(state);
  if (!found || !state.region) return null;
  const { row, col, rows, cols } = state.region;
  const [high, wide] = state.data.grid;
  return { ...found, box: [col / wide, row / high, (col + cols) / wide, (row + rows) / high] };
}

// Returns the first box that has to do with the pick as what is looked at closer, with its name; null without one.
export function boxAsked(state) {
  const found = closable(state);
  if (!found) return null;
  const { list } = state.data.boxes;
  const number = shownBoxes(state).find((i) => !list[i].is_point);
  return number === undefined ? null : { ...found, box: list[number].at, name: `box ${number + 1}` };
}

// Returns where the crop of an answer lies in the picture that is shown; null where that is another picture, or none.
export function cropHere({ data, phase }) {
  const crop = phase === 'answered' && data ? data.crop : null;
  return crop && data.planes[data.plane].visual === crop.of ? crop : null;
}

// Returns the state as it is on the crop, whose map is drawn in its place in the whole; null where it is not.
export function stateInPlace(state) {
  const crop = state.isInPlace ? cropHere(state) : null;
  if (!crop) return null;
  const data = onPlane(state.data, planesIn(state.data, crop.visual)[0]);
  return shownPick(state) && mapOf(data, shownPick(state)) ? { ...state, data } : null;
}

// Returns where a box is in a pane, in whole pixels of it.
export function paneOf(pane, at) {
  const { left, top, width, height } = boxIn(pane, { at });
  const [x, y] = [Math.round(left), Math.round(top)];
  const size = {
    width: Math.max(1, Math.round(left + width) - x),
    height: Math.max(1, Math.round(top + height) - y),
  };
  return { ...pane, x, y, ...size };
}

// What a person does, as changes of the state, what is drawn anew for each, and what the page around is told.
// `viewer` is what mount.js puts together: {state, host, redraw, …}.
import { isSameCell } from '../state/geometry.js';
import { headNumbers } from '../state/heads.js';
import { headsOf } from '../state/maps.js';
import { limited } from '../state/numbers.js';
import { between, keyOf, pickOf } from '../state/picks.js';

export function show({ state, host, redraw }, pick, byPerson) {
  const key = keyOf(state.data, pick);
  if (key === keyOf(state.data, state.picked)) return;
  state.picked = pick;
  redraw.marks();
  redraw.pick();
  if (byPerson && pick) host.onPick({ ...pick, key });
}

// Picks one word, or with `extend` all words from where the range began.
export function choose(viewer, pick, extend = false) {
  const { state } = viewer;
  const isRange = extend && state.anchor && state.anchor.of_prompt === pick.of_prompt;
  if (!isRange) state.anchor = pick;
  show(viewer, isRange ? between(state.anchor, pick) : pick, true);
}

export function chooseWhole(viewer) {
  viewer.state.anchor = null;
  show(viewer, pickOf(viewer.state.data, null), true);
}

export function preview({ state, redraw }, pick) {
  if (keyOf(state.data, pick) === keyOf(state.data, state.previewed)) return;
  state.previewed = pick;
  redraw.map();
}

export function point({ state, redraw }, cell) {
  if (isSameCell(cell, state.cursor)) return;
  state.cursor = cell;
  if (cell && !state.region) redraw.ranking();
  redraw.map();
}

export function keepRegion({ state, redraw }, region) {
  state.region = region;
  if (!region) state.regionAnchor = null;
  redraw.ranking();
  redraw.map();
}

export function setLook({ state, host, redraw }, changes, byPerson) {
  state.look = { ...state.look, ...changes };
  redraw.look();
  if (byPerson) host.onChange?.({ look: { ...state.look } });
}

export function setGranularity({ state, redraw }, granularity) {
  state.granularity = granularity;
  redraw.words();
}

export function moveDivider({ state, redraw }, to) {
  state.divider = limited(to, 0, 1);
  redraw.map();
}

export function showAlone({ state, host, redraw }, place) {
  const grid = headsOf(state, state.picked);
  if (!grid) return;
  Object.assign(state, { headsCursor: place, alone: place });
  redraw.map();
  redraw.heads();
  host.onChange?.(headNumbers(grid, place));
}

export function showAllHeads({ state, host, redraw }) {
  state.alone = null;
  redraw.map();
  redraw.panels();
  host.onChange?.({ layer: null, head: null });
}

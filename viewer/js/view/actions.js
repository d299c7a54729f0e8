// What a person does, as changes of the state, what is drawn anew for each, and what the page around is told.
// `viewer` is what mount.js puts together: {state, host, redraw, …}.
import { cropHere } from '../state/closer.js';
import { isSameCell } from '../state/geometry.js';
import { headsOf, mapOf, wholeMapOf } from '../state/maps.js';
import { limited } from '../state/numbers.js';
import { between, keyOf, pickOf } from '../state/picks.js';
import { hottestIn, planesIn } from '../state/planes.js';
import { controlsOf, following, onPlaneOf } from '../state/state.js';
import { isThought, saidPick } from '../state/thoughts.js';

export function show(viewer, pick, byPerson) {
  const { state, host, redraw } = viewer;
  if (byPerson) state.isOwnPick = true;
  const key = keyOf(state.data, pick);
  refuse(viewer, '');
  if (key === keyOf(state.data, state.picked)) return;
  state.picked = pick;
  const { plane } = state.data;
  Object.assign(state, following(state));
  redraw.marks();
  redraw.pick();
  if (state.data.plane !== plane) redraw.plane();
  if (!byPerson || !pick) return;
  host.onPick({ ...pick, key });
  if (!mapOf(state.data, pick)) want(viewer, {}); // this one first
}

// Says above the words why something that was typed cannot be picked; an empty text takes that back.
export function refuse({ state, redraw }, text) {
  if (text === state.refusal) return;
  state.refusal = text;
  redraw.changed({ refusal: text }, false);
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

// Opens the answer's thoughts, or folds them away; a word of them is no longer picked then.
export function unfold(viewer, isUnfolded) {
  const { state, redraw } = viewer;
  state.isUnfolded = isUnfolded;
  if (!isUnfolded && state.picked && isThought(state.data, state.picked))
    choose(viewer, saidPick(state.data));
  redraw.marks();
}

export function preview({ state, redraw }, pick) {
  if (!state.data || keyOf(state.data, pick) === keyOf(state.data, state.previewed)) return;
  state.previewed = pick;
  redraw.map();
}

export function point({ state, redraw }, cell) {
  if (isSameCell(cell, state.cursor)) return;
  state.cursor = cell;
  redraw.lit();
  redraw.map();
}

// Shows one picture, or one moment of a clip; it stays, whatever is picked, until it is let go.
export function showPlane(viewer, plane) {
  const { state, redraw } = viewer;
  Object.assign(state, { isOwnPlane: true, ...onPlaneOf(state, plane) });
  redraw.plane();
}

// Shows one picture, or of a clip the moment that most of the map lies on. The one that a person chose is let go again.
export function showVisual(viewer, visual) {
  const { state, redraw } = viewer;
  if (state.phase !== 'answered' || !state.data) {
    state.sourceAt = visual;
    redraw.plane();
    return;
  }
  const { data } = state;
  if (state.isOwnPlane && data.planes[data.plane].visual === visual) {
    state.isOwnPlane = false;
    Object.assign(state, following(state));
    redraw.plane();
    return;
  }
  const whole = state.picked && wholeMapOf(data, state.picked);
  showPlane(viewer, whole ? hottestIn(whole, data, visual) : planesIn(data, visual)[0]);
}

// Draws the map of a closer look in its place in the whole picture, or no longer.
export function showInPlace(viewer) {
  const { state, redraw } = viewer;
  state.isInPlace = !state.isInPlace;
  if (state.isInPlace && !cropHere(state)) showPlane(viewer, planesIn(state.data, state.data.crop.of)[0]);
  else redraw.map();
}

export function keepRegion({ state, redraw }, region) {
  state.region = region;
  if (!region) state.regionAnchor = null;
  redraw.lit();
  redraw.map();
}

export function setLook({ state, host, redraw }, changes, byPerson) {
  state.look = { ...state.look, ...changes };
  redraw.look();
  if (byPerson) host.onLook({ ...state.look });
}

export function setGranularity({ state, redraw }, granularity) {
  state.granularity = granularity;
  redraw.words();
}

export function moveDivider({ state, redraw }, to) {
  state.divider = limited(to, 0, 1);
  redraw.map();
}

export function openTab({ state, redraw, pinned }, tab) {
  state.tab = tab;
  redraw.panels();
  pinned.come('panels');
}

// Asks the page for maps by other controls: some of {method, layers, heads, aggregation, no_sinks}.
export function want({ state, host, redraw }, changes) {
  if (!state.can.maps) return;
  state.wanted = { ...(state.wanted ?? controlsOf(state)), ...changes };
  redraw.wanted();
  host.ask('maps', state.wanted);
}

// Shows one place in layers × heads in the picture; `keep` makes it the layers and heads of every map.
export function showAlone(viewer, place, keep) {
  const { state, redraw } = viewer;
  const grid = headsOf(state, state.picked);
  if (!grid) return;
  if (!keep) {
    state.aloneSeen = place;
    redraw.map();
    return;
  }
  Object.assign(state, { headsCursor: place, alone: place, aloneSeen: null });
  redraw.map();
  redraw.heads();
  want(viewer, {
    method: 'attention',
    layers: place.row ? [grid.layers[place.row - 1]] : [...grid.layers],
    heads: place.col ? [place.col - 1] : null,
  });
}

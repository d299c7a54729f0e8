// The one state of a viewer: plain data, and what becomes of it when data come from outside. Everything that is drawn or
// said is a function of it.
import { shownMap, shownPick } from './maps.js';
import { decoded, withMaps, withWeights } from './packing.js';
import { keyOf, pickOf } from './picks.js';

export const newState = (isLive) => ({
  isLive, // whether a page answers: gives layers × heads that are asked for, and maps of other layers and heads
  data: null, // the payload, its maps as Float32Arrays
  look: {}, // {colormap, opacity, contrast, view, cells, scale}
  granularity: 'words', // or 'tokens'
  picked: null, // {tokens, of_prompt}
  previewed: null, // the pick under the pointer
  divider: 0.5, // of the wipe
  layout: { panes: [], density: 1 }, // what layoutOf() returned
  barWidth: 0, // pixels of the colour bar
  frames: 0, // drawn so far
  drawMs: 0, // what the last one took
  ...ofOneAnswer(),
});

// Returns the part of the state that is of no use with another answer.
const ofOneAnswer = () => ({
  anchor: null, // the pick where a range of words began
  region: null, // {row, col, rows, cols} that is kept
  regionAnchor: null, // the cell where a region marked by keys began
  cursor: null, // {row, col} under the pointer or the keys
  alone: null, // {row, col} in layers × heads: what of it is shown alone
  heads: new Map(), // key of a pick -> its layers × heads
  headsCursor: { row: 0, col: 0 },
  headsLayout: null, // what headsLayout() returned for the layers × heads that were drawn last
  headsWanted: '', // key of the pick whose layers × heads were asked for last
});

const sameAnswer = (a, b) =>
  a.picture.url === b.picture.url &&
  a.answer.text === b.answer.text &&
  a.prompt.text === b.prompt.text &&
  a.settings.model === b.settings.model &&
  `${a.answer.tokens}` === `${b.answer.tokens}`;

function headsWith(state, data, given) {
  const added = [given].flat().map((one) => [keyOf(data, one.pick), withMaps(one)]);
  return new Map([...state.heads, ...added]);
}

// Returns the state with another payload. One of the same answer, with maps of other layers or heads, keeps what a
// person did.
export function withPayload(state, raw) {
  const isSame = state.data !== null && sameAnswer(state.data, raw);
  const data = decoded(raw);
  const kept = isSame
    ? { ...state, alone: null, headsWanted: '' }
    : { ...state, ...ofOneAnswer(), previewed: null };
  return {
    ...kept,
    data,
    heads: headsWith(kept, data, raw.heads ?? []),
    picked: pickOf(data, isSame && state.picked ? state.picked : raw.pick),
    look: state.look.view ? state.look : { contrast: 0, ...raw.look },
  };
}

// Returns the state with some of {heads, leaned, look}.
export function withChanges(state, { heads, leaned, look }) {
  const { data } = state;
  return {
    ...state,
    data: leaned === undefined ? data : { ...data, leaned: withWeights(leaned) },
    heads: heads ? headsWith(state, data, heads) : state.heads,
    look: { ...state.look, ...look },
  };
}

// Returns what is picked, shown, pointed at, and how it is drawn, for the page around the viewer.
export function publicState(state) {
  const { data, picked, region, cursor, alone } = state;
  const { values, range } = shownMap(state);
  return {
    pick: picked && { ...picked, key: keyOf(data, picked) },
    shown: keyOf(data, shownPick(state)),
    granularity: state.granularity,
    look: { ...state.look },
    region: region && { ...region },
    cursor: cursor && { ...cursor },
    alone: alone && { ...alone },
    range: [...range],
    values: values && [...values],
    panes: state.layout.panes.map((pane) => ({ ...pane })),
    divider: state.divider,
    frames: state.frames,
    drawMs: state.drawMs,
  };
}

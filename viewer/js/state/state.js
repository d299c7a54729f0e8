// The one state of a viewer: plain data, and what becomes of it when data come from outside. Everything that is drawn or
// said is a function of it.
import { firstPick } from './first.js';
import { shownMap, shownPick, wholeMapOf } from './maps.js';
import { decoded, withMaps, withWeights } from './packing.js';
import { keyOf, pickOf } from './picks.js';
import { hottestPlane, isSeveral, onPlane, visualShares } from './planes.js';

export const newState = (can) => ({
  can, // what the page around answers to: {maps, heads, test, compare, stop, hide}; nothing in a file
  data: null, // the payload, its maps as Float32Arrays
  look: { colormap: 'glow', opacity: 1, contrast: 0, view: 'overlay', cells: 'smooth', scale: 'own' },
  hasLook: false, // whether a payload said how to begin
  granularity: 'words', // or 'tokens'
  picked: null, // {tokens, of_prompt}
  previewed: null, // the pick under the pointer
  divider: 0.5, // of the wipe
  tab: 'test', // of the panels
  isWide: false, // whether the left side has more room
  layout: { panes: [], density: 1 }, // what layoutOf() returned
  frames: 0, // drawn so far
  drawMs: 0, // what the last one took
  sources: [], // [{url, width, height, name}]: the pictures that are chosen, which need not be the answer's
  sourceAt: 0, // which of them is shown
  turns: [], // [{prompt, text, id}] of the conversation, in their order; text is null of one that is being answered
  turn: 0, // which of them is shown
  parent: null, // {id, prompt, text, of}: the answer that this one asks again, and what it was without
  isFollowing: false, // whether the next question follows the answer that is shown
  phase: 'empty', // or 'waiting', 'reading', 'writing', 'answered', 'stale'
  progress: null, // of the answer: {text, count, limit, seconds, ahead, plan, note}
  work: null, // of what the model does beside: {part, title, done, count, seconds, ahead}
  notice: null, // {kind, text, action}: one line above the words
  refusal: '', // why what was typed is no pick; it stands there in the notice's place
  ...ofOneAnswer(),
});

// Returns the part of the state that is of no use with another answer.
const ofOneAnswer = () => ({
  isUnfolded: false, // whether the answer's thoughts were opened
  isOwnPick: false, // whether a person picked, so that nothing else may
  isInPlace: false, // whether the map of a closer look is drawn in its place in the whole picture
  isOwnPlane: false, // whether a person chose the picture or moment that is shown: else it follows the pick
  anchor: null, // the pick where a range of words began
  region: null, // {row, col, rows, cols} that is kept
  regionAnchor: null, // the cell where a region marked by keys began
  cursor: null, // {row, col} under the pointer or the keys
  alone: null, // {row, col} in layers × heads: what of it is shown alone
  aloneSeen: null, // the same under the pointer
  heads: new Map(), // key of a pick -> its layers × heads
  headsCursor: { row: 0, col: 0 },
  headsLayout: null, // what headsLayout() returned for the layers × heads that were drawn last
  headsWanted: '', // key of the pick whose layers × heads were asked for last
  checks: [], // tests of maps, the newest last
  compared: new Map(), // key of a pick -> [{name, map, low, high}], its map by each method that is known
  wanted: null, // controls that were asked for and are not shown yet: {method, layers, heads, aggregation, no_sinks}
});

const isSameAnswer = (a, b) =>
  a.pictures.length === b.pictures.length &&
  a.pictures.every(({ url }, i) => url === b.pictures[i].url) &&
  a.answer.text === b.answer.text &&
  a.prompt.text === b.prompt.text &&
  a.settings.model === b.settings.model &&
  a.turns.length === b.turns.length &&
  `${a.answer.tokens}` === `${b.answer.tokens}`;

// Returns the conversation as the answer itself knows it.
const turnsOf = ({ turns, prompt, answer }) => ({
  turns: [...turns, { prompt: prompt.text, text: answer.text }],
  turn: turns.length,
});

function headsWith(state, data, given) {
  const added = [given].flat().map((one) => [keyOf(data, one.pick), withMaps(one)]);
  return new Map([...state.heads, ...added]);
}

// Returns the pick of a new payload: of the same answer that of before, else what it says, or the most telling word.
function pickedIn(state, data, { raw, isSame }) {
  if (state.picked && isSame) return pickOf(data, state.picked);
  if (raw.pick) return pickOf(data, raw.pick);
  return firstPick(data) ?? pickOf(data, null);
}

// Returns the state with another payload. One of the same answer, with maps of other layers or heads, keeps what a
// person did.
export function withPayload(state, raw) {
  const isSame = state.data !== null && isSameAnswer(state.data, raw);
  const fresh = decoded(raw);
  const data = isSame ? onPlane(fresh, state.data.plane) : fresh;
  const kept = isSame
    ? { ...state, alone: null, aloneSeen: null }
    : { ...state, ...ofOneAnswer(), previewed: null };
  return following({
    ...kept,
    data,
    ...(isSame ? {} : turnsOf(data)),
    heads: headsWith(kept, data, raw.heads ?? []),
    checks: joined(kept.checks, raw.checks ?? []),
    picked: pickedIn(kept, data, { raw, isSame }),
    phase: 'answered',
    refusal: '',
    progress: null,
    look: state.hasLook ? state.look : { contrast: 0, ...raw.look },
    hasLook: true,
  });
}

// Returns the state with the picture, and the moment of a clip, where most of the picked map lies; of several, unless a person
// chose one.
export function following(state) {
  const { data, picked, isOwnPlane } = state;
  const whole = data && picked && !isOwnPlane && isSeveral(data) ? wholeMapOf(data, picked) : null;
  return whole ? { ...state, ...onPlaneOf(state, hottestPlane(whole, data)) } : state;
}

// Returns what changes as another plane is shown: what was pointed at or kept was a part of the one before.
export function onPlaneOf({ data }, plane) {
  return data.plane === plane
    ? {}
    : { data: onPlane(data, plane), region: null, regionAnchor: null, cursor: null };
}

const isSameCheck = (a, b) => a.map_key === b.map_key && `${a.tokens}` === `${b.tokens}`;

const WISHES = ['method', 'layers', 'heads', 'aggregation', 'no_sinks'];
const isSameWish = (a, b) =>
  Boolean(a && b) && WISHES.every((name) => JSON.stringify(a[name]) === JSON.stringify(b[name]));

const joined = (checks, added) => [
  ...checks.filter((one) => !added.some((other) => isSameCheck(one, other))),
  ...added,
];

// Returns the state with some of {heads, look, without, check, compared, phase, progress, work, notice, sources, turns, turn,
// parent, isFollowing, ended}.
export function withChanges(state, changes) {
  const { heads, look, without, check, compared, leaned, ended, ...plain } = changes;
  const next = { ...state, ...plain };
  if (isSameWish(ended, state.wanted)) next.wanted = null;
  if (heads) next.heads = headsWith(state, state.data, heads);
  if (look) next.look = { ...state.look, ...look };
  if (leaned !== undefined) next.data = { ...next.data, leaned: withWeights(leaned) };
  if (without) {
    next.data = { ...next.data, answer: { ...next.data.answer, without } };
    if (!state.isOwnPick && !state.data.pick) next.picked = firstPick(next.data) ?? state.picked;
    Object.assign(next, following(next));
  }
  if (check) next.checks = joined(state.checks, [check]);
  if (compared) {
    const known = state.compared.get(compared.key) ?? [];
    const others = known.filter((one) => one.name !== compared.name);
    next.compared = new Map([...state.compared, [compared.key, [...others, withMaps(compared)]]]);
  }
  return next;
}

// Returns the controls that the shown maps were made with.
export function controlsOf({ data }) {
  const { settings, method } = data;
  return {
    method: method.id,
    layers: settings.layers.length ? settings.layers : data.layers,
    heads: settings.heads,
    aggregation: settings.aggregation ?? 'mean',
    no_sinks: data.removed.length > 0,
  };
}

// Returns what is picked, shown, pointed at, and how it is drawn, for the page around the viewer.
export function publicState(state) {
  const { data, picked, region, cursor, alone } = state;
  const base = {
    phase: state.phase,
    granularity: state.granularity,
    look: { ...state.look },
    region: region && { ...region },
    cursor: cursor && { ...cursor },
    alone: alone && { ...alone },
    panes: state.layout.panes.map((pane) => ({ ...pane })),
    divider: state.divider,
    tab: state.tab,
    frames: state.frames,
    drawMs: state.drawMs,
  };
  if (!data) return { ...base, pick: null, shown: '', wanted: null, range: [0, 0], values: null };
  const { values, range } = shownMap(state);
  const whole = shownPick(state) && wholeMapOf(data, shownPick(state));
  return {
    ...base,
    pick: picked && { ...picked, key: keyOf(data, picked) },
    shown: keyOf(data, shownPick(state)),
    wanted: state.wanted ?? controlsOf(state),
    range: [...range],
    values: values && [...values],
    plane: data.plane,
    visualShares: whole && visualShares(whole, data),
  };
}

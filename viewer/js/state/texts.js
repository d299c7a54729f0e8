// What is said of a pick, of the map that is shown, and of places in it.
import { boxNameOf } from './boxes.js';
import { isOneCell } from './geometry.js';
import { shareOf } from './glow.js';
import { aloneIn, alonePlace, highestCell, massIn, shownPick, valueAt } from './maps.js';
import { asRanges, indices, numberLabels, percent, probabilityText, rangeOf } from './numbers.js';
import { isWhole, segmentsIn, sideOf } from './picks.js';
import { isSeveral, nounOf, timeText, visualName } from './planes.js';
import { meanShares } from './shares.js';
import { isSaid } from './thoughts.js';

// Returns the segments of a text, "answer" or "prompt", by words or by tokens.
export const segmentsOf = (state, name) => segmentsIn(state.data[name], state.granularity);

function textOf(state, pick) {
  const box = boxNameOf(state.data, pick);
  if (box) return box;
  const segments = segmentsOf(state, pick.of_prompt ? 'prompt' : 'answer');
  const segment = segments.find((one) => one.tokens && `${one.tokens}` === `${pick.tokens}`);
  if (segment?.text.trim()) return segment.text;
  const { tokens } = sideOf(state.data, pick);
  const text = pick.tokens.map((token) => tokens[token]).join('');
  return text.trim() || '␣';
}

const several = (name, numbers) => `${name}${numbers.length > 1 ? 's' : ''} ${asRanges(numbers)}`;

// Returns what is said of the shown method: one of the payload's `methods`.
export const methodRow = (data) => data.methods.find((one) => one.name === data.method.id);

// Returns whether the shown maps are those that a method was measured by: of every layer and head, and with nothing left out.
export function isAsMeasured({ settings, layers, removed }) {
  if (removed.length) return false;
  if (!settings.aggregation) return true;
  const isAllOf = settings.layers.length === layers.length && settings.heads.length === settings.head_count;
  return isAllOf && settings.aggregation === 'mean';
}

// Returns whether a pick is all of an answer of several words.
export function isAll({ data }, pick) {
  return isWhole(data, pick) && data.answer.words.filter(({ tokens }) => tokens).length > 1;
}

// Returns what is picked as it is said in a sentence: “heart”, or “the whole answer”.
export function quoted(state, pick) {
  if (isAll(state, pick)) return 'the whole answer';
  return isSaid(state.data, pick) ? 'the answer' : `“${textOf(state, pick)}”`;
}

export function nameOf(state, pick) {
  if (isWhole(state.data, pick)) return `The whole answer (${pick.tokens.length} tokens)`;
  if (isSaid(state.data, pick)) return `The answer without its thoughts (${pick.tokens.length} tokens)`;
  return `“${textOf(state, pick)}” (${pick.of_prompt ? 'question ' : ''}${several('token', pick.tokens)})`;
}

// Returns the line on what a pick attended to, and how likely the model found it.
export function captionOf(state, pick = shownPick(state)) {
  if (!pick) return 'The answer is empty: there is no word to show.';
  const side = sideOf(state.data, pick);
  const grid = aloneIn(state, pick);
  const [image, prompt, answer] = meanShares(side.shares, pick.tokens).map(percent);
  const rest = pick.of_prompt ? `prompt ${prompt}` : `prompt ${prompt}, answer so far ${answer}`;
  const goes = `of its attention on the ${isSeveral(state.data) ? nounOf(state.data) : 'image'}`;
  const texts = [nameOf(state, pick)];
  if (grid) texts.push(`${percent(grid.shares[alonePlace(state).row][alonePlace(state).col])} ${goes}`);
  else texts.push(`${image} ${goes} (${rest})`);
  if (!pick.of_prompt && !isWhole(state.data, pick)) {
    const p = pick.tokens.reduce((product, token) => product * side.probabilities[token], 1);
    const text = probabilityText(p);
    texts.push(text.startsWith('<') ? `p < ${text.slice(1)}` : `p = ${text}`);
  }
  return texts.join(' · ');
}

// Returns the layers and heads that the shown map is made of: all that one place in layers × heads stands for, or those
// that were chosen.
function sourcesOf(state, grid) {
  if (!grid) return state.data.settings;
  const alone = alonePlace(state);
  return {
    layers: alone.row ? [grid.layers[alone.row - 1]] : grid.layers,
    heads: alone.col ? [alone.col - 1] : indices(grid.heads),
  };
}

// Returns the line on what the shown map is made of.
export function madeOf(state) {
  const pick = shownPick(state);
  const { method, settings } = state.data;
  const grid = aloneIn(state, pick);
  const { layers, heads } = sourcesOf(state, grid);
  const texts = [grid ? 'attention' : method.name];
  if (layers.length) texts.push(several('layer', layers));
  if (heads.length) texts.push(several('head', heads));
  if (settings.aggregation) texts.push(grid ? 'mean' : settings.aggregation);
  if (pick.tokens.length > 1) texts.push(`mean of ${pick.tokens.length} tokens`);
  return texts.join(' · ');
}

// Returns the name of a cell or region; rows and columns are counted from 1.
export function placeOf({ row, col, rows = 1, cols = 1 }) {
  const span = (name, first, count) =>
    count > 1 ? `${name}s ${first + 1}–${first + count}` : `${name} ${first + 1}`;
  return `${span('row', row, rows)}, ${span('column', col, cols)}`;
}

// Returns the cell whose value is told: the one under the pointer or the keys, or the only one of the kept region.
export function seenCell({ cursor, region }) {
  return cursor || (region && isOneCell(region) ? region : null);
}

// Returns whether values are told as shares of the map, which the glow shows, and not as they are.
export const isByShare = ({ look }) => look.colormap === 'glow';

// Returns a cell's name and its value: its share of the map, or with a colour map the value itself, with a figure more
// than the colour bar has.
export function cellText(state, { values, range }, cell) {
  const value = valueAt(state.data, values, cell);
  if (isByShare(state)) return `${placeOf(cell)}: ${percent(shareOf(values, value))} of the map`;
  const labels = numberLabels([...range, value], state.data.method.unit, 4);
  return `${placeOf(cell)}: ${labels[2]}`;
}

// Returns the shown map's lowest and highest value as text. The colours may span more: the range of all maps.
function endsOf({ data }, { values }) {
  return numberLabels(rangeOf(values), data.method.unit);
}

// Returns the line under the picture: of a cell, of a region, or of the highest cell.
export function readoutOf(state, shown) {
  const { data, region } = state;
  const seen = seenCell(state);
  if (seen) return cellText(state, shown, seen);
  if (region) return `${placeOf(region)}: ${percent(massIn(data, shown.values, region))} of this map`;
  return `Highest at ${placeOf(highestCell(data, shown.values))}: ${endsOf(state, shown)[1]}`;
}

// Returns what is shown of several: "picture 2", "clip 1 at 3.0 s".
function placeName(data) {
  if (!isSeveral(data)) return 'the picture';
  const { visual, time } = data.planes[data.plane];
  const name = visualName(data.visuals[visual], visual);
  return time === null ? name : `${name} at ${timeText(time)}`;
}

// Returns what the picture is called for those who do not see it.
export function pictureLabel(state, shown) {
  if (!shown.values) return 'The picture';
  const [rows, columns] = state.data.grid;
  const place = highestCell(state.data, shown.values);
  const name = nameOf(state, shownPick(state));
  const start = `Map of ${name} over ${placeName(state.data)}, ${rows} rows by ${columns} columns`;
  if (isByShare(state)) return `${start}; hottest at ${cellText(state, shown, place)}.`;
  const [low, high] = endsOf(state, shown);
  return `${start}, from ${low} to ${high}; highest at ${placeOf(place)}.`;
}

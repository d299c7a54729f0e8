import assert from 'node:assert/strict';
import { test } from 'node:test';
import { shownMap } from '../../viewer/js/state/maps.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import {
  captionOf,
  cellText,
  madeOf,
  methodRow,
  nameOf,
  pictureLabel,
  placeOf,
  quoted,
  readoutOf,
  seenCell,
} from '../../viewer/js/state/texts.js';
import { headsOf, payload } from './made.js';

const plain = (text) => text.replaceAll('\u00a0', ' ');
const stateOf = (changes = {}, raw = {}) => ({
  ...withPayload(newState({}), payload(raw)),
  ...changes,
});
const pick = (tokens, of_prompt = false) => ({ tokens, of_prompt });
const shared = (state) => ({ ...state, look: { ...state.look, scale: 'shared' } });
const readout = (state) => plain(readoutOf(state, shownMap(state)));

test('a pick is named by its word, its tokens and their numbers', () => {
  const state = stateOf();
  assert.equal(nameOf(state, pick([2, 3])), '“cat” (tokens 2–3)');
  assert.equal(nameOf(state, pick([1, 2])), '“red c” (tokens 1–2)');
  assert.equal(nameOf({ ...state, granularity: 'tokens' }, pick([3])), '“at” (token 3)');
  assert.equal(nameOf(state, pick([1], true)), '“ is” (question token 1)');
  assert.equal(nameOf(state, pick([0, 1, 2, 3])), 'The whole answer (4 tokens)');
});

test('a caption has the mean shares, and how likely the tokens were together', () => {
  const state = stateOf();
  const goes = 'of its attention on the image';
  assert.equal(
    plain(captionOf(state, pick([2, 3]))),
    `“cat” (tokens 2–3) · 35 % ${goes} (prompt 20 %, answer so far 45 %) · p = 0.25`,
  );
  assert.match(captionOf(state, pick([1])), / · p = 0\.001$/);
  state.data.answer.probabilities[1] = 0.0004;
  assert.match(captionOf(state, pick([1])), / · p < 0\.001$/);
  assert.equal(
    plain(captionOf(state, pick([1], true))),
    `“ is” (question token 1) · 5.0 % ${goes} (prompt 95 %)`,
  );
  assert.match(captionOf(state, null), /answer is empty/);
});

test('one head alone is told with its own share, layer and number', () => {
  const state = stateOf({ picked: pick([1]), alone: { row: 2, col: 4 } }, { heads: [headsOf([1])] });
  assert.match(plain(captionOf(state)), /· 18 % of its attention on the image ·/);
  assert.equal(madeOf(state), 'attention · layer 8 · head 3 · mean');
  assert.equal(madeOf({ ...state, alone: { row: 0, col: 0 } }), 'attention · layers 3, 8 · heads 0–5 · mean');
});

test('what a map is made of are the chosen layers and heads, folded, over its tokens', () => {
  assert.equal(
    madeOf(stateOf({ picked: pick([2, 3]) })),
    'attention · layers 3, 8 · heads 0–5 · max · mean of 2 tokens',
  );
  const settings = { model: 'made', layers: [], heads: [], head_count: 6, aggregation: null };
  assert.equal(madeOf(stateOf({ picked: pick([0]) }, { settings })), 'attention');
});

test('in a sentence a pick is its word alone', () => {
  const state = stateOf();
  assert.equal(quoted(state, pick([2, 3])), '“cat”');
  assert.equal(quoted(state, pick([0, 1, 2, 3])), 'the whole answer');
  assert.equal(methodRow(state.data).short, 'Fast');
});

test('cells and regions are named from 1, as people count', () => {
  assert.equal(placeOf({ row: 2, col: 4 }), 'row 3, column 5');
  assert.equal(placeOf({ row: 0, col: 1, rows: 2, cols: 3 }), 'rows 1–2, columns 2–4');
});

test('the highest value that is told is the map’s own, also where the colours span all maps', () => {
  const own = stateOf({ picked: pick([0]) });
  assert.deepEqual(shownMap(shared(own)).range, [-0.1, 0.5]);
  for (const state of [own, shared(own)]) {
    assert.equal(readout(state), 'Highest at row 3, column 5: 9.00 %');
    assert.equal(
      plain(pictureLabel(state, shownMap(state))),
      'Map of “A” (token 0) over the picture, 3 rows by 5 columns, from 0 % to 9.00 %; highest at row 3, column 5.',
    );
  }
});

test('the highest value of one head alone is its own too', () => {
  const state = stateOf({ picked: pick([1]), alone: { row: 0, col: 1 } }, { heads: [headsOf([1])] });
  for (const one of [state, shared(state)]) assert.equal(readout(one), 'Highest at row 1, column 2: 2.00 %');
});

test('a cell that is pointed at is told before a region, a region before the highest', () => {
  const region = { row: 0, col: 0, rows: 1, cols: 3 };
  const state = stateOf({ picked: pick([0]), region });
  assert.equal(readout(state), 'row 1, columns 1–3: 25 % of this map'); // 0.06 of 0.24
  assert.equal(readout({ ...state, cursor: { row: 0, col: 2 } }), 'row 1, column 3: 3.000 %');
  assert.deepEqual(seenCell({ cursor: null, region: { row: 1, col: 2, rows: 1, cols: 1 } }).col, 2);
  assert.equal(seenCell(state), null);
  assert.equal(plain(cellText(state, shownMap(state), { row: 0, col: 0 })), 'row 1, column 1: 1.000 %');
});

test('under the glow a value is told as its share of the map', () => {
  const glow = { ...payload().look, colormap: 'glow' };
  const state = stateOf({ picked: pick([0]), look: glow }); // 0.01 … 0.05 and 0.09 of 0.24
  assert.equal(
    plain(cellText(state, shownMap(state), { row: 0, col: 1 })),
    'row 1, column 2: 8.3 % of the map',
  );
  assert.equal(
    plain(pictureLabel(state, shownMap(state))),
    'Map of “A” (token 0) over the picture, 3 rows by 5 columns; hottest at row 3, column 5: 38 % of the map.',
  );
});

test('an empty answer has a picture and no more', () => {
  const state = stateOf({ picked: null });
  assert.equal(pictureLabel(state, shownMap(state)), 'The picture');
});

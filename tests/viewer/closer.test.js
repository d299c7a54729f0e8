import assert from 'node:assert/strict';
import test from 'node:test';
import {
  boxAsked,
  closable,
  cropHere,
  paneOf,
  regionAsked,
  stateInPlace,
} from '../../viewer/js/state/closer.js';
import { nextSteps } from '../../viewer/js/state/next.js';
import { newState, withChanges, withPayload } from '../../viewer/js/state/state.js';
import { checkOf, payload, severalPayload } from './made.js';

const CROP = { visual: 1, of: 0, box: [0.25, 0.5, 0.75, 1] };
const stateOf = (raw, can = { closer: true }) => withPayload(newState(can), raw);

test('a closer look is at a picture, where the page can ask again', () => {
  assert.deepEqual(closable(stateOf(payload())), { visual: 0 });
  assert.equal(closable(stateOf(payload(), {})), null);
  assert.equal(closable(newState({ closer: true })), null);
  const clip = payload({ visuals: [{ ...payload().visuals[0], kind: 'video', times: [0] }] });
  assert.equal(closable(stateOf(clip)), null);
});

test('a region is asked about in parts of the picture’s sides', () => {
  const state = stateOf(payload());
  assert.equal(regionAsked(state), null);
  const [rows, columns] = state.data.grid;
  const { box } = regionAsked({ ...state, region: { row: 1, col: 2, rows: 2, cols: 1 } });
  assert.deepEqual(box, [2 / columns, 1 / rows, 3 / columns, 3 / rows]);
});

test('the box of the picked words is offered first, a point never', () => {
  const at = [0.1, 0.2, 0.5, 0.6];
  const list = [
    { at: [0.1, 0.1, 0.1, 0.1], is_point: true, tokens: [1] },
    { at, is_point: false, tokens: [1, 2] },
  ];
  const boxes = [{ ...payload().boxes[0], list }];
  const state = stateOf(payload({ boxes, pick: '1' }));
  assert.deepEqual(boxAsked(state), { visual: 0, box: at, name: 'box 2' });
  assert.equal(nextSteps(state)[0].text, 'Crop to box 2 and ask again');
  assert.equal(boxAsked(stateOf(payload({ boxes, pick: 'all' }))), null);
});

test('without a box it is offered where a map holds, and not of an answer that has a crop', () => {
  const holds = (raw) => withChanges(stateOf(payload({ ...raw, pick: '1' })), { check: checkOf([1]) });
  const kinds = (state) => nextSteps(state).map(({ kind }) => kind);
  assert.ok(kinds(holds({})).includes('closer'));
  assert.ok(!kinds(holds({ crop: CROP })).includes('closer'));
  assert.ok(!kinds(stateOf(payload({ pick: '1' }))).includes('closer'));
});

test('the crop lies in the picture that it was cut from, and its map can be drawn there', () => {
  const state = { ...stateOf(severalPayload({ crop: CROP })), isOwnPlane: true };
  const first = { ...state, data: { ...state.data, ...onFirst(state) } };
  assert.deepEqual(cropHere(first), CROP);
  assert.equal(cropHere({ ...first, phase: 'writing' }), null);
  assert.equal(stateInPlace(first), null);
  const inPlace = stateInPlace({ ...first, isInPlace: true });
  assert.equal(inPlace.data.planes[inPlace.data.plane].visual, 1);
  assert.equal(cropHere(inPlace), null);
});

const onFirst = ({ data }) => ({ plane: 0, grid: data.planes[0].grid, picture: data.planes[0].picture });

test('the crop’s pane is where its pixels are, and never without width', () => {
  const pane = { x: 10, y: 20, width: 400, height: 200, kind: 'overlay' };
  assert.deepEqual(paneOf(pane, CROP.box), { ...pane, x: 110, y: 120, width: 200, height: 100 });
  assert.equal(paneOf(pane, [0.5, 0.5, 0.5001, 0.5001]).width, 1);
});

// Pointer and keys on the picture: cells, regions, the words that look there, and the divider of the wipe.
import { boxPick } from '../state/boxes.js';
import { regionAsked } from '../state/closer.js';
import {
  askedPart,
  besideOf,
  boxOf,
  cellAt,
  isOneCell,
  isSameCell,
  spanOf,
  stepped,
} from '../state/geometry.js';
import { litWords } from '../state/lit.js';
import { highestCell, shownMap } from '../state/maps.js';
import { percent } from '../state/numbers.js';
import { choose, keepRegion, moveDivider, point } from './actions.js';
import { boxUnder } from './boxes.js';
import { hasModifier, isConfirming, isHovering } from './parts.js';

// Returns {place}, which puts the divider and the bubble where the state has them.
export function addPointing(viewer) {
  listenToPointer(viewer);
  listenToKeys(viewer);
  listenToDivider(viewer);
  viewer.listen(viewer.part('closer'), 'click', () => viewer.host.ask('closer', regionAsked(viewer.state)));
  return {
    place() {
      placeDivider(viewer);
      placeBubble(viewer);
    },
  };
}

const isPointable = ({ data, phase }) => data && phase === 'answered';

function cellUnder({ state, part }, event) {
  if (!isPointable(state)) return null;
  const canvas = part('picture');
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  return cellAt(state.layout.panes, state.data.grid, { x, y });
}

function listenToPointer(viewer) {
  const { state, part, listen } = viewer;
  const canvas = part('picture');
  let drag = null; // {cell, isAgain}: where it began, and whether that cell was kept already
  listen(part('frame'), 'pointermove', (event) => {
    const cell = event.target === canvas ? cellUnder(viewer, event) : null;
    if (drag && cell) keepRegion(viewer, spanOf(drag.cell, cell));
    canvas.style.cursor = boxUnder(viewer, event) ? 'pointer' : '';
    if (isHovering(event)) point(viewer, cell);
  });
  listen(part('frame'), 'pointerleave blur', () => point(viewer, null));
  listen(canvas, 'pointerdown', (event) => {
    const cell = cellUnder(viewer, event);
    if (event.button !== 0 || !cell) return;
    const box = boxUnder(viewer, event);
    if (box) {
      choose(viewer, boxPick(box));
      return;
    }
    const { region } = state;
    drag = { cell, isAgain: Boolean(region) && isOneCell(region) && isSameCell(region, cell) };
    if (isHovering(event)) keepRegion(viewer, spanOf(cell, cell));
  });
  listen(canvas, 'pointerup', (event) => {
    const cell = cellUnder(viewer, event);
    if (!drag || !cell) return;
    const letsGo = drag.isAgain && isSameCell(cell, drag.cell);
    keepRegion(viewer, letsGo ? null : spanOf(drag.cell, cell));
    drag = null;
  });
  listen(window, 'pointerup pointercancel', () => {
    drag = null;
  });
}

function listenToKeys(viewer) {
  const { state, part, listen, readout } = viewer;
  listen(part('frame'), 'keydown', (event) => {
    if (event.target !== part('frame') || hasModifier(event) || !follow(viewer, event)) return;
    event.preventDefault();
    event.stopPropagation();
    if (state.cursor) readout.sayCell();
  });
}

// Does what a key asks for on the map; returns whether it is a key that asks for something.
function follow(viewer, event) {
  const { data, cursor } = viewer.state;
  if (!isPointable(viewer.state)) return false;
  const { values } = shownMap(viewer.state);
  if (!values) return false;
  const hottest = highestCell(data, values);
  const to = stepped(cursor ?? hottest, event.key, data.grid);
  if (to) walk(viewer, cursor ?? hottest, cursor ? to : hottest, event.shiftKey);
  else if (event.key === 'Home') point(viewer, hottest);
  else if (isConfirming(event) && cursor) keepRegion(viewer, spanOf(cursor, cursor));
  else return false;
  return true;
}

// Goes to a cell, the highest one when coming in; with `extend` the region from where that began goes along.
function walk(viewer, from, to, extend) {
  const { state } = viewer;
  state.regionAnchor = extend ? (state.regionAnchor ?? from) : null;
  if (extend) keepRegion(viewer, spanOf(state.regionAnchor, to));
  point(viewer, to);
}

function placeDivider({ state: { divider }, part }) {
  const handle = part('divider');
  handle.style.left = `${100 * divider}%`;
  handle.setAttribute('aria-valuenow', String(Math.round(100 * divider)));
  handle.setAttribute('aria-valuetext', `picture on the left ${percent(divider)} of the width`);
}

const DIVIDER_STEPS = {
  ArrowLeft: -0.02,
  ArrowDown: -0.02,
  ArrowRight: 0.02,
  ArrowUp: 0.02,
  PageDown: -0.1,
  PageUp: 0.1,
  Home: -1,
  End: 1,
};

function listenToDivider(viewer) {
  const { state, part, listen } = viewer;
  const handle = part('divider');
  listen(handle, 'pointerdown', (event) => handle.setPointerCapture(event.pointerId));
  listen(handle, 'pointermove', (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = part('picture').getBoundingClientRect();
    moveDivider(viewer, (event.clientX - box.left) / box.width);
  });
  listen(handle, 'keydown', (event) => {
    const step = DIVIDER_STEPS[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    moveDivider(viewer, state.divider + step);
  });
}

// The words that look where one points, beside that place and never over it.
function placeBubble({ state, part }) {
  const where = isPointable(state) && askedPart(state);
  const bubble = part('bubble');
  const { top } = where ? litWords(state.data, state.granularity, where) : { top: [] };
  part('closer').hidden = !where || where !== state.region || !regionAsked(state);
  bubble.hidden = !top.length && part('closer').hidden;
  if (bubble.hidden) return;
  const texts = top.map(({ text, share }) => `${text} ${percent(share)}`);
  part('bubbleText').textContent = texts.join(' · ') || 'none';
  const { panes, density } = state.layout;
  const box = boxOf(panes.at(-1), state.data.grid, where);
  const frame = part('frame').getBoundingClientRect();
  const scene = part('scene').getBoundingClientRect();
  const place = besideOf({ left: box.left / density, width: box.width / density }, [
    scene.left - frame.left,
    scene.right - frame.left,
  ]);
  bubble.style.top = `${Math.max(0, box.top / density)}px`;
  bubble.style.maxWidth = `${place.room}px`;
  bubble.style.left = place.isBefore ? 'auto' : `${place.edge}px`;
  bubble.style.right = place.isBefore ? `${frame.width - place.edge}px` : 'auto';
}

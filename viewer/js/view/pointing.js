// Pointer and keys on the picture: cells, regions, and the divider of the wipe.
import { cellAt, isOneCell, isSameCell, spanOf, stepped } from '../state/geometry.js';
import { highestCell, shownMap } from '../state/maps.js';
import { percent } from '../state/numbers.js';
import { keepRegion, moveDivider, point } from './actions.js';
import { hasModifier, isConfirming, isHovering } from './parts.js';

// Returns {placeDivider}, which puts the divider where the state has it.
export function addPointing(viewer) {
  listenToPointer(viewer);
  listenToKeys(viewer);
  listenToDivider(viewer);
  return { placeDivider: () => placeDivider(viewer) };
}

function cellUnder({ state, part }, event) {
  const canvas = part('canvas');
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  return cellAt(state.layout.panes, state.data.grid, { x, y });
}

function listenToPointer(viewer) {
  const { state, part, listen } = viewer;
  const canvas = part('canvas');
  let drag = null; // {cell, isAgain}: where it began, and whether that cell was kept already
  listen(part('frame'), 'pointermove', (event) => {
    const cell = event.target === canvas ? cellUnder(viewer, event) : null;
    if (drag && cell) keepRegion(viewer, spanOf(drag.cell, cell));
    if (isHovering(event)) point(viewer, cell);
  });
  listen(part('frame'), 'pointerleave blur', () => point(viewer, null));
  listen(canvas, 'pointerdown', (event) => {
    const cell = cellUnder(viewer, event);
    if (event.button !== 0 || !cell) return;
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
    if (state.cursor) readout.sayCell();
  });
}

// Does what a key asks for on the map; returns whether it is a key that asks for something.
function follow(viewer, event) {
  const { data, cursor } = viewer.state;
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
    const box = part('canvas').getBoundingClientRect();
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

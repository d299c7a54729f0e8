// At a glance: the maps of the words that needed the picture most, small, in the order in which they were said.
import { ACROSS_GAP, arrangement } from '../state/arrangement.js';
import { tellingWords } from '../state/first.js';
import { mapOf, shownOf } from '../state/maps.js';
import { choose, preview } from './actions.js';
import { isHovering } from './parts.js';

const MOST = 8;
const EDGE = 4; // pixels of the page around the pictures, where the picked one's frame is

// Returns {fill, mark, draw, fit}: takes the words anew, marks the picked one, draws the maps, takes the room anew.
export function addGlance(viewer) {
  const { part, listen, picksOf } = viewer;
  const thumbs = part('thumbs');
  listen(thumbs, 'click', (event) => {
    const button = event.target.closest('.lens-thumb');
    if (button) choose(viewer, picksOf.get(button));
  });
  listen(thumbs, 'pointerover', (event) => {
    const button = event.target.closest('.lens-thumb');
    if (isHovering(event)) preview(viewer, button ? picksOf.get(button) : null);
  });
  listen(thumbs, 'pointerleave', () => preview(viewer, null));
  const redraw = () => {
    fit(viewer);
    draw(viewer);
    mark(viewer);
  };
  return {
    fill() {
      fill(viewer);
      redraw();
    },
    mark: () => mark(viewer),
    draw: () => draw(viewer),
    fit: redraw,
  };
}

function fill(viewer) {
  const { state, part, picksOf } = viewer;
  const words = state.data ? tellingWords(state.data, MOST) : [];
  const nodes = words.map(({ text, tokens }) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.className = 'lens-thumb';
    const name = document.createElement('span');
    name.textContent = text;
    button.append(document.createElement('canvas'), name);
    picksOf.set(button, { tokens, of_prompt: false });
    return button;
  });
  part('thumbs').replaceChildren(...nodes);
  part('glanceTitle').textContent = state.data?.answer.without
    ? 'At a glance: words that needed the picture'
    : 'At a glance';
}

const thumbsOf = ({ part }) => [...part('thumbs').children];

// Shows as many rows as there is room for, as large as they can be; nothing where there is none.
function fit(viewer) {
  const { state, part, root } = viewer;
  const all = thumbsOf(viewer);
  part('glance').hidden = !all.length || state.phase !== 'answered';
  if (part('glance').hidden) return;
  const ratio = state.data.picture.height / state.data.picture.width;
  const { clientWidth, clientHeight } = part('glance');
  const room = { width: clientWidth - 2 * EDGE, height: clientHeight - 22 - EDGE };
  const best = arrangement(ratio, room, all.length);
  part('glance').style.visibility = best ? '' : 'hidden';
  if (!best) return;
  part('thumbs').style.setProperty('--across', best.across);
  part('thumbs').style.width = `${best.width * best.across + ACROSS_GAP * (best.across - 1)}px`;
  all.forEach((button, i) => {
    button.hidden = i >= best.across * best.down;
  });
  root.dataset.thumb = `${Math.floor(best.width)}`;
}

function draw(viewer) {
  const { state, part, root, picksOf, painter } = viewer;
  if (part('glance').hidden || !state.data) return;
  const density = Math.min(2, window.devicePixelRatio || 1);
  const { picture } = state.data;
  const width = Math.round(Number(root.dataset.thumb ?? 0) * density);
  if (!width) return;
  const height = Math.max(1, Math.round((width * picture.height) / picture.width));
  for (const button of thumbsOf(viewer).filter((one) => !one.hidden)) {
    const canvas = button.firstChild;
    Object.assign(canvas, { width, height });
    const values = mapOf(state.data, picksOf.get(button));
    const shown = values ? shownOf(state, values) : { values: null };
    const kind = state.look.view === 'spotlight' ? 'spotlight' : 'overlay';
    painter.draw(canvas.getContext('2d'), { x: 0, y: 0, width, height }, { picture, kind, shown });
  }
}

function mark(viewer) {
  const { state, picksOf } = viewer;
  for (const button of thumbsOf(viewer)) {
    const isPicked =
      state.picked && !state.picked.of_prompt && `${picksOf.get(button).tokens}` === `${state.picked.tokens}`;
    button.setAttribute('aria-pressed', String(Boolean(isPicked)));
  }
}

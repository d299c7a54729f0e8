// The boxes and points of an answer: their lines over the picture, and a list of them with how the shown map lies on each.
import {
  boxAt,
  boxIn,
  boxPick,
  figuresNote,
  figuresOf,
  figuresText,
  nameOfBox,
  shownBoxes,
} from '../state/boxes.js';
import { shownPick } from '../state/maps.js';
import { quoted } from '../state/texts.js';
import { choose, preview } from './actions.js';
import { isHovering, setText } from './parts.js';

const FEW = 8; // boxes whose labels have room in the picture
const NAME_HEIGHT = 22; // pixels of the page
const LEAST_NAME = 90;
const MOST_NAME = 170;
const NONE = { list: [], notes: '' };

// Returns {write}, which follows each drawing.
export function addBoxes(viewer) {
  const { part, listen, picksOf, state } = viewer;
  for (const name of ['boxList', 'marks']) {
    const pickUnder = (event) => picksOf.get(event.target.closest('button')) ?? null;
    listen(part(name), 'click', (event) => pickUnder(event) && choose(viewer, pickUnder(event)));
    listen(part(name), 'pointerover', (event) => isHovering(event) && preview(viewer, pickUnder(event)));
    listen(part(name), 'pointerleave', () => preview(viewer, null));
  }
  listen(part('boxesCopy'), 'click', () => copy(viewer, state.data.boxes.json));
  let filled = null; // the boxes that the list has
  return {
    write(shown) {
      const boxes = state.data?.boxes ?? NONE;
      if (boxes !== filled) fill(viewer, boxes);
      filled = boxes;
      part('boxes').hidden =
        !(boxes.list.length || boxes.notes) || !['answered', 'stale'].includes(state.phase);
      place(viewer);
      write(viewer, shown);
    },
  };
}

const isThere = ({ data, phase }) => Boolean(data) && phase === 'answered';

// Returns the box whose line is under the pointer.
export function boxUnder({ state, part }, event) {
  if (!isThere(state) || !state.data.boxes.list.length) return null;
  const canvas = part('picture');
  const box = canvas.getBoundingClientRect();
  const x = ((event.clientX - box.left) / box.width) * canvas.width;
  const y = ((event.clientY - box.top) / box.height) * canvas.height;
  return boxAt(state.data.boxes.list, state.layout, { x, y });
}

function element(name, className, text = '') {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

function button(viewer, box, className) {
  const node = element('button', className);
  node.type = 'button';
  viewer.picksOf.set(node, boxPick(box));
  return node;
}

function fill(viewer, { list, notes }) {
  const { part } = viewer;
  part('boxesTitle').textContent = list.length ? 'Boxes in this answer' : '';
  part('boxesNote').textContent = notes;
  part('boxesCopy').hidden = !list.length;
  part('boxesCopy').textContent = 'Copy as JSON';
  part('boxList').replaceChildren(...list.map((box, i) => rowOf(viewer, box, i)));
  part('marks').replaceChildren();
}

function rowOf(viewer, box, i) {
  const node = button(viewer, box, 'lens-box-row');
  const label = element('span', 'lens-box-label', box.label || nameOfBox(box, i));
  label.dir = 'auto';
  node.append(
    element('b', 'lens-box-number', `${i + 1}`),
    label,
    element('code', '', `[${box.pixels.join(', ')}]`),
    element('span', 'lens-box-figures'),
  );
  const item = document.createElement('li');
  item.append(node);
  return item;
}

// A line for each box in each pane; in the last one, which has the map, with its name, which is a button.
function marksFor(viewer, { list }, panes) {
  return panes.flatMap((pane) =>
    list.map((box, i) => {
      const mark = element('div', box.is_point ? 'lens-box lens-point' : 'lens-box');
      if (pane === panes.at(-1)) mark.append(markName(viewer, box, i));
      return mark;
    }),
  );
}

function markName(viewer, box, i) {
  const isShort = viewer.state.data.boxes.list.length > FEW;
  const name = button(viewer, box, 'lens-box-name');
  name.append(
    element('span', 'lens-unseen', box.is_point ? 'point ' : 'box '),
    element('b', '', `${i + 1} `),
    element('span', isShort ? 'lens-unseen' : '', box.label),
  );
  return name;
}

function place(viewer) {
  const { state, part } = viewer;
  const holder = part('marks');
  holder.hidden = !isThere(state) || !state.data.boxes.list.length;
  if (holder.hidden) return;
  const { panes, density } = state.layout;
  const { list } = state.data.boxes;
  if (holder.children.length !== panes.length * list.length)
    holder.replaceChildren(...marksFor(viewer, state.data.boxes, panes));
  const picked = new Set(shownBoxes(state));
  [...holder.children].forEach((mark, at) => {
    const i = at % list.length;
    const pane = panes[Math.floor(at / list.length)];
    const box = boxIn(pane, list[i]);
    for (const side of ['left', 'top', 'width', 'height']) mark.style[side] = `${box[side] / density}px`;
    mark.toggleAttribute('data-picked', picked.has(i));
    mark.toggleAttribute('data-within', (box.top - pane.y) / density < NAME_HEIGHT);
    if (mark.firstChild) nameRoom(mark, box, pane, density);
  });
}

// Has the name of a box begin where the box does, or where there is no room for it, end where the box does.
function nameRoom(mark, { left, width }, pane, density) {
  const after = (pane.x + pane.width - left) / density;
  const isRight = after < LEAST_NAME;
  mark.toggleAttribute('data-right', isRight);
  const room = isRight ? (left + width - pane.x) / density : after;
  mark.firstChild.style.maxWidth = `${Math.min(MOST_NAME, room)}px`;
}

// Writes how the shown map lies on each box, and which of them belong to what is shown.
function write(viewer, shown) {
  const { state, part } = viewer;
  if (!isThere(state) || !state.data.boxes.list.length) return;
  const { list, threshold } = state.data.boxes;
  const picked = new Set(shownBoxes(state));
  [...part('boxList').children].forEach(({ firstChild }, i) => {
    firstChild.setAttribute('aria-pressed', String(picked.has(i)));
    const text = shown.values ? figuresText(figuresOf(list[i], shown.values, shown.grid, threshold)) : '';
    setText(firstChild.lastChild, text);
  });
  comeIntoSight(viewer, picked);
  const pick = shownPick(state);
  setText(part('boxesAbout'), shown.values && pick ? figuresNote(state.data, quoted(state, pick)) : '');
}

// Scrolls the list alone to the first box that was picked, once.
function comeIntoSight({ state, part }, picked) {
  const list = part('boxList');
  if (list.dataset.pick === `${state.picked?.tokens}` || state.previewed) return;
  list.dataset.pick = `${state.picked?.tokens}`;
  const row = list.children[Math.min(...picked)];
  if (row) list.scrollTop = row.offsetTop - list.firstChild.offsetTop;
}

async function copy({ part, root }, text) {
  const isCopied = await copied(root, text);
  setText(part('boxesCopy'), isCopied ? 'Copied' : 'Could not be copied');
  part('said').textContent = part('boxesCopy').textContent;
}

// Returns whether a text was copied; without https a browser only copies what is selected.
async function copied(root, text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    const field = element('textarea', 'lens-unseen', text);
    root.append(field);
    field.select();
    const isDone = document.execCommand('copy');
    field.remove();
    return isDone;
  }
}

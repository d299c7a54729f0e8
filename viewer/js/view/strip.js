// The pictures and clips of a question, small, in their order: each with its map and its share of it. Where the page lets a
// person choose them, they are added, removed and put in another order here too.
import { shownOf, shownPick, wholeMapOf } from '../state/maps.js';
import { percent } from '../state/numbers.js';
import { hottestIn, onPlane, partOn, planesIn, visualName, visualShares } from '../state/planes.js';
import { showInPlace, showVisual } from './actions.js';
import { setText } from './parts.js';

const WITH_HEAT = 8; // pictures at most that have their map on the small picture too
const KIND = 'application/x-picture-number'; // of what is dragged

// Returns {fill, write}: fill follows what there is to show, write each drawing.
export function addStrip(viewer) {
  const { part, listen } = viewer;
  listen(part('strip'), 'click', (event) => act(viewer, event));
  listen(part('strip'), 'keydown', (event) => follow(viewer, event));
  listenToDrags(viewer);
  return { fill: () => fill(viewer), write: () => write(viewer) };
}

// Returns whether what is chosen is shown, and not what an answer is about.
const isOfSources = ({ phase, data }) => phase !== 'answered' || !data;

// Returns what the strip shows: [{kind, name, picture}].
function shownHere(state) {
  if (isOfSources(state))
    return state.sources.map((one) => ({ kind: one.kind ?? 'image', name: one.name, picture: one }));
  const { visuals, planes, plane } = state.data;
  return visuals.map(({ kind, name }, visual) => {
    const isHere = planes[plane].visual === visual;
    const first = isHere ? plane : planesIn(state.data, visual)[0];
    return { kind, name, picture: planes[first].picture };
  });
}

function shownAt(state) {
  return isOfSources(state) ? state.sourceAt : state.data.planes[state.data.plane].visual;
}

// What a follow-up is about as well was shown before it: it is added to, and stays as it is.
const isEditable = ({ can, isFollowing }) => Boolean(can.sources) && !isFollowing;

const itemsOf = ({ part }) => [...part('strip').querySelectorAll('.lens-visual')];

function fill(viewer) {
  const { state, part } = viewer;
  const shown = shownHere(state);
  part('strip').hidden = shown.length < 2;
  if (part('strip').hidden) return;
  const canEdit = isEditable(state);
  const key = JSON.stringify([shown.map(({ kind, name }) => [kind, name]), canEdit, cropOf(state)]);
  if (part('strip').dataset.key === key) return;
  part('strip').dataset.key = key;
  const items = shown.map((one, i) => itemOf(one, i, canEdit));
  const others = [...(cropOf(state) ? [placer()] : []), ...(state.can.sources ? [adder()] : [])];
  part('strip').replaceChildren(...items, ...others);
}

function made(name, className, text = '') {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

function itemOf({ kind, name }, i, canEdit) {
  const item = made('li', 'lens-visual');
  item.dataset.visual = i;
  item.draggable = canEdit;
  const button = made('button', 'lens-visual-show');
  button.type = 'button';
  button.title = name;
  const line = made('span', 'lens-visual-line');
  const meter = made('span', 'lens-meter');
  meter.dataset.tone = 'picture';
  meter.append(made('i', ''));
  line.append(
    made('span', 'lens-unseen', kind === 'image' ? 'picture ' : 'clip '),
    made('b', '', `${i + 1} `),
    meter,
    made('span', 'lens-visual-share'),
    made('span', 'lens-unseen', ' of the map'),
  );
  button.append(made('canvas', ''), line);
  item.append(button);
  if (canEdit) {
    const remove = made('button', 'lens-visual-remove', '×');
    remove.type = 'button';
    remove.setAttribute('aria-label', `Remove ${visualName({ kind }, i)}`);
    remove.title = 'Remove';
    item.append(remove);
  }
  return item;
}

const cropOf = (state) => (isOfSources(state) ? null : state.data.crop);

function placer() {
  const item = made('li', 'lens-visual-place');
  const button = made('button', 'lens-quiet', 'in its place');
  button.type = 'button';
  button.title = 'Draws the map of the closer look where it was cut out';
  item.append(button);
  return item;
}

function adder() {
  const item = made('li', 'lens-visual-add');
  const button = made('button', '');
  button.type = 'button';
  button.append(made('b', '', '+'), made('span', '', 'picture or video'));
  item.append(button);
  return item;
}

function write(viewer) {
  const { state, part, painter } = viewer;
  if (part('strip').hidden) return;
  const shown = shownHere(state);
  const at = shownAt(state);
  const place = part('strip').querySelector('.lens-visual-place button');
  place?.setAttribute('aria-pressed', String(state.isInPlace));
  const pick = isOfSources(state) ? null : shownPick(state);
  const whole = pick && wholeMapOf(state.data, pick);
  const shares = whole ? visualShares(whole, state.data) : null;
  itemsOf(viewer).forEach((item, i) => {
    if (!shown[i]) return;
    const button = item.firstChild;
    button.setAttribute('aria-pressed', String(i === at));
    item.toggleAttribute('data-kept', i === at && state.isOwnPlane);
    button.querySelector('.lens-meter').hidden = !shares;
    const share = shares ? percent(shares[i]) : '';
    setText(button.querySelector('.lens-visual-share'), share);
    button.querySelector('i').style.width = shares ? `${100 * shares[i]}%` : '0';
    button.querySelector('.lens-visual-line').lastChild.hidden = !shares;
    drawItem(viewer, painter, button.querySelector('canvas'), {
      ...shown[i],
      visual: i,
      whole,
      high: heightOf(part('strip')),
    });
  });
}

const heightOf = (strip) => Number(getComputedStyle(strip).getPropertyValue('--lens-thumb'));

// Draws a small picture with its part of the map; the scale is that of the whole map, as on the large one.
function drawItem({ state }, painter, canvas, { picture, visual, whole, high }) {
  if (!picture) return;
  const density = Math.min(2, window.devicePixelRatio || 1);
  const height = Math.round(high * density);
  const width = Math.max(
    1,
    Math.min(Math.round(height * 2.4), Math.round((height * picture.width) / picture.height)),
  );
  const isHot = Boolean(whole) && state.data.visuals.length <= WITH_HEAT;
  const key = [picture.url.length, picture.url.slice(-64), width, painter.isReady(picture)].join(' ');
  const heatKey = isHot ? whole : null;
  if (canvas.dataset.key === key && canvas.heat === heatKey && canvas.look === state.look) return;
  Object.assign(canvas, { width, height, heat: heatKey, look: state.look });
  canvas.dataset.key = key;
  canvas.style.width = `${width / density}px`;
  canvas.style.height = `${height / density}px`;
  const shown = isHot ? partShown(state, whole, visual) : { values: null };
  const box = { x: 0, y: 0, width, height };
  painter.draw(canvas.getContext('2d'), box, { picture, kind: isHot ? 'overlay' : 'picture', shown });
}

// Returns what is needed to draw a picture's part of the map, of a clip the step that is shown or has most of it.
function partShown(state, whole, visual) {
  const { planes, plane } = state.data;
  const at = planes[plane].visual === visual ? plane : hottestIn(whole, state.data, visual);
  return shownOf({ ...state, data: onPlane(state.data, at) }, partOn(whole, planes[at]));
}

function act(viewer, event) {
  const item = event.target.closest('li');
  if (!item) return;
  if (item.classList.contains('lens-visual-place')) showInPlace(viewer);
  else if (item.classList.contains('lens-visual-add')) viewer.host.ask('sources', { add: true });
  else if (event.target.closest('.lens-visual-remove'))
    viewer.host.ask('sources', { remove: Number(item.dataset.visual) });
  else if (event.target.closest('.lens-visual-show')) showVisual(viewer, Number(item.dataset.visual));
}

// Arrow keys go from one to the next, with Alt they move it; its number shows it, Delete removes it.
function follow(viewer, event) {
  const item = event.target.closest('.lens-visual');
  if (!item || event.ctrlKey || event.metaKey) return;
  const items = itemsOf(viewer);
  const at = items.indexOf(item);
  const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  const canEdit = isEditable(viewer.state);
  if (/^[1-9]$/.test(event.key) && items[event.key - 1]) showVisual(viewer, event.key - 1);
  else if (step && event.altKey && canEdit && items[at + step])
    viewer.host.ask('sources', { move: [at, at + step] });
  else if (step && !event.altKey) items[at + step]?.firstChild.focus();
  else if (event.key === 'Delete' && canEdit) viewer.host.ask('sources', { remove: at });
  else return;
  event.preventDefault();
  event.stopPropagation();
}

function listenToDrags(viewer) {
  const { part, listen, host, state } = viewer;
  const strip = part('strip');
  const isOurs = (event) => isEditable(state) && event.dataTransfer?.types.includes(KIND);
  listen(strip, 'dragstart', (event) => {
    const item = event.target.closest('.lens-visual');
    if (!item) return;
    event.dataTransfer.setData(KIND, item.dataset.visual);
    event.dataTransfer.effectAllowed = 'move';
  });
  listen(strip, 'dragover', (event) => isOurs(event) && event.preventDefault());
  listen(strip, 'drop', (event) => {
    const item = event.target.closest('.lens-visual');
    if (!isOurs(event) || !item) return;
    event.preventDefault();
    event.stopPropagation();
    const move = [Number(event.dataTransfer.getData(KIND)), Number(item.dataset.visual)];
    if (move[0] !== move[1]) host.ask('sources', { move });
  });
}

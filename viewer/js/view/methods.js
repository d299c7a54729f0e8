// Methods: three first, all others under More, with what each is; and the panel that puts their maps side by side.
import { agreement } from '../state/agree.js';
import { shownOf, wholeMapOf } from '../state/maps.js';
import { percent } from '../state/numbers.js';
import { keyOf } from '../state/picks.js';
import { partOn } from '../state/planes.js';
import { methodRow, quoted } from '../state/texts.js';
import { want } from './actions.js';

const WIDTH = 150; // pixels of the page of a small picture, at most

// Returns {fill, write, mark}: takes the methods of a payload, draws the panel, and marks what is shown and what is coming.
export function addMethods(viewer) {
  const { part, listen, host } = viewer;
  listen(part('methods'), 'change', ({ target }) => want(viewer, { method: target.value }));
  listen(part('methodTiles'), 'click', (event) => {
    const chosen = event.target.closest('.lens-tile');
    if (!chosen) return;
    const { name, known } = chosen.dataset;
    if (known) want(viewer, { method: name });
    else if (viewer.state.can.compare) host.ask('compare', { name });
  });
  return { fill: () => fill(viewer), write: () => write(viewer), mark: () => writeShown(viewer) };
}

function radio(name, group, isChecked) {
  const input = document.createElement('input');
  Object.assign(input, { type: 'radio', name: group, value: name, checked: isChecked });
  return input;
}

function fill(viewer) {
  const { state, part } = viewer;
  const { methods } = state.data;
  const method = { ...methodRow(state.data), id: state.data.method.id };
  const group = `lens-method-${Math.random().toString(36).slice(2)}`;
  const first = methods.filter((one) => one.group === 'first');
  const rest = methods.filter((one) => one.group !== 'first');
  const isOther = rest.some((one) => one.name === method.id);
  part('methods').replaceChildren(
    ...first.map((one) => firstLabel(one, radio(one.name, group, one.name === method.id))),
    moreMenu(rest, group, method, isOther),
  );
  const offered = state.can.maps ? methods : methods.filter((one) => one.name === method.id);
  part('methods').hidden = offered.length < 2;
  write(viewer);
}

function firstLabel({ short, sentence, refused }, input) {
  const label = document.createElement('label');
  label.title = refused || sentence;
  input.disabled = Boolean(refused);
  const name = document.createElement('span');
  name.textContent = short;
  if (short === 'Best') {
    const small = document.createElement('small');
    small.textContent = ' recommended';
    name.append(small);
  }
  label.append(input, name);
  return label;
}

function moreMenu(rest, group, method, isOther) {
  const menu = document.createElement('span');
  menu.className = 'lens-menu';
  const button = document.createElement('button');
  Object.assign(button, {
    type: 'button',
    className: 'lens-quiet',
    textContent: `${isOther ? method.short : 'More'} ▾`,
  });
  button.dataset.opens = 'methods';
  button.setAttribute('aria-expanded', 'false');
  button.setAttribute('aria-pressed', String(isOther));
  const list = document.createElement('div');
  list.className = 'lens-popover lens-menu-list';
  list.dataset.popover = 'methods';
  list.hidden = true;
  for (const one of rest) list.append(menuLine(one, radio(one.name, group, one.name === method.id)));
  menu.append(button, list);
  return menu;
}

function menuLine(one, input) {
  input.disabled = Boolean(one.refused);
  const label = document.createElement('label');
  const text = document.createElement('span');
  const name = document.createElement('b');
  name.textContent = one.label;
  const about = document.createElement('span');
  about.textContent = aboutText(one);
  text.append(name, about);
  label.append(input, text);
  return label;
}

// Returns what a method's maps are, how often they were right, what they cost, how they mislead, and the paper; or why
// there are none.
const aboutText = ({ sentence, measured, cost, caveat, paper, refused }) =>
  refused
    ? `${refused}.`
    : `${sentence[0].toUpperCase()}${sentence.slice(1)}. ${measured} Cost: ${cost}. ${caveat} ${paper}.`;

// Returns the maps of the pick that are known, each with its method's row; the shown method's comes first.
function knownMaps(state) {
  const { data, picked } = state;
  const known = new Map([[data.method.id, wholeMapOf(data, picked)]]);
  for (const one of state.compared.get(keyOf(data, picked)) ?? []) {
    if (!known.has(one.name)) known.set(one.name, one.maps[0]);
  }
  return known;
}

function write(viewer) {
  const { state, part } = viewer;
  if (!state.data || state.tab !== 'methods') return;
  const { data, picked } = state;
  writeShown(viewer);
  if (!picked || picked.of_prompt) {
    part('agreeTitle').textContent = 'Pick a word of the answer.';
    part('agreeText').textContent = '';
    part('methodTiles').replaceChildren();
    return;
  }
  const known = knownMaps(state);
  const rows = data.methods.filter((one) => known.has(one.name) || (state.can.compare && !one.refused));
  const { sentence, agrees } = agreement([...known.values()], data.planes, quoted(state, picked));
  const agreesOf = new Map(known.size > 1 ? [...known.keys()].map((name, i) => [name, agrees[i]]) : []);
  part('agreeTitle').textContent = known.size > 1 ? sentence : `${quoted(state, picked)} by other methods`;
  part('agreeText').textContent = state.can.compare
    ? 'found: hottest patch on the named thing, in tests. Click one to work out its map, click again to use it.'
    : 'found: hottest patch on the named thing, in tests.';
  part('methodTiles').replaceChildren(
    ...rows.map((row) => tile(viewer, row, known.get(row.name), agreesOf.get(row.name))),
  );
}

// Marks in the radio buttons above the picture what is shown now, and what was asked for.
function writeShown({ state, part }) {
  const coming = state.wanted?.method;
  for (const input of part('methods').querySelectorAll('input')) {
    input.checked = input.value === state.data.method.id;
    input.parentElement.toggleAttribute('data-coming', !input.checked && input.value === coming);
  }
}

function tile(viewer, row, values, agrees) {
  const { state, painter } = viewer;
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'lens-tile';
  button.dataset.name = row.name;
  if (values) button.dataset.known = 'true';
  button.setAttribute('aria-pressed', String(row.name === state.data.method.id));
  button.title = row.sentence;
  const { picture, planes, plane } = state.data;
  const density = Math.min(2, window.devicePixelRatio || 1);
  const box = { x: 0, y: 0, width: Math.round(WIDTH * density) };
  box.height = Math.max(1, Math.round((box.width * picture.height) / picture.width));
  if (values) {
    const canvas = document.createElement('canvas');
    Object.assign(canvas, { width: box.width, height: box.height });
    painter.draw(canvas.getContext('2d'), box, {
      picture,
      kind: 'overlay',
      shown: shownOf(state, partOn(values, planes[plane])),
    });
    button.append(canvas);
  } else {
    const blank = document.createElement('div');
    blank.className = 'lens-blank';
    blank.style.aspectRatio = `${picture.width} / ${picture.height}`;
    blank.textContent = 'show';
    button.append(blank);
  }
  button.append(
    twoTexts(row.short, agreesText(agrees), agrees === false),
    twoTexts(foundText(row), row.needs_model ? '' : row.cost, false),
  );
  return button;
}

const foundText = ({ found }) => (found === null ? 'not measured' : `found ${percent(found)}`);

const agreesText = (agrees) => ({ true: 'agrees', false: 'differs' })[agrees] ?? '';

function twoTexts(left, right, isTold) {
  const line = document.createElement('p');
  const first = document.createElement('b');
  first.textContent = left;
  const second = document.createElement('span');
  second.textContent = right;
  if (isTold) second.dataset.tone = 'picture';
  line.append(first, second);
  return line;
}

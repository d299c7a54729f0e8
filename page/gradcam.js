// The state of a Grad-CAM, and a small picture of each layer. From the server come
//   `props.value`: {state, ahead, done, count, seconds, target, notes}
//   `props.tiles`: [{layer, range, src}], ascending
//   `props.picked`: the layer that is enlarged
// Everything is written with textContent: a model's or a visitor's text never becomes HTML.
const root = element.querySelector('.cam');
const grid = root.querySelector('.tiles');

function progressLine(value) {
  const seconds = value.seconds === undefined ? '' : ` · ${value.seconds.toFixed(1)} s`;
  const passes = `${value.count} pass${value.count === 1 ? '' : 'es'}`;
  const lines = {
    waiting: value.ahead
      ? `Waiting for the model: ${value.ahead} ahead of you${seconds}`
      : 'Waiting for the model …',
    computing: value.count ? `${value.done} of ${passes}${seconds}` : `Reading the picture …${seconds}`,
    done: `Done: ${value.target} · ${passes}${seconds}`,
  };
  return lines[value.state] || '';
}

function show() {
  const value = props.value || { state: 'empty' };
  root.dataset.state = value.state;
  root.querySelector('.line').textContent = progressLine(value);
  const bar = root.querySelector('progress');
  bar.hidden = !['waiting', 'computing'].includes(value.state);
  if (value.state === 'computing' && value.done) {
    bar.max = value.count;
    bar.value = value.done;
  } else {
    bar.removeAttribute('value'); // it moves without saying how far
  }
  const notes = (value.notes || []).map((note) => {
    const item = document.createElement('li');
    item.textContent = note;
    return item;
  });
  root.querySelector('.notes').replaceChildren(...notes);
}

function all() {
  return [...grid.querySelectorAll('.tile')];
}

function tile(layer) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'tile';
  button.dataset.layer = layer;
  const parts = { picture: 'img', name: 'span', range: 'span' };
  for (const [name, tag] of Object.entries(parts)) {
    const part = document.createElement(tag);
    part.className = name;
    button.append(part);
  }
  return button;
}

// Tiles of the same layers stay: whoever has the focus on one keeps it while the maps are drawn anew.
function draw() {
  const tiles = props.tiles || [];
  const there = all();
  const same =
    tiles.length === there.length && tiles.every((t, i) => String(t.layer) === there[i].dataset.layer);
  if (!same) grid.replaceChildren(...tiles.map((one) => tile(one.layer)));
  all().forEach((button, index) => {
    const one = tiles[index];
    const picture = button.querySelector('.picture');
    picture.src = one.src;
    picture.alt = `The picture under the Grad-CAM of layer ${one.layer}`;
    button.querySelector('.name').textContent = `layer ${one.layer}`;
    button.querySelector('.range').textContent = one.range;
    button.setAttribute('aria-label', `Layer ${one.layer}, values ${one.range}: enlarge`);
  });
  mark();
  if (!same && tiles.length) comeIntoSight();
}

async function comeIntoSight() {
  await Promise.allSettled(all().map((one) => one.querySelector('.picture').decode())); // until then they have no height
  const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  root.scrollIntoView({ block: 'nearest', behavior: calm ? 'auto' : 'smooth' });
}

function mark() {
  const tiles = all();
  for (const one of tiles) {
    one.setAttribute('aria-pressed', String(one.dataset.layer === String(props.picked)));
    one.tabIndex = -1;
  }
  const first = tiles.find((one) => one.getAttribute('aria-pressed') === 'true') || tiles[0];
  if (first) first.tabIndex = 0; // Tab comes to the enlarged layer, arrow keys go on from there
}

function pick(button) {
  props.picked = Number(button.dataset.layer);
  mark();
  trigger('click');
}

root.addEventListener('click', (event) => {
  const button = event.target.closest('.tile');
  if (button) pick(button);
});

root.addEventListener('keydown', (event) => {
  const button = event.target.closest('.tile');
  if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
  const tiles = all();
  const at = tiles.indexOf(button);
  const columns = tiles.filter((one) => one.offsetTop === tiles[0].offsetTop).length;
  const to = {
    ArrowRight: at + 1,
    ArrowLeft: at - 1,
    ArrowDown: at + columns,
    ArrowUp: at - columns,
    Home: 0,
    End: tiles.length - 1,
  };
  const next = tiles[to[event.key]];
  if (!next) return;
  event.preventDefault();
  next.focus();
  pick(next);
});

document.addEventListener('look', () => {
  if (all().length) trigger('click'); // drawn anew in the look of the viewer
});

watch('value', show);
watch('tiles', draw);
watch('picked', mark);
show();
draw();

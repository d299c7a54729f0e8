// A clip's moments under the picture: how much of the shown map lies on each, as a line and under small frames; and play.
import { shownPick, wholeMapOf } from '../state/maps.js';
import { momentsText, sparkline } from '../state/moments.js';
import { percent } from '../state/numbers.js';
import { planeShares, planesIn, timeText, visualShares } from '../state/planes.js';
import { quoted } from '../state/texts.js';
import { showPlane } from './actions.js';
import { setText } from './parts.js';

const FEWEST_MS = 120; // a frame stays at least as long, while it plays
const MOST_MS = 2000;
const FRAME_WIDTH = 66; // pixels of the page of a small frame; fewer of them are shown where there is no room

// Returns {fill, write, step, toggle, stop}: fill follows another clip, write each drawing; step goes to the next moment, toggle
// plays or pauses.
export function addScrubber(viewer) {
  const { part, listen } = viewer;
  const player = { timer: 0 };
  listen(part('play'), 'click', () => toggle(viewer, player));
  listen(part('frames'), 'click', (event) => {
    const button = event.target.closest('button');
    if (button) show(viewer, player, Number(button.dataset.plane));
  });
  listen(part('scrub'), 'input', () => {
    const planes = planesHere(viewer.state);
    show(viewer, player, planes[Number(part('scrub').value)]);
  });
  return {
    fill: () => fill(viewer, player),
    write: () => write(viewer),
    step: (by) => step(viewer, player, by),
    toggle: () => toggle(viewer, player),
    stop: () => pause(viewer, player),
  };
}

// Returns the planes of the clip that is shown; none where a picture is.
function planesHere({ data, phase }) {
  if (!data || phase !== 'answered') return [];
  const { visual } = data.planes[data.plane];
  return data.visuals[visual].kind === 'video' ? planesIn(data, visual) : [];
}

function show(viewer, player, plane) {
  pause(viewer, player);
  showPlane(viewer, plane);
}

function step(viewer, player, by) {
  const planes = planesHere(viewer.state);
  const next = planes[planes.indexOf(viewer.state.data.plane) + by];
  if (next === undefined) return false;
  show(viewer, player, next);
  return true;
}

function pause({ part }, player) {
  clearTimeout(player.timer);
  player.timer = 0;
  part('play').setAttribute('aria-label', 'Play');
  part('play').textContent = '▶';
}

// Plays from the moment that is shown, or from the first where that is the last, each for as long as it lasts.
function toggle(viewer, player) {
  const planes = planesHere(viewer.state);
  if (!planes.length) return false;
  if (player.timer) {
    pause(viewer, player);
    return true;
  }
  viewer.part('play').setAttribute('aria-label', 'Pause');
  viewer.part('play').textContent = '❚❚';
  const { data } = viewer.state;
  if (data.plane === planes.at(-1)) showPlane(viewer, planes[0]);
  const next = () => {
    const here = planesHere(viewer.state);
    const at = here.indexOf(viewer.state.data.plane);
    if (at < 0 || at === here.length - 1) {
      pause(viewer, player);
      return;
    }
    showPlane(viewer, here[at + 1]);
    player.timer = setTimeout(next, lengthOf(viewer.state, here, at + 1));
  };
  player.timer = setTimeout(next, lengthOf(viewer.state, planes, planes.indexOf(viewer.state.data.plane)));
  return true;
}

// Returns how long a moment lasts, in milliseconds: until the next, the last as long as the one before.
function lengthOf({ data }, planes, at) {
  const time = (i) => data.planes[planes[i]].time;
  const from = Math.min(at, planes.length - 2);
  const seconds = from < 0 ? 1 : time(from + 1) - time(from);
  return Math.min(MOST_MS, Math.max(FEWEST_MS, 1000 * seconds));
}

function fill(viewer, player) {
  const { state, part } = viewer;
  const planes = planesHere(state);
  part('scrubber').hidden = !planes.length;
  const key = planes.length
    ? `${planes[0]} ${planes.length} ${state.data.planes[planes[0]].picture.url.slice(-80)}`
    : '';
  if (part('scrubber').dataset.key === key) return;
  part('scrubber').dataset.key = key;
  pause(viewer, player);
  part('scrub').max = Math.max(0, planes.length - 1);
  const room = Math.max(4, Math.floor((part('scene').clientWidth || 600) / FRAME_WIDTH));
  const every = Math.ceil(planes.length / room);
  const chosen = planes.filter((_, i) => i % every === 0);
  part('frames').replaceChildren(...chosen.map((plane) => frameOf(state.data.planes[plane], plane)));
}

function frameOf({ picture, time }, plane) {
  const button = document.createElement('button');
  button.type = 'button';
  button.dataset.plane = plane;
  button.tabIndex = -1; // the slider does the same for the keyboard
  const image = new Image();
  image.alt = '';
  image.src = picture.url;
  const text = document.createElement('span');
  text.textContent = time.toFixed(1);
  button.append(image, text);
  return button;
}

function write(viewer) {
  const { state, part } = viewer;
  const planes = planesHere(state);
  if (!planes.length) return;
  const { data } = state;
  const at = planes.indexOf(data.plane);
  const { time } = data.planes[data.plane];
  const pick = shownPick(state);
  const whole = pick && wholeMapOf(data, pick);
  setText(part('moment'), timeText(time));
  setText(part('momentOf'), `frame pair ${at + 1} of ${planes.length}`);
  part('scrub').value = at;
  const shares = whole ? planes.map((plane) => planeShares(whole, data.planes)[plane]) : [];
  const name = pick ? quoted(state, pick) : '';
  setText(part('momentShare'), whole ? `${percent(shares[at])} of the map of ${name} is here` : '');
  const { visual } = data.planes[data.plane];
  const ofClip = whole ? visualShares(whole, data)[visual] : 0;
  const times = planes.map((plane) => data.planes[plane].time);
  setText(part('moments'), whole ? momentsText(name, shares, times, ofClip) : '');
  part('scrub').setAttribute(
    'aria-valuetext',
    `${timeText(time)}, ${whole ? percent(shares[at]) : 'no map'}`,
  );
  const { line, area } = sparkline(shares, at);
  part('sparkLine').setAttribute('d', line);
  part('sparkArea').setAttribute('d', area);
  part('sparkAt').style.left = `${(100 * (at + 0.5)) / planes.length}%`;
  for (const button of part('frames').children) {
    const from = Number(button.dataset.plane);
    const next = Number(button.nextSibling?.dataset.plane ?? planes.at(-1) + 1);
    button.setAttribute('aria-pressed', String(data.plane >= from && data.plane < next));
  }
}

// The words of the answer and of the question as buttons: hover previews, click picks, keys walk.
import { percent } from '../state/numbers.js';
import { isWhole } from '../state/picks.js';
import { meanShares } from '../state/shares.js';
import { segmentsOf } from '../state/texts.js';
import { choose, chooseWhole, keepRegion, preview } from './actions.js';
import { hasModifier, isConfirming, isHovering } from './parts.js';

const SIDES = ['answer', 'prompt'];

// Returns {fill, mark}: writes the words anew, and marks the picked ones.
export function addWords(viewer) {
  for (const name of SIDES) {
    listenToPointer(viewer, viewer.part(name));
    listenToKeys(viewer, name);
  }
  viewer.listen(viewer.part('whole'), 'click', () => chooseWhole(viewer));
  viewer.listen(viewer.root, 'keydown', (event) => {
    if (event.key !== 'Escape') return;
    if (viewer.state.region) keepRegion(viewer, null);
    else {
      preview(viewer, null);
      chooseWhole(viewer);
    }
  });
  return { fill: () => fill(viewer), mark: () => mark(viewer) };
}

const wordsOf = (viewer, name) => [...viewer.part(name).querySelectorAll('.lens-word')];

function fill(viewer) {
  const { state, root, part } = viewer;
  const { data } = state;
  const most = Math.max(0, ...data.answer.shares.map((shares) => shares[0]));
  root.dataset.granularity = state.granularity;
  for (const name of SIDES) {
    const nodeOf = (segment) => {
      const canPick = segment.tokens && data[name].maps;
      return canPick ? wordButton(viewer, segment, name, most) : document.createTextNode(segment.text);
    };
    part(name).replaceChildren(...segmentsOf(state, name).map(nodeOf));
  }
  part('legend').textContent = `how much of a word's attention is on the image: 0 to ${percent(most)}`;
  mark(viewer);
}

function wordButton(viewer, segment, name, most) {
  const button = document.createElement('span'); // a button element would let a line break before a full stop
  const share = meanShares(viewer.state.data[name].shares, segment.tokens)[0];
  button.setAttribute('role', 'button');
  button.className = 'lens-word';
  button.textContent = segment.text;
  if (segment.sign) {
    button.dataset.sign = segment.sign;
    button.setAttribute('aria-label', segment.sign);
  }
  button.title = `${percent(share)} of its attention is on the image`;
  button.style.setProperty('--lens-share', (most ? Math.min(1, share / most) : 0).toFixed(3));
  viewer.picksOf.set(button, { tokens: segment.tokens, of_prompt: name === 'prompt' });
  return button;
}

function mark(viewer) {
  const { state, part, picksOf } = viewer;
  const { data, picked } = state;
  const everything = Boolean(picked && isWhole(data, picked));
  for (const name of SIDES) {
    const own = picked && !everything && picked.of_prompt === (name === 'prompt');
    const tokens = new Set(own ? picked.tokens : []);
    markOf(wordsOf(viewer, name), (button) => picksOf.get(button).tokens.some((token) => tokens.has(token)));
  }
  part('whole').setAttribute('aria-pressed', String(everything));
}

function markOf(buttons, isPicked) {
  for (const button of buttons) {
    button.setAttribute('aria-pressed', String(isPicked(button)));
    button.tabIndex = -1;
  }
  const picked = buttons.filter(isPicked);
  const first = picked.find((button) => button === document.activeElement) ?? picked[0] ?? buttons[0];
  if (first) first.tabIndex = 0; // Tab comes to the picked word, arrow keys go on from there
}

function listenToPointer(viewer, place) {
  const { listen, picksOf } = viewer;
  listen(place, 'pointerover', (event) => {
    const button = event.target.closest('.lens-word');
    if (isHovering(event)) preview(viewer, button ? picksOf.get(button) : null);
  });
  listen(place, 'pointerleave', () => preview(viewer, null));
  listen(place, 'mousedown', (event) => event.shiftKey && event.preventDefault()); // a range, not selected text
  listen(place, 'click', (event) => {
    const button = event.target.closest('.lens-word');
    if (!button) return;
    button.focus({ preventScroll: true });
    preview(viewer, null);
    choose(viewer, picksOf.get(button), event.shiftKey);
  });
}

function listenToKeys(viewer, name) {
  const { state, picksOf } = viewer;
  viewer.listen(viewer.part(name), 'keydown', (event) => {
    const button = event.target.closest('.lens-word');
    if (!button || hasModifier(event)) return;
    if (isConfirming(event)) {
      event.preventDefault();
      choose(viewer, picksOf.get(button), event.shiftKey);
      return;
    }
    const all = wordsOf(viewer, name);
    const at = all.indexOf(button);
    const next = all[{ ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key]];
    if (!next) return;
    event.preventDefault();
    if (event.shiftKey && !state.anchor) state.anchor = picksOf.get(button);
    next.focus();
    preview(viewer, null);
    choose(viewer, picksOf.get(next), event.shiftKey);
  });
}

// The words of the answer and of the question as lists of options: hover previews, click picks, keys walk.
import { beginsIn } from '../state/boxes.js';
import { askedPart } from '../state/geometry.js';
import { litWords } from '../state/lit.js';
import { needs } from '../state/need.js';
import { keyOf } from '../state/picks.js';
import { legendText } from '../state/said.js';
import { isAll, segmentsOf } from '../state/texts.js';
import { isFolded, isSaid, runsOf, saidPick, thoughtsText } from '../state/thoughts.js';
import { choose, chooseWhole, preview, unfold } from './actions.js';
import { hasModifier, isConfirming, isHovering } from './parts.js';

const SIDES = { words: 'answer', prompt: 'prompt' };

// Returns {fill, mark, light}: writes the words anew, marks the picked ones, shades those that look where one points.
export function addWords(viewer) {
  for (const place of Object.keys(SIDES)) {
    listenToPointer(viewer, viewer.part(place));
    listenToKeys(viewer, place);
  }
  viewer.listen(viewer.part('whole'), 'click', () => viewer.state.data && chooseWhole(viewer));
  viewer.listen(viewer.part('answerOnly'), 'click', () => choose(viewer, saidPick(viewer.state.data)));
  viewer.listen(viewer.part('thoughts'), 'click', () => unfold(viewer, isFolded(viewer.state)));
  return { fill: () => fill(viewer), mark: () => mark(viewer), light: () => light(viewer) };
}

const wordsOf = (viewer, place) => [...viewer.part(place).querySelectorAll('.lens-word')];
const isThere = (option) => !option.parentElement.hidden; // folded thoughts

function fill(viewer) {
  const { state, root, part } = viewer;
  root.dataset.granularity = state.granularity;
  if (state.phase === 'writing') {
    fillUnfinished(viewer);
    return;
  }
  if (!state.data) {
    part('words').replaceChildren();
    return;
  }
  part('asked').textContent = state.data.prompt.text;
  part('thoughts').textContent = thoughtsText(state.data, segmentsOf(state, 'answer'));
  for (const [place, side] of Object.entries(SIDES)) fillSide(viewer, place, side);
  mark(viewer);
  light(viewer);
}

function fillSide(viewer, place, side) {
  const { state, part } = viewer;
  const need = side === 'answer' ? needs(state.data, state.granularity) : [];
  const place_ = part(place);
  place_.toggleAttribute('data-unknown', side !== 'answer' || !state.data.answer.without);
  let number = 0;
  const segments = segmentsOf(state, side);
  const nodes = segments.map((segment, i) => {
    if (!segment.tokens || !state.data[side].maps) return document.createTextNode(segment.text);
    const option = wordOption(segment, need[i] ?? null);
    option.dataset.word = number;
    number += 1;
    const box = side === 'answer' ? beginsIn(state.data, segment) : 0;
    if (box) option.dataset.box = box;
    viewer.picksOf.set(option, { tokens: segment.tokens, of_prompt: side === 'prompt' });
    return option;
  });
  place_.replaceChildren(...(side === 'answer' ? withThoughts(state.data, segments, nodes) : nodes));
}

// Returns the nodes of an answer, those of its thoughts in groups that can be folded away.
function withThoughts(data, segments, nodes) {
  const left = [...nodes];
  return runsOf(data, segments).flatMap((run) => {
    const some = left.splice(0, run.segments.length);
    if (!run.isThought) return some;
    const group = document.createElement('span');
    group.setAttribute('role', 'group');
    group.setAttribute('aria-label', 'Thoughts');
    group.className = 'lens-thought';
    group.append(...some);
    return [group];
  });
}

function fold({ state, part }) {
  const { data } = state;
  const isFoldable = Boolean(saidPick(data));
  const isShort = isFolded(state);
  part('thoughts').hidden = !isFoldable;
  part('answerOnly').hidden = !isFoldable;
  part('thoughts').setAttribute('aria-expanded', String(!isShort));
  for (const group of part('words').querySelectorAll('.lens-thought')) group.hidden = isShort;
}

function wordOption(segment, need) {
  const option = document.createElement('span'); // a button element would let a line break before a full stop
  option.setAttribute('role', 'option');
  option.className = need === null ? 'lens-word lens-plain' : 'lens-word';
  option.textContent = segment.text;
  if (segment.sign) {
    option.dataset.sign = segment.sign;
    option.setAttribute('aria-label', segment.sign);
  }
  if (need !== null) {
    option.dataset.need = need.toFixed(3);
    option.style.setProperty('--need', need.toFixed(3));
  }
  return option;
}

// What is written so far, its last word marked: the map in the picture is that word's.
function fillUnfinished({ state, part }) {
  const { text } = state.progress;
  const [, before, last] = /^([\s\S]*?)(\S+\s*)?$/.exec(text);
  const word = document.createElement('span');
  word.className = 'lens-word lens-plain';
  word.setAttribute('role', 'option');
  word.setAttribute('aria-selected', 'true');
  word.textContent = last ?? '';
  const caret = document.createElement('span');
  caret.className = 'lens-caret';
  part('words').replaceChildren(before, ...(last ? [word] : []), caret);
  part('words').scrollTop = part('words').scrollHeight;
}

function mark(viewer) {
  const { state, part, picksOf } = viewer;
  if (!state.data) return;
  fold(viewer);
  const { data, picked } = state;
  const everything = Boolean(picked && isAll(state, picked));
  for (const [place, side] of Object.entries(SIDES)) {
    const own = picked && !everything && picked.of_prompt === (side === 'prompt');
    const tokens = new Set(own ? picked.tokens : []);
    markOf(wordsOf(viewer, place), (option) => picksOf.get(option).tokens.some((token) => tokens.has(token)));
  }
  part('whole').setAttribute('aria-pressed', String(everything));
  part('answerOnly').setAttribute('aria-pressed', String(Boolean(picked && isSaid(data, picked))));
  part('words').dataset.pick = keyOf(data, picked);
}

function markOf(options, isPicked) {
  const picked = new Set(options.filter(isPicked));
  const there = options.filter(isThere);
  const top = there.find((option) => picked.has(option));
  if (top) comeIntoSight(top); // first: where it is does not depend on the marks, with which all is laid out again
  const first = picked.has(document.activeElement) ? document.activeElement : (top ?? there[0]);
  for (const option of options) {
    const isSelected = String(picked.has(option));
    if (option.getAttribute('aria-selected') !== isSelected) option.setAttribute('aria-selected', isSelected);
    const tab = option === first ? 0 : -1; // Tab comes to the picked word, arrow keys go on from there
    if (option.tabIndex !== tab || !option.hasAttribute('tabindex')) option.tabIndex = tab;
  }
}

// Scrolls the words alone, never the page.
function comeIntoSight(option) {
  const list = option.parentElement;
  if (list.scrollHeight <= list.clientHeight) return;
  const top = option.offsetTop - list.offsetTop;
  const bottom = top + option.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

function light(viewer) {
  const { state, part } = viewer;
  if (!state.data || state.phase === 'writing') return;
  const where = askedPart(state);
  const { shades } = where ? litWords(state.data, state.granularity, where) : { shades: [] };
  part('read').classList.toggle('lens-pointing', Boolean(where));
  part('legend').textContent = legendText({
    isKnown: Boolean(state.data.answer.without),
    isPointing: Boolean(where),
    isTouch: isTouch(),
  });
  segmentsOf(state, 'answer')
    .map((segment, i) => ({ segment, shade: shades[i] ?? 0 }))
    .filter(({ segment }) => segment.tokens)
    .forEach(({ shade }, i) => {
      const option = part('words').querySelector(`[data-word="${i}"]`);
      if (!option || option.dataset.lit === shade.toFixed(3)) return;
      option.dataset.lit = shade.toFixed(3);
      option.style.setProperty('--lit', shade.toFixed(3));
      option.classList.toggle('lens-lit', shade > 0.3);
    });
}

const isTouch = () => matchMedia('(hover: none)').matches;

function listenToPointer(viewer, place) {
  const { listen, picksOf } = viewer;
  listen(place, 'pointerover', (event) => {
    const option = event.target.closest('.lens-word');
    if (isHovering(event)) preview(viewer, option ? (picksOf.get(option) ?? null) : null);
  });
  listen(place, 'pointerleave', () => preview(viewer, null));
  listen(place, 'mousedown', (event) => event.shiftKey && event.preventDefault()); // a range, not selected text
  listen(place, 'click', (event) => {
    const option = event.target.closest('.lens-word');
    const pick = option && picksOf.get(option);
    if (!pick) return;
    option.focus({ preventScroll: true });
    preview(viewer, null);
    choose(viewer, pick, event.shiftKey);
  });
}

function listenToKeys(viewer, place) {
  const { state, picksOf } = viewer;
  viewer.listen(viewer.part(place), 'keydown', (event) => {
    const option = event.target.closest('.lens-word');
    if (!option || hasModifier(event) || !picksOf.has(option)) return;
    if (isConfirming(event)) {
      event.preventDefault();
      choose(viewer, picksOf.get(option), event.shiftKey);
      return;
    }
    const all = wordsOf(viewer, place).filter(isThere);
    const at = all.indexOf(option);
    const next = all[{ ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key]];
    if (!next) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.shiftKey && !state.anchor) state.anchor = picksOf.get(option);
    next.focus({ preventScroll: true });
    preview(viewer, null);
    choose(viewer, picksOf.get(next), event.shiftKey);
  });
}

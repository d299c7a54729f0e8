// Keys that work anywhere on the page; letters only outside fields.
import { actionOf } from '../state/keys.js';
import { between } from '../state/picks.js';
import { isAll, segmentsOf } from '../state/texts.js';
import { isFolded, isSaid, isThought } from '../state/thoughts.js';
import { choose, chooseWhole, keepRegion, preview, setLook, show, showVisual, want } from './actions.js';
import { test } from './verdict.js';

const VIEWS = ['overlay', 'spotlight', 'side by side', 'wipe'];
const FIELDS =
  'input:not([type="radio"], [type="checkbox"], [type="range"]), textarea, select, [contenteditable="true"]';
const PRESSED =
  'button, a, label, summary, [role="option"], [role="tab"], [role="slider"], [role="application"]';
const WITH_ARROWS = 'input, [role="slider"], [role="application"], [role="tab"]';

export function addKeys(viewer) {
  viewer.listen(document, 'keydown', (event) => {
    const { state } = viewer;
    if (!state.data || state.phase !== 'answered' || event.defaultPrevented || isOthers(viewer, event))
      return;
    const inField = isIn(event, FIELDS);
    const action = actionOf({
      ...keyOf(event),
      inField,
      hasArrows: isIn(event, WITH_ARROWS),
      isPressed: isIn(event, PRESSED),
    });
    if (!action || !take(viewer, action)) return;
    event.preventDefault();
  });
}

// With AltGr, which some keyboards need for brackets, Ctrl and Alt are told as pressed.
function keyOf(event) {
  const { key, code, shiftKey, metaKey } = event;
  const isGraph = event.getModifierState('AltGraph');
  const [ctrlKey, altKey] = [event.ctrlKey, event.altKey].map((isDown) => isDown && !isGraph);
  return { key, code, shiftKey, ctrlKey, altKey, metaKey };
}

const isIn = ({ target }, selector) => target instanceof Element && target.closest(selector) !== null;

// Returns whether a key was pressed in another viewer of the page.
const isOthers = ({ root }, event) => isIn(event, '.lens-viewer') && !root.contains(event.target);

// Does what a key asks for; returns whether there was something to do.
function take(viewer, { action, index, step, extend }) {
  const { state } = viewer;
  if (action === 'word') return walk(viewer, step, extend);
  if (action === 'whole') letGo(viewer);
  else if (action === 'test') test(viewer);
  else if (action === 'plane') return nextPlane(viewer, step);
  else if (action === 'visual') return visual(viewer, index);
  else if (action === 'play') return viewer.scrubber.toggle();
  else if (action === 'view') setLook(viewer, { view: VIEWS[index] }, true);
  else if (action === 'method') {
    const row = state.data.methods.filter((one) => one.group === 'first')[index];
    if (row) want(viewer, { method: row.name });
  } else return false;
  return true;
}

// Goes to the next moment of a clip, at its end to the next picture.
function nextPlane(viewer, step) {
  const { data } = viewer.state;
  if (viewer.scrubber.step(step)) return true;
  const { visual: at } = data.planes[data.plane];
  return visual(viewer, at + step);
}

function visual(viewer, index) {
  const { data } = viewer.state;
  if (!data.visuals[index] || data.visuals.length < 2) return false;
  if (data.planes[data.plane].visual !== index) showVisual(viewer, index);
  return true;
}

// Lets go of the kept region, or where there is none of the picked words.
function letGo(viewer) {
  if (viewer.state.region) keepRegion(viewer, null);
  else {
    preview(viewer, null);
    chooseWhole(viewer);
  }
}

const isMany = (state) => isAll(state, state.picked) || isSaid(state.data, state.picked);

// Goes to the next or the last word, from the whole answer to its first or last; with `extend` those from where the range
// began are taken along.
function walk(viewer, step, extend) {
  const { state } = viewer;
  const isShort = isFolded(state);
  const isThere = (segment) => segment.tokens && !(isShort && isThought(state.data, segment));
  const words = segmentsOf(state, 'answer').filter(isThere);
  const { picked } = state;
  const ends = picked && !picked.of_prompt && !isMany(state) ? picked.tokens : [];
  const at = words.findIndex(({ tokens }) => tokens.includes(step > 0 ? ends.at(-1) : ends[0]));
  const next = at < 0 ? words.at(step > 0 ? 0 : -1) : words[at + step];
  if (!next) return false;
  const pick = { tokens: next.tokens, of_prompt: false };
  if (extend && picked && !picked.of_prompt) show(viewer, between(picked, pick), true);
  else choose(viewer, pick);
  return true;
}

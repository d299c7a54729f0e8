// The one most useful next step, and up to two others. Goes in: the state. Comes out: [{kind, text, …}], the best first.
import { boxAsked, closable } from './closer.js';
import { firstPick } from './first.js';
import { keyOf } from './picks.js';
import { quoted } from './texts.js';
import { pickedSource, testState } from './verdict.js';

const MOST = 3;

function toFirst(state) {
  const pick = firstPick(state.data);
  if (!pick || keyOf(state.data, pick) === keyOf(state.data, state.picked)) return null;
  return { kind: 'show', text: `Show ${quoted(state, pick)}` };
}

// Returns the method that is tried where a map does not hold: the slow one, or the recommended one where that is shown.
function otherMethod({ data, can }) {
  if (!can.maps) return null;
  const first = data.methods.filter((one) => one.group === 'first');
  const row = first.at(-1).name === data.method.id ? first.at(-2) : first.at(-1);
  return row && { kind: 'method', text: `Try ${row.short}`, method: row.name };
}

// Returns a closer look at the box that is picked, or at where the map of the pick stands out.
function closer(state, test) {
  const box = boxAsked(state);
  if (box) return { kind: 'closer', text: `Crop to ${box.name} and ask again`, asked: box };
  const asked = test === 'holds' && !state.data.crop && closable(state);
  return asked && { kind: 'closer', text: 'Crop to it and ask again', asked };
}

export function nextSteps(state) {
  const { can, picked } = state;
  if (!picked) return [];
  const test = testState(state);
  const isLanguage = (pickedSource(state) ?? '').startsWith('language');
  const fails = test === 'fails' || test === 'partly';
  const steps = [
    (isLanguage || picked.of_prompt) && toFirst(state),
    test === 'untested' && can.test && { kind: 'test', text: 'Test this map' },
    fails && otherMethod(state),
    test === 'holds' &&
      can.hide &&
      !state.data.turns.length && { kind: 'hide', text: `Hide ${quoted(state, picked)} and ask again` },
    closer(state, test),
    test === 'holds' && !isLanguage && toFirst(state),
    test === 'holds' && { kind: 'panel', text: 'Compare methods', tab: 'methods' },
  ];
  return steps.filter(Boolean).slice(0, MOST);
}

// The verdict on a pick: where it came from, and what a test of its map found. Goes in: the state. Comes out: texts.
import { probabilities } from './need.js';
import { keyOf } from './picks.js';
import { quoted } from './texts.js';

const TONES = { 'the picture': 'picture', both: 'both' };
const STATES = { 'Holds up': 'holds', Partly: 'partly', 'Does not hold': 'fails' };

const UNLIKELY = 0.001; // a token of which that is all, with the picture and without, came from neither

// Returns where a word of so many tokens came from, by its probability with the picture and without: as the shell says it.
export function sourceOf(seen, unseen, tokens) {
  if (Math.max(seen, unseen) < UNLIKELY ** tokens) return 'neither: it is not what the model would say';
  if (unseen > 2 * seen) return 'language, against the picture';
  if (unseen >= seen / 2) return 'language alone';
  return unseen >= seen / 10 ? 'both' : 'the picture';
}

// Returns the source of what is picked; null where it is not known, and for words of the question.
export function pickedSource({ data, picked }) {
  if (!picked || picked.of_prompt) return null;
  const { seen, unseen } = probabilities(data, picked);
  return unseen === null ? null : sourceOf(seen, unseen, picked.tokens.length);
}

// Returns the headline as parts {text, tone}, the source in a tone of its own: "picture", "both" or "language".
export function headline(state) {
  const { picked } = state;
  if (!picked) return [{ text: 'The answer is empty: there is no word to show.' }];
  const name = quoted(state, picked);
  if (picked.of_prompt) return [{ text: `${name} is part of the question: the model did not write it.` }];
  const subject = name[0].toUpperCase() + name.slice(1);
  const source = pickedSource(state);
  if (source !== null)
    return [{ text: `${subject} came from ` }, { text: source, tone: TONES[source] ?? 'language' }];
  if (state.work?.part === 'need') return [{ text: `Working out how much ${name} needed the picture …` }];
  return [{ text: `${subject}: how much it needed the picture is not known` }];
}

// Returns the test of the map that is shown, of just these tokens; null where there is none.
export function checkOf({ data, picked, checks }) {
  if (!picked || picked.of_prompt) return null;
  return (
    checks.find((one) => one.map_key === data.method.key && `${one.tokens}` === `${picked.tokens}`) ?? null
  );
}

// Returns "none", "untested", "running", "holds", "partly" or "fails", of the map that is shown.
export function testState(state) {
  if (!state.picked || state.picked.of_prompt) return 'none';
  const check = checkOf(state);
  if (check) return STATES[check.verdict];
  const isRunning = state.work?.part === 'check' && state.work.key === keyOf(state.data, state.picked);
  return isRunning ? 'running' : 'untested';
}

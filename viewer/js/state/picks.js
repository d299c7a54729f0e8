// Picks: {tokens, of_prompt}, one or several tokens of the answer or of the prompt; and their keys: "all", "3", "3-5",
// of the prompt "p0".
import { asRanges, indices, numbersBetween } from './numbers.js';

export const sideOf = (data, pick) => (pick.of_prompt ? data.prompt : data.answer);

// Returns the segments of a text by words or by tokens: {text, tokens?, sign?}.
export const segmentsIn = (side, granularity) => side[granularity === 'words' ? 'words' : 'pieces'];

const wholeAnswer = (data) => ({ tokens: indices(data.answer.tokens.length), of_prompt: false });

export const isWhole = (data, pick) => !pick.of_prompt && pick.tokens.length === data.answer.tokens.length;

// Returns the key of a pick; an empty text where nothing is picked.
export function keyOf(data, pick) {
  if (!pick) return '';
  return isWhole(data, pick) ? 'all' : (pick.of_prompt ? 'p' : '') + asRanges(pick.tokens, '-', ',');
}

// Returns the pick that a key names; without tokens where one of them is not there, or it names none.
function pickNamed(data, key) {
  const pick = { of_prompt: key.trim().startsWith('p') };
  const text = key.trim().slice(pick.of_prompt ? 1 : 0);
  const { tokens } = sideOf(data, pick);
  if (text === 'all') return { ...pick, tokens: indices(tokens.length) };
  const runs = text
    .split(',')
    .map((run) => run.split('-').map((end) => (/^\s*\d+\s*$/.test(end) ? Number(end) : NaN)));
  const isThere = runs.every((ends) => ends.length < 3 && ends.every((end) => end in tokens));
  return {
    ...pick,
    tokens: isThere ? runs.flatMap(([first, last = first]) => numbersBetween(first, last)) : [],
  };
}

// Returns the pick that a key names, or that tokens make; null where there is no such pick, or it has no maps.
export function knownPick(data, selection) {
  const pick = typeof selection === 'string' ? pickNamed(data, selection) : selection;
  const { maps, tokens } = sideOf(data, pick);
  const isKnown = maps && pick.tokens.length && pick.tokens.every((token) => token in tokens);
  return isKnown ? { tokens: [...pick.tokens], of_prompt: Boolean(pick.of_prompt) } : null;
}

// Returns why there is no such pick, on one line; `selection` may be anything that was typed.
export function noPickText(data, selection) {
  const key = typeof selection === 'string' ? selection.trim() : keyOf(data, selection);
  if (!data.prompt.maps && pickNamed(data, key).of_prompt && pickNamed(data, key).tokens.length)
    return 'Only Fast has maps of the question’s words: choose it to pick one.';
  return `There is no token ${key}.`;
}

// Returns the pick that a key names, or that tokens make; the whole answer where there is no such pick, and null where
// there is no answer either.
export const pickOf = (data, selection) =>
  (selection && knownPick(data, selection)) ?? knownPick(data, wholeAnswer(data));

// Returns whether what a key names has maps.
export const isPickable = (data, key) => Boolean((key.startsWith('p') ? data.prompt : data.answer).maps);

// Returns the pick of all tokens from one pick to another of the same text.
export function between(anchor, pick) {
  const ends = [...anchor.tokens, ...pick.tokens];
  return { tokens: numbersBetween(Math.min(...ends), Math.max(...ends)), of_prompt: pick.of_prompt };
}

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

function pickNamed(data, key) {
  const pick = { of_prompt: key.startsWith('p') };
  const text = pick.of_prompt ? key.slice(1) : key;
  if (text === 'all') return { ...pick, tokens: indices(sideOf(data, pick).tokens.length) };
  const tokens = text.split(',').flatMap((run) => {
    const [first, last = first] = run.split('-').map(Number);
    return numbersBetween(first, last);
  });
  return { ...pick, tokens };
}

// Returns the pick that a key names, or that tokens make; the whole answer where there is no such pick, and null where
// there is no answer either.
export function pickOf(data, selection) {
  const everything = wholeAnswer(data);
  const pick = typeof selection === 'string' ? pickNamed(data, selection) : (selection ?? everything);
  const { maps, tokens } = sideOf(data, pick);
  const known = maps && pick.tokens.length && pick.tokens.every((token) => token in tokens);
  if (known) return { tokens: [...pick.tokens], of_prompt: Boolean(pick.of_prompt) };
  return everything.tokens.length && data.answer.maps ? everything : null;
}

// Returns whether what a key names has maps.
export const isPickable = (data, key) => Boolean((key.startsWith('p') ? data.prompt : data.answer).maps);

// Returns the pick of all tokens from one pick to another of the same text.
export function between(anchor, pick) {
  const ends = [...anchor.tokens, ...pick.tokens];
  return { tokens: numbersBetween(Math.min(...ends), Math.max(...ends)), of_prompt: pick.of_prompt };
}

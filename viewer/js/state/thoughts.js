// The thoughts of an answer, between <think> and </think>: which words they are, and whether they are folded away.
import { keptFor } from './kept.js';
import { indices } from './numbers.js';

const setOf = keptFor((answer) => new Set(answer.thoughts));
const inThoughts = ({ answer }) => setOf(answer);

// Returns whether a segment is one of the thoughts.
export function isThought(data, { tokens }) {
  const thoughts = inThoughts(data);
  return Boolean(tokens?.length) && tokens.every((token) => thoughts.has(token));
}

// Returns the pick of the answer without its thoughts; null where it has none, or nothing else.
export function saidPick(data) {
  const thoughts = inThoughts(data);
  if (!thoughts.size) return null;
  const tokens = indices(data.answer.tokens.length).filter((token) => !thoughts.has(token));
  return tokens.length ? { tokens, of_prompt: false } : null;
}

// Returns whether a pick is all of an answer but its thoughts, and that is several words.
export function isSaid(data, pick) {
  const said = pick.of_prompt ? null : saidPick(data);
  if (!said || `${said.tokens}` !== `${pick.tokens}`) return false;
  return data.answer.words.filter((word) => word.tokens && !isThought(data, word)).length > 1;
}

// Returns whether the thoughts are folded: until they are opened, or a word of them is picked alone.
export function isFolded({ data, picked, isUnfolded }) {
  if (isUnfolded || !saidPick(data)) return false;
  return !picked || picked.of_prompt || !isThought(data, picked);
}

// Returns the segments as runs of thoughts and of what is said: [{isThought, segments}]; plain text between two thoughts is
// theirs.
export function runsOf(data, segments) {
  const last = segments.findLastIndex((segment) => isThought(data, segment));
  const runs = [];
  segments.forEach((segment, i) => {
    const before = runs.at(-1);
    const isTheirs = segment.tokens ? isThought(data, segment) : Boolean(before?.isThought) && i < last;
    if (before?.isThought === isTheirs) before.segments.push(segment);
    else runs.push({ isThought: isTheirs, segments: [segment] });
  });
  return runs;
}

// Returns what the button says that folds and unfolds them.
export function thoughtsText(data, segments) {
  const isWord = ({ text }) => /[\p{L}\p{N}]/u.test(text) && !/^<\/?think>$/.test(text.trim());
  const count = segments.filter((segment) => isThought(data, segment) && isWord(segment)).length;
  return `${count} word${count === 1 ? '' : 's'} of thought`;
}

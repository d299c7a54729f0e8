// How much the picture was needed. Goes in: a payload, whose answer has `logprobs` and `without`, log p of each token with
// the picture and without it (null until that is known). Comes out: a share 0 to 1 for each segment, and probabilities.
import { segmentsIn } from './picks.js';

const MOST = 2; // powers of ten: a word that is so much likelier needed the picture as much as any
const LEAST = 0.3; // where all words lie this close together, none stands out

const summed = (logprobs, tokens) => tokens.reduce((sum, token) => sum + logprobs[token], 0);

export const isSpoken = (segment) => Boolean(segment.tokens) && /[\p{L}\p{N}]/u.test(segment.text);

// Returns for each segment how much it needed the picture, scaled over the answer: 0 to 1; null for punctuation and where
// it is not known.
export function needs(data, granularity) {
  const { logprobs, without } = data.answer;
  const segments = segmentsIn(data.answer, granularity);
  if (!without) return segments.map(() => null);
  const powers = segments.map((segment) => {
    if (!isSpoken(segment)) return null;
    const ratio = summed(logprobs, segment.tokens) - summed(without, segment.tokens);
    return Math.max(0, ratio / Math.LN10);
  });
  const known = powers.filter((power) => power !== null);
  const low = Math.min(...known);
  const high = Math.min(MOST, Math.max(...known));
  const scaled = (power) => (high - low < LEAST ? 0 : Math.min(1, Math.max(0, (power - low) / (high - low))));
  return powers.map((power) => (power === null ? null : scaled(power)));
}

// Returns whether a pick is at least twice as likely with the picture as without it; it is known how likely that is.
export function neededIt(data, pick) {
  const { seen, unseen } = probabilities(data, pick);
  return unseen < seen / 2;
}

// Returns the probability of a pick of the answer with the picture, and without it (null where that is not known): the
// product over its tokens.
export function probabilities(data, pick) {
  const { logprobs, without } = data.answer;
  return {
    seen: Math.exp(summed(logprobs, pick.tokens)),
    unseen: without ? Math.exp(summed(without, pick.tokens)) : null,
  };
}

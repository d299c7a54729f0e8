// Sentences beside the words, the picture and the panels. Goes in: numbers. Comes out: texts.
import { percent } from './numbers.js';

// Returns the legend under the words.
export function legendText({ isKnown, isPointing, isTouch }) {
  if (isPointing) return 'glowing: looks where you point. Drag for a larger part.';
  const start = isTouch ? 'Tap a word.' : 'Point at a word or the picture.';
  return isKnown ? `underlined: needed the picture. ${start}` : start;
}

// Returns what the two ends of the colour bar mean, for the hottest patch's share of the map.
export const barTexts = (even, hottest, isSpotlight, isPart = false) => ({
  low: `${isSpotlight ? 'dim' : 'clear'}: an even share, ${percent(even)}`,
  highest: isPart
    ? `hottest patch here: ${percent(hottest)}`
    : `hottest patch: ${percent(hottest)} of the map`,
});

// Returns where the attention of a pick went; of words of the question there is no answer before.
export function sharesText(name, [image, prompt, answer], isOfPrompt, noun = 'picture') {
  const rest = isOfPrompt ? '' : `, ${percent(answer)} to the answer so far`;
  const and = isOfPrompt ? ' and' : ',';
  return `Of all attention of ${name}, ${percent(image)} went to the ${noun}${and} ${percent(prompt)} to the question${rest}.`;
}

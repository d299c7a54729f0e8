// Lists of words, most first: {title, items} with items {text, share, pick}; a pick of null cannot be picked.
import { mapOf, massIn } from './maps.js';
import { isPickable, pickOf } from './picks.js';
import { nameOf, placeOf } from './texts.js';

const TOP = 8; // words ranked for a region
const LEANED = 12;

const mostFirst = (items) => items.sort((a, b) => b.share - a.share);

// Returns the words of the answer by how much of their map lies in the region, or in the cell that is pointed at.
export function rankedWords({ data, region, cursor }) {
  const where = region || cursor;
  if (!where || !data.answer.maps) {
    return {
      title: 'Point at the picture, or drag over a part of it, to see which words look there',
      items: [],
    };
  }
  const items = data.answer.words
    .filter((segment) => segment.tokens)
    .map((segment) => {
      const pick = { tokens: segment.tokens, of_prompt: false };
      const share = massIn(data, mapOf(data, pick), where);
      return { text: segment.text.trim() || segment.sign || '␣', share, pick };
    });
  return { title: `Words that look at ${placeOf(where)}`, items: mostFirst(items).slice(0, TOP) };
}

// Returns the tokens before the picked ones by how much these attended to them.
export function rankedLeaned(state) {
  const { data, picked } = state;
  if (!picked || picked.of_prompt) return { title: 'Pick a word of the answer.', items: [] };
  const { texts, picks, weights } = data.leaned;
  const items = texts.map((text, position) => {
    const share =
      picked.tokens.reduce((sum, token) => sum + weights[token][position], 0) / picked.tokens.length;
    const key = picks[position];
    return {
      text: text.trim() ? text : '␣',
      share,
      pick: key && isPickable(data, key) ? pickOf(data, key) : null,
    };
  });
  return {
    title: `What ${nameOf(state, picked)} attended to in the text, most first`,
    items: mostFirst(items)
      .filter((item) => item.share > 0)
      .slice(0, LEANED),
  };
}

// Lists of words, most first: {title, items} with items {text, share, pick}; a pick of null cannot be picked.
import { isPickable, pickOf } from './picks.js';
import { quoted } from './texts.js';

const LEANED = 12;

const mostFirst = (items) => items.sort((a, b) => b.share - a.share);

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
    title: `What ${quoted(state, picked)} attended to in the text, most first`,
    items: mostFirst(items)
      .filter((item) => item.share > 0)
      .slice(0, LEANED),
  };
}

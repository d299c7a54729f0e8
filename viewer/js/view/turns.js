// What stands before an answer: the one that it asks again, and the turns of its conversation, a line each, the shown one
// marked; and the button that begins the next.
import { setText } from './parts.js';

// Returns {write}.
export function addTurns(viewer) {
  const { part, listen, host, state } = viewer;
  for (const name of ['turns', 'before'])
    listen(part(name), 'click', (event) => {
      const { id } = event.target.closest('button')?.dataset ?? {};
      if (id) host.ask('turn', { id });
    });
  listen(part('follow'), 'click', () => host.ask('follow', { is: !state.isFollowing }));
  return { write: () => write(viewer) };
}

function write({ state, part, root }) {
  const { turns, turn, isFollowing, can } = state;
  root.toggleAttribute('data-following', isFollowing);
  part('turns').hidden = turns.length < 2 && !isFollowing;
  root.toggleAttribute('data-turns', !part('turns').hidden);
  if (!part('turns').hidden) fill(part('turns'), state);
  writeBefore(part('before'), state);
  part('follow').hidden = !can.follow || !state.data || !(state.phase === 'answered' || isFollowing);
  setText(part('follow'), isFollowing ? 'New question' : 'Ask a follow-up');
  part('follow').title = isFollowing
    ? 'Ask about the pictures anew (Esc)'
    : `Goes on from ${turn < turns.length - 1 ? 'this answer' : 'what was said'}`;
}

function writeBefore(place, { parent, phase, can }) {
  place.hidden = !parent || phase !== 'answered';
  if (place.hidden) return;
  const line = lineOf({ ...parent, prompt: `Before, ${parent.of}:` }, false, can.turn);
  place.replaceChildren(...line.childNodes);
}

function fill(list, { turns, turn, can }) {
  const key = JSON.stringify([turns, turn]);
  if (list.dataset.key === key) return;
  list.dataset.key = key;
  list.replaceChildren(...turns.map((one, i) => lineOf(one, i === turn, can.turn)));
  list.scrollTop = list.querySelector('[aria-current]')?.offsetTop ?? 0;
}

// Only an answer that is kept can be shown again.
function lineOf({ id, prompt, text }, isShown, isOpened) {
  const item = document.createElement('li');
  const line = document.createElement(id && isOpened && !isShown ? 'button' : 'span');
  if (line.localName === 'button') Object.assign(line, { type: 'button', title: 'Show this answer' });
  line.className = 'lens-turn';
  if (line.localName === 'button') line.dataset.id = id;
  if (isShown) line.setAttribute('aria-current', 'true');
  line.append(said('b', prompt));
  if (!isShown && text) line.append(said('span', ` ${text}`));
  item.append(line);
  return item;
}

function said(name, text) {
  const node = document.createElement(name);
  node.dir = 'auto';
  node.textContent = text;
  return node;
}

// The list of what the answer leaned on: words that can be picked.
import { percent } from '../state/numbers.js';
import { rankedLeaned } from '../state/ranking.js';
import { choose, preview } from './actions.js';
import { isHovering } from './parts.js';

// Returns {lean}, which writes the list anew.
export function addLists(viewer) {
  listenTo(viewer, viewer.part('leaned'));
  return { lean: () => lean(viewer) };
}

function lean(viewer) {
  const { title, items } = rankedLeaned(viewer.state);
  viewer.part('leanedNote').textContent = title;
  fill(viewer, viewer.part('leaned'), items);
}

function emptyLine() {
  const line = document.createElement('li');
  const button = document.createElement('button');
  button.type = 'button';
  button.append(document.createElement('span'), document.createElement('span'));
  line.append(button);
  return line;
}

// Lines that are there stay: whoever has the focus on one keeps it.
function fill({ picksOf }, list, items) {
  while (list.children.length > items.length) list.lastChild.remove();
  while (list.children.length < items.length) list.append(emptyLine());
  const most = Math.max(...items.map((item) => item.share), 1e-12);
  items.forEach((item, i) => {
    const button = list.children[i].firstChild;
    button.firstChild.textContent = item.text;
    button.lastChild.textContent = percent(item.share);
    button.style.setProperty('--lens-share', (item.share / most).toFixed(3));
    button.disabled = !item.pick;
    if (item.pick) picksOf.set(button, item.pick);
    else picksOf.delete(button);
  });
}

function listenTo(viewer, list) {
  const { listen, picksOf } = viewer;
  const pickAt = (event) => picksOf.get(event.target.closest('button')) ?? null;
  listen(list, 'click', (event) => {
    const pick = pickAt(event);
    if (pick) choose(viewer, pick);
  });
  listen(list, 'pointerover', (event) => {
    if (isHovering(event)) preview(viewer, pickAt(event));
  });
  listen(list, 'pointerleave', () => preview(viewer, null));
}

// The tabs under the verdict, one panel each; only the open one is drawn.
import { isWhole, keyOf, sideOf } from '../state/picks.js';
import { nounOf } from '../state/planes.js';
import { layerPlot, tokenPlot } from '../state/plots.js';
import { sharesText } from '../state/said.js';
import { meanShares, visualsText } from '../state/shares.js';
import { quoted } from '../state/texts.js';
import { choose, openTab } from './actions.js';
import { addHeads } from './heads.js';
import { addLists } from './lists.js';
import { remembered } from './parts.js';
import { drawPlot } from './plot.js';
import { addTest } from './test.js';

const TABS = ['test', 'heads', 'shares', 'methods'];

// Returns {draw, drawHeads}: draws what is open; the second only layers × heads.
export function addPanels(viewer) {
  const { state, part, root, listen } = viewer;
  const heads = addHeads(viewer);
  const test = addTest(viewer);
  const lists = addLists(viewer);
  const tokens = remembered((answer) =>
    drawPlot(part('tokenPlot'), tokenPlot(answer), (token) =>
      choose(viewer, { tokens: [token], of_prompt: false }),
    ),
  );
  const drawHeads = () => state.data && state.tab === 'heads' && heads.draw();
  const draw = () => {
    mark(viewer);
    if (!state.data || part('panels').hidden) return;
    if (state.tab === 'test') test.draw();
    if (state.tab === 'shares') drawShares(viewer, tokens, lists);
    if (state.tab === 'methods') viewer.methods.write();
    if (state.tab === 'heads') {
      heads.draw();
      askForHeads(viewer);
    }
  };
  const tabs = [...root.querySelectorAll('[data-tab]')];
  for (const tab of tabs) listen(tab, 'click', () => openTab(viewer, tab.dataset.tab));
  listen(part('tabs'), 'keydown', (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step || !event.target.dataset.tab) return;
    event.stopPropagation();
    const next = tabs[(tabs.indexOf(event.target) + step + tabs.length) % tabs.length];
    openTab(viewer, next.dataset.tab);
    next.focus();
  });
  listen(part('widen'), 'click', () => {
    state.isWide = !state.isWide;
    root.toggleAttribute('data-wide', state.isWide);
    part('widen').setAttribute('aria-pressed', String(state.isWide));
  });
  return { draw, drawHeads };
}

function mark({ state, root }) {
  for (const name of TABS) {
    const tab = root.querySelector(`[data-tab="${name}"]`);
    const isOpen = state.tab === name;
    tab.setAttribute('aria-selected', String(isOpen));
    tab.tabIndex = isOpen ? 0 : -1;
    root.querySelector(`[data-panel="${name}"]`).hidden = !isOpen;
  }
}

function drawShares({ state, part }, tokens, lists) {
  const { data, picked } = state;
  const mark_ = tokens(data.answer);
  mark_(picked && !picked.of_prompt && !isWhole(data, picked) ? picked.tokens : []);
  part('leanedBox').hidden = !data.leaned;
  if (data.leaned) lists.lean();
  part('promptNote').textContent = data.prompt.maps
    ? ''
    : 'Only Fast has maps of the question’s words: choose it to pick one.';
  if (!picked) return;
  const shares = meanShares(sideOf(data, picked).shares, picked.tokens);
  part('sharesTitle').textContent = quoted(state, picked);
  part('sharesText').textContent = sharesText(quoted(state, picked), shares, picked.of_prompt, nounOf(data));
  part('visualsText').textContent = visualsText(data, sideOf(data, picked), picked.tokens);
  part('sharesBar').replaceChildren(
    ...['image', 'prompt', 'answer'].map((name, i) => {
      const span = document.createElement('span');
      span.dataset.share = name;
      span.style.flex = `${shares[i]} 1 0`;
      return span;
    }),
  );
  const plot = layerPlot(state);
  part('layerTitle').textContent = plot.title;
  drawPlot(part('layerPlot'), plot);
}

function askForHeads({ state, host }) {
  const { data, picked, heads, headsWanted, can } = state;
  if (data.settings.heads_refused) return;
  const key = keyOf(data, picked);
  if (!picked || heads.has(key) || key === headsWanted || !can.heads) return;
  state.headsWanted = key;
  host.ask('heads', { key });
}

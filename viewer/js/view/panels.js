// The three panels that open under the viewer; each is drawn only while it is open.
import { isWhole, keyOf } from '../state/picks.js';
import { layerPlot, tokenPlot } from '../state/plots.js';
import { choose } from './actions.js';
import { remembered } from './parts.js';
import { drawPlot } from './plot.js';

// Returns {draw, drawHeads}: draws what is open; the second only layers × heads.
export function addPanels(viewer, lists, heads) {
  const { state, panel, part, listen } = viewer;
  const tokens = remembered((answer) =>
    drawPlot(part('tokenPlot'), tokenPlot(answer), (token) =>
      choose(viewer, { tokens: [token], of_prompt: false }),
    ),
  );
  const drawHeads = () => {
    if (panel('heads').open) heads.draw();
  };
  const draw = () => {
    panel('heads').hidden = !state.heads.size && !state.isLive;
    panel('leaned').hidden = !state.data.leaned;
    if (panel('shares').open) drawShares(viewer, tokens);
    if (panel('leaned').open && state.data.leaned) lists.lean();
    drawHeads();
    if (panel('heads').open) askForHeads(viewer);
  };
  for (const name of ['shares', 'heads', 'leaned']) listen(panel(name), 'toggle', draw);
  return { draw, drawHeads };
}

function drawShares({ state, part }, tokens) {
  const { data, picked } = state;
  const mark = tokens(data.answer);
  mark(picked && !picked.of_prompt && !isWhole(data, picked) ? picked.tokens : []);
  if (!picked) return;
  const plot = layerPlot(state);
  part('layerTitle').textContent = plot.title;
  drawPlot(part('layerPlot'), plot);
}

function askForHeads({ state, host }) {
  const { data, picked, heads, headsWanted, isLive } = state;
  const key = keyOf(data, picked);
  if (!picked || heads.has(key) || key === headsWanted || !isLive) return;
  state.headsWanted = key;
  host.onChange({ want: 'heads', pick: { ...picked, key } });
}

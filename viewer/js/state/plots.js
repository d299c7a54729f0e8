// Plots of shares of attention as plain data: {rows, names, labels, summary}, a name and a label for each column.
import { indices, percent } from './numbers.js';
import { sideOf } from './picks.js';
import { meanShares } from './shares.js';
import { nameOf } from './texts.js';

// Returns the plot of the answer's tokens.
export function tokenPlot(answer) {
  const [image] = meanShares(answer.shares, indices(answer.shares.length));
  return {
    rows: answer.shares,
    names: answer.tokens.map((text, token) => `token ${token} “${text}”`),
    labels: answer.tokens.map((text) => text.trim()),
    summary: `On average ${percent(image)} of the attention is on the image`,
  };
}

// Returns the plot of what is picked, layer by layer, with its title.
export function layerPlot(state) {
  const { data, picked } = state;
  const perToken = sideOf(data, picked).layer_shares; // (token, layer, part)
  const rowsOf = (layer) => perToken.map((shares) => shares[layer]);
  const rows = data.layers.map((_, layer) => meanShares(rowsOf(layer), picked.tokens));
  const strongest = rows.reduce((best, shares, layer) => (shares[0] > rows[best][0] ? layer : best), 0);
  return {
    title: `${nameOf(state, picked)}, layer by layer`,
    rows,
    names: data.layers.map((layer) => `layer ${layer}`),
    labels: data.layers.map(String),
    summary: `Most on the image in layer ${data.layers[strongest]}: ${percent(rows[strongest][0])}`,
  };
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { layerPlot, tokenPlot } from '../../viewer/js/state/plots.js';
import { columnText, meanShares, stackedBars } from '../../viewer/js/state/shares.js';
import { newState, withPayload } from '../../viewer/js/state/state.js';
import { payload } from './made.js';

const plain = (text) => text.replaceAll('\u00a0', ' ');

test('shares are meaned part by part', () => {
  const found = meanShares(
    [
      [0.5, 0.5, 0],
      [9, 9, 9],
      [0.1, 0.2, 0.7],
    ],
    [0, 2],
  );
  [0.3, 0.35, 0.35].forEach((share, i) => {
    assert.ok(Math.abs(found[i] - share) < 1e-12);
  });
});

test('bars stand on one another, the image at the top', () => {
  const bars = stackedBars([
    [0.25, 0.5, 0.25],
    [1, 0, 0],
  ]);
  assert.deepEqual(bars.slice(0, 3), [
    { column: 0, part: 'image', top: 75, height: 25 },
    { column: 0, part: 'prompt', top: 25, height: 50 },
    { column: 0, part: 'answer', top: 0, height: 25 },
  ]);
  assert.deepEqual(bars[3], { column: 1, part: 'image', top: 0, height: 100 });
});

test('a column is told by its name and its three shares', () => {
  assert.equal(
    plain(columnText('layer 3', [0.25, 0.7, 0.05])),
    'layer 3: image 25 %, prompt 70 %, answer so far 5.0 %',
  );
});

test('the plot of the answer has a column for each token', () => {
  const { rows, names, labels, summary } = tokenPlot(payload().answer);
  assert.deepEqual(rows, payload().answer.shares);
  assert.deepEqual(names[1], 'token 1 “ red”');
  assert.deepEqual(labels, ['A', 'red', 'c', 'at']);
  assert.match(plain(summary), / 29 % of the attention is on the image$/);
});

test('the plot of a pick has the mean of its tokens in each layer, and names the strongest', () => {
  const state = withPayload(newState(false), payload({ pick: '2-3' }));
  const { rows, names, labels, title, summary } = layerPlot(state);
  assert.deepEqual(names, ['layer 3', 'layer 8']);
  assert.deepEqual(labels, ['3', '8']);
  assert.ok(Math.abs(rows[0][0] - 0.25) < 1e-12);
  assert.ok(Math.abs(rows[1][1] - 0.9) < 1e-12);
  assert.equal(title, '“cat” (tokens 2–3), layer by layer');
  assert.equal(plain(summary), 'Most on the image in layer 3: 25 %');
  const first = layerPlot(withPayload(newState(false), payload({ pick: '0' })));
  assert.equal(plain(first.summary), 'Most on the image in layer 8: 5.0 %');
});

// A small payload with every axis of another length: 3 × 5 cells, 4 tokens of the answer, 2 of the prompt, 2 layers of
// 6 heads. Numbers are packed here by hand, as Python packs them.

import { indices } from '../../viewer/js/state/numbers.js';

export const GRID = [3, 5];

const DATA = {
  answer: [
    [0.01, 0.02, 0.03, 0.04, 0.05, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.09],
    [0, 0, 0, 0, 0, 0, 0.2, 0, 0, 0, 0, 0, 0, 0, 0],
    [0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02, 0.02],
    [-0.1, 0.1, 0, 0, 0, 0, 0.3, 0, 0, 0, 0, 0, 0, 0, 0],
  ],
  prompt: [
    [0.5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.1],
    [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0.05, 0, 0, 0],
  ],
};

export const mapsOf = (name) => DATA[name];

// Returns rows as they travel; each row's ends come back exactly.
export function packed(rows, bits = 16) {
  const most = 2 ** bits - 1;
  const low = rows.map((row) => Math.min(...row));
  const high = rows.map((row) => Math.max(...row));
  const bytes = rows.flatMap((row, i) =>
    row.flatMap((value) => {
      const number = high[i] > low[i] ? Math.round(((value - low[i]) / (high[i] - low[i])) * most) : 0;
      return bits === 16 ? [number % 256, Math.floor(number / 256)] : [number];
    }),
  );
  return { data: Buffer.from(bytes).toString('base64'), bits, low, high };
}

const words = (texts) => texts.map((text, token) => ({ text, tokens: [token] }));

const METHODS = [
  { name: 'attention', label: 'Attention', short: 'Fast', group: 'first' },
  { name: 'gradient-attention', label: 'Gradient × attention', short: 'Best', group: 'first' },
  { name: 'occlusion', label: 'Occlusion', short: 'Causal', group: 'first' },
  { name: 'tam', label: 'Token activation map', short: 'Token act.', group: 'more' },
];

// Of an answer about one picture that stands alone.
const ALONE = {
  visuals: [{ name: 'picture 1', kind: 'image', grid: [1, ...GRID], first: 0, times: [] }],
  turns: [],
  crop: null,
};

// Returns a payload as Python makes it, with some of it changed.
export function payload(changes = {}) {
  return {
    pictures: [{ url: 'data:,picture', width: 350, height: 210 }],
    ...ALONE,
    answer: {
      text: 'A red cat',
      tokens: ['A', ' red', ' c', 'at'],
      words: [
        { text: 'A', tokens: [0] },
        { text: ' ' },
        { text: 'red', tokens: [1] },
        { text: ' ' },
        { text: 'cat', tokens: [2, 3] },
      ],
      pieces: words(['A', ' red', ' c', 'at']),
      maps: packed(DATA.answer),
      shares: [
        [0.26, 0.68, 0.06],
        [0.2, 0.5, 0.3],
        [0.3, 0.3, 0.4],
        [0.4, 0.1, 0.5],
      ],
      layer_shares: [0, 1, 2, 3].map((token) => [
        [0.1 * token, 0.5, 0.5 - 0.1 * token],
        [0.05, 0.9, 0.05],
      ]),
      probabilities: [0.5, 0.001, 0.5, 0.5],
      logprobs: [0.5, 0.001, 0.5, 0.5].map(Math.log),
      without: null,
      have: null,
      thoughts: [],
    },
    prompt: {
      text: 'What is',
      tokens: ['What', ' is'],
      words: words(['What', ' is']),
      pieces: words(['What', ' is']),
      maps: packed(DATA.prompt),
      shares: [
        [0.6, 0.4, 0],
        [0.05, 0.95, 0],
      ],
      layer_shares: [0, 1].map(() => [
        [0.5, 0.5, 0],
        [0.2, 0.8, 0],
      ]),
      probabilities: [],
    },
    boxes: [{ list: [], notes: '', json: '[]', threshold: 0.5, threshold_text: 'the hot cells' }],
    layers: [3, 8],
    method: {
      name: 'attention',
      id: 'attention',
      key: 'attention-1',
      values: 'share of attention',
      unit: '%',
      caveat: 'It is not a proof.',
      sinks: true,
    },
    methods: METHODS,
    checks: [],
    settings: { model: 'made', layers: [3, 8], heads: [0, 1, 2, 3, 4, 5], head_count: 6, aggregation: 'max' },
    palettes: {},
    look: { colormap: 'viridis', opacity: 0.5, contrast: 0, view: 'overlay', cells: 'cells', scale: 'own' },
    pick: 'all',
    heads: [],
    leaned: null,
    removed: [],
    ...changes,
  };
}

// Returns a test of a map as Python makes it: 3 numbers of patches, 2 random draws.
export function checkOf(tokens, changes = {}) {
  return {
    text: 'red',
    tokens,
    map_key: 'attention-1',
    patches: [0, 1, 2],
    hottest: [0.9, 0.4, 0.1],
    random: [
      [0.9, 0.9, 0.8],
      [0.9, 0.7, 0.6],
    ],
    random_mean: [0.9, 0.8, 0.7],
    cells: {
      hottest: [6, 1],
      random: [
        [3, 14],
        [0, 2],
      ],
    },
    telling: 2,
    verdict: 'Holds up',
    sentences: ['First.', 'Second.', 'Third.'],
    note: '',
    ...changes,
  };
}

// Returns layers × heads of a pick; map number i has its highest value, (i + 1) / 100, in cell i % 15.
export function headsOf(tokens) {
  const rows = indices(3 * 7).map((i) => indices(15).map((cell) => (cell === i % 15 ? (i + 1) / 100 : 0)));
  const shares = [0, 1, 2].map((row) => [0, 1, 2, 3, 4, 5, 6].map((col) => (7 * row + col) / 100));
  return { pick: { tokens, of_prompt: false }, layers: [3, 8], heads: 6, maps: packed(rows, 8), shares };
}

// Returns the same about two pictures, of 1 × 5 and of 2 × 5 cells: the maps' first row lies on the first, the rest on the
// second.
export function severalPayload(changes = {}) {
  const picture = (url, height) => ({ url: `data:,${url}`, width: 350, height });
  return payload({
    pictures: [picture('one', 70), picture('two', 140)],
    visuals: [
      { name: 'one.png', kind: 'image', grid: [1, 1, 5], first: 0, times: [] },
      { name: 'two.png', kind: 'image', grid: [1, 2, 5], first: 5, times: [] },
    ],
    boxes: [payload().boxes[0], payload().boxes[0]],
    ...changes,
  });
}

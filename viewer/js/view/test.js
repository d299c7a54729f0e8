// The test of the shown map: the pictures that were tried, what each did to the word, and the curve.
import { curveOf, placed, triesOf } from '../state/curve.js';
import { boxOf } from '../state/geometry.js';
import { probabilityText } from '../state/numbers.js';
import { planesIn } from '../state/planes.js';
import { quoted } from '../state/texts.js';
import { checkOf, testState } from '../state/verdict.js';

const SVG = 'http://www.w3.org/2000/svg';
const WIDTH = 170; // pixels of the page of each picture

// Returns {draw}.
export function addTest(viewer) {
  return { draw: () => draw(viewer) };
}

function draw(viewer) {
  const { state, part } = viewer;
  const check = checkOf(state);
  part('tries').hidden = !check;
  part('curve').hidden = !check;
  if (!check) {
    part('testTitle').textContent = untested(state);
    part('testText').textContent =
      state.picked && !state.picked.of_prompt
        ? 'The map’s hottest patches are blurred, more and more of them, while the answer stays what it is. If the word comes from there, it falls sooner than with patches at random.'
        : '';
    part('testNote').textContent = '';
    return;
  }
  const [title, ...rest] = check.sentences;
  part('testTitle').textContent = title;
  part('testText').textContent = rest.join(' ');
  part('testNote').textContent = '';
  const own = planesIn(state.data, check.visual ?? 0).map((plane) => state.data.planes[plane]);
  part('tries').replaceChildren(...placed(triesOf(check), own).map((one) => tried(viewer, one)));
  part('curve').replaceChildren(curveNode(curveOf(check)));
}

function untested(state) {
  if (!state.picked) return '';
  if (state.picked.of_prompt) return 'Pick a word of the answer to test its map.';
  const name = quoted(state, state.picked);
  return testState(state) === 'running'
    ? `Testing this map of ${name} …`
    : `This map of ${name} is not tested yet.`;
}

// Returns one picture that was tried, what was hidden hatched, with the word's probability under it.
function tried({ painter }, { name, where, cells, probability, tone, plane: { picture, grid } }) {
  const node = document.createElement('div');
  node.className = 'lens-try';
  const canvas = document.createElement('canvas');
  const density = Math.min(2, window.devicePixelRatio || 1);
  const box = { x: 0, y: 0, width: Math.round(WIDTH * density) };
  box.height = Math.max(1, Math.round((box.width * picture.height) / picture.width));
  Object.assign(canvas, { width: box.width, height: box.height });
  const context = canvas.getContext('2d');
  context.drawImage(painter.scaled(picture, box.width, box.height).canvas, 0, 0);
  for (const cell of cells) {
    hatch(context, boxOf(box, grid, { row: Math.floor(cell / grid[1]), col: cell % grid[1] }), density);
  }
  const line = document.createElement('p');
  const label = document.createElement('span');
  label.textContent = `${name}${where}`;
  const value = document.createElement('b');
  value.textContent = probabilityText(probability);
  line.append(label, value);
  const meter = document.createElement('span');
  meter.className = 'lens-meter';
  meter.dataset.tone = tone;
  const fill = document.createElement('i');
  fill.style.width = `${100 * probability}%`;
  meter.append(fill);
  node.append(canvas, line, meter);
  return node;
}

function hatch(context, { left, top, width, height }, density) {
  context.save();
  context.beginPath();
  context.rect(left, top, width, height);
  context.clip();
  context.fillStyle = 'rgb(150 153 163 / 85%)';
  context.fillRect(left, top, width, height);
  context.strokeStyle = 'rgb(40 42 50 / 60%)';
  context.lineWidth = density;
  for (let x = -height; x < width; x += 5 * density) {
    context.beginPath();
    context.moveTo(left + x, top + height);
    context.lineTo(left + x + height, top);
    context.stroke();
  }
  context.restore();
  context.strokeStyle = '#101012';
  context.lineWidth = density;
  context.strokeRect(left, top, width, height);
}

function svgNode(tag, attributes, text = '') {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.textContent = text;
  return node;
}

const BOX = { left: 30, right: 110, top: 10, bottom: 22, width: 520, height: 110 };

function curveNode({ counts, hottest, random, low, high, telling, label, draws }) {
  const { left, right, top, bottom, width, height } = BOX;
  const x = (i) => left + (i * (width - left - right)) / Math.max(1, counts.length - 1);
  const y = (p) => top + (1 - p) * (height - top - bottom);
  const path = (values) =>
    values.map((p, i) => `${i ? 'L' : 'M'}${x(i).toFixed(1)} ${y(p).toFixed(1)}`).join('');
  const svg = svgNode('svg', {
    viewBox: `0 0 ${width} ${height}`,
    class: 'lens-curve',
    role: 'img',
    'aria-label': label,
  });
  svg.append(
    svgNode('rect', { x: x(telling) - 14, y: 2, width: 28, height: height - 4, rx: 6, class: 'lens-at' }),
  );
  const back = [...low]
    .map((p, i) => [x(i), y(p)])
    .reverse()
    .map(([a, b]) => `L${a.toFixed(1)} ${b.toFixed(1)}`)
    .join('');
  svg.append(svgNode('path', { d: `${path(high)}${back}Z`, class: 'lens-band' }));
  svg.append(svgNode('line', { x1: left, x2: width - right, y1: y(0), y2: y(0), class: 'lens-axis' }));
  svg.append(
    svgNode('path', { d: path(random), class: 'lens-chance' }),
    svgNode('path', { d: path(hottest), class: 'lens-hot' }),
  );
  counts.forEach((count, i) => {
    svg.append(
      svgNode('rect', { x: x(i) - 2.5, y: y(random[i]) - 2.5, width: 5, height: 5, class: 'lens-dot' }),
    );
    svg.append(svgNode('circle', { cx: x(i), cy: y(hottest[i]), r: i === telling ? 5 : 3.5 }));
    svg.append(svgNode('text', { x: x(i), y: height - 6, 'text-anchor': 'middle' }, String(count)));
  });
  for (const p of [0, 1])
    svg.append(svgNode('text', { x: left - 10, y: y(p) + 4, 'text-anchor': 'end' }, String(p)));
  const last = counts.length - 1;
  const apart = Math.abs(y(random[last]) - y(hottest[last])) < 14 ? 14 : 0;
  svg.append(svgNode('text', { x: x(last) + 10, y: y(random[last]) + 4 - apart }, `random (${draws} tries)`));
  svg.append(svgNode('text', { x: x(last) + 10, y: y(hottest[last]) + 4 }, 'hottest'));
  return svg;
}

// A plot of stacked shares, a column each, with a cursor for pointer and keys that says the numbers of the column there.
import { limited } from '../state/numbers.js';
import { columnText, stackedBars } from '../state/shares.js';
import { isConfirming } from './parts.js';

const SVG = 'http://www.w3.org/2000/svg';
const LABEL_WIDTH = 34; // pixels

// Draws {rows, names, labels, summary} into an element, and returns a function that marks columns as chosen.
export function drawPlot(place, plot, onChoose = () => {}) {
  const { rows, summary } = plot;
  const svg = svgNode('svg', {
    viewBox: `0 0 ${rows.length} 100`,
    preserveAspectRatio: 'none',
    tabindex: 0,
    role: 'application',
    'aria-label': summary,
  });
  for (const { column, part, top, height } of stackedBars(rows)) {
    svg.append(svgNode('rect', { x: column + 0.06, y: top, width: 0.88, height, 'data-share': part }));
  }
  const cursor = { at: 0 };
  const line = document.createElement('p');
  line.className = 'lens-faint';
  line.setAttribute('role', 'status');
  listenTo(svg, rows.length, cursor, sayer(svg, line, plot), onChoose);
  place.replaceChildren(...(rows.length ? [svg, labelRow(plot.labels, place.clientWidth), line] : []));
  return (columns) => {
    for (const one of svg.querySelectorAll('.lens-chosen')) one.remove();
    for (const column of columns) {
      svg.append(svgNode('rect', { x: column, y: 0, width: 1, height: 100, class: 'lens-chosen' }));
    }
    cursor.at = columns[0] ?? cursor.at;
  };
}

function svgNode(tag, attributes) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  return node;
}

// Returns a function that marks a column and says its numbers; for null it says the summary.
function sayer(svg, line, { rows, names, summary }) {
  const mark = svgNode('rect', { x: 0, y: 0, width: 1, height: 100, class: 'lens-at' });
  svg.append(mark);
  const say = (column) => {
    line.textContent = column === null ? summary : columnText(names[column], rows[column]);
    mark.setAttribute('visibility', column === null ? 'hidden' : 'visible');
    mark.setAttribute('x', column ?? 0);
  };
  say(null);
  return say;
}

function listenTo(svg, count, cursor, say, onChoose) {
  const go = (to) => {
    cursor.at = limited(to, 0, count - 1);
    return cursor.at;
  };
  const columnUnder = (event) => {
    const box = svg.getBoundingClientRect();
    return limited(Math.floor(((event.clientX - box.left) / box.width) * count), 0, count - 1);
  };
  svg.addEventListener('pointermove', (event) => say(columnUnder(event)));
  svg.addEventListener('pointerleave', () => say(null));
  svg.addEventListener('click', (event) => onChoose(go(columnUnder(event))));
  svg.addEventListener('focus', () => say(cursor.at));
  svg.addEventListener('blur', () => say(null));
  svg.addEventListener('keydown', (event) => {
    const { at } = cursor;
    const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: count - 1 }[event.key];
    if (isConfirming(event)) onChoose(at);
    else if (to === undefined) return;
    else say(go(to));
    event.preventDefault();
  });
}

// Returns the labels under the columns, every so many of them that they have room.
function labelRow(labels, width) {
  const row = document.createElement('div');
  row.className = 'lens-labels';
  row.setAttribute('aria-hidden', 'true');
  const every = Math.ceil(labels.length / Math.max(1, width / LABEL_WIDTH));
  const nodes = labels.map((text, column) => {
    const label = document.createElement('span');
    label.textContent = column % every ? '' : text;
    return label;
  });
  row.append(...nodes);
  return row;
}

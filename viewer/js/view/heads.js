// Layers × heads on one canvas: pointing at a map shows it in the picture, a click keeps it; names of rows and columns
// choose all of their maps, several where one drags.
import { stepped } from '../state/geometry.js';
import { glowScale, heat } from '../state/glow.js';
import {
  chosenHeads,
  headAt,
  headCorner,
  headNameAt,
  headNameNear,
  headsLayout,
  headText,
  namedBox,
  namedRange,
  noHeadsText,
} from '../state/heads.js';
import { headIndex, headsOf } from '../state/maps.js';
import { asRanges, limited, SPACE } from '../state/numbers.js';
import { partOn } from '../state/planes.js';
import { quoted } from '../state/texts.js';
import { showAlone, want } from './actions.js';
import { isConfirming, isHovering, remembered, setText } from './parts.js';

const FEW =
  'Point at one to see it in the picture, click to keep it. Bar: how much of that head’s attention is on the picture.';
const MANY =
  'A square for each: how much of its attention is on the picture. Point at one to see its map, click to keep it.';

// Returns {draw}.
export function addHeads(viewer) {
  const kept = {
    layout: remembered(headsLayout),
    thumbnails: remembered(thumbnailsOf),
    names: remembered(namesOf),
    all: remembered(allHeads),
  };
  const drag = { from: null, to: 0, isOver: false }; // the name where it began, the number of that where it is
  const draw = () => drawHeads(viewer, kept, drag);
  listenTo(viewer, drag, draw);
  addRanges(viewer);
  return { draw };
}

// Returns a canvas with every map of the grid, one below the other, each over its own range.
function thumbnailsOf(grid, plane, ramp) {
  const [rows, columns] = plane.grid;
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows * grid.maps.length;
  const onto = canvas.getContext('2d');
  const image = onto.createImageData(columns, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  grid.maps.forEach((whole, i) => {
    const values = partOn(whole, plane);
    const cells = heat(values, glowScale(values), 1);
    cells.forEach((value, cell) => {
      pixels[i * rows * columns + cell] = ramp[Math.round(value * (ramp.length - 1))];
    });
  });
  onto.putImageData(image, 0, 0);
  return canvas;
}

function drawHeads(viewer, kept, drag) {
  const { state, part, root } = viewer;
  const { data, picked } = state;
  const grid = headsOf(state, picked);
  const canvas = part('headsCanvas');
  const isComing = !grid && !data.settings.heads_refused;
  root.querySelector('[data-panel="heads"]').classList.toggle('lens-stale', isComing);
  canvas.hidden = !grid && !(isComing && state.headsLayout); // another pick's stay until these are there
  const name = picked ? quoted(state, picked) : '';
  setText(part('headsTitle'), `Every head’s own map of ${name}`);
  if (!grid) setText(part('headsNote'), noHeadsText(state));
  writeRanges(viewer);
  if (!grid) return;
  const scroll = canvas.parentElement;
  const isSquares = headsLayout(grid, data.picture, scroll.clientWidth).isSquares;
  setText(part('headsNote'), isSquares ? MANY : FEW); // takes room of the maps
  const layout = kept.layout(grid, data.picture, scroll.clientWidth, roomUnder(part('panels'), scroll));
  state.headsLayout = layout;
  const ramp = viewer.paper.grounded();
  const thumbs = kept.thumbnails(grid, data.planes[data.plane], ramp);
  const names = kept.names(data.settings, grid, drag.from, drag.to);
  const colours = viewer.paper.ink();
  drawAll(viewer, kept.all(layout, thumbs, ramp, names, colours), drag, colours);
  const size = `${grid.layers.length} layers and ${grid.heads} heads`;
  canvas.setAttribute(
    'aria-label',
    `Maps of ${size}: arrow keys move, Enter keeps one. ${headText(grid, state.headsCursor)}`,
  );
}

// Returns the height that a panel has for a part without scrolling, unlimited where the panel itself does not scroll.
function roomUnder(panels, part) {
  const style = getComputedStyle(panels);
  if (style.overflowY === 'visible') return Number.POSITIVE_INFINITY;
  const above = part.getBoundingClientRect().top - panels.getBoundingClientRect().top + panels.scrollTop;
  return panels.clientHeight - above - Number.parseFloat(style.paddingBottom);
}

// Returns the canvas's context, empty, in pixels of the page.
function fitted(canvas, { total }, { density }) {
  const [width, height] = [total.width, total.height].map((size) => Math.round(size * density));
  if (canvas.width !== width || canvas.height !== height) {
    Object.assign(canvas, { width, height });
    canvas.style.width = `${width / density}px`;
    canvas.style.height = `${height / density}px`;
  }
  const onto = canvas.getContext('2d');
  onto.setTransform(density, 0, 0, density, 0, 0);
  onto.clearRect(0, 0, total.width, total.height);
  return onto;
}

const css = (colour) => `rgb(${colour & 255} ${(colour >> 8) & 255} ${(colour >> 16) & 255})`;

// Returns a canvas with all maps and names, without what is pointed at, chosen or dragged over.
function allHeads(layout, thumbs, ramp, named, colours) {
  const canvas = document.createElement('canvas');
  const onto = fitted(canvas, layout, colours);
  const size = [thumbs.height / layout.grid.maps.length, thumbs.width];
  onto.textBaseline = 'middle';
  onto.imageSmoothingEnabled = layout.width < thumbs.width;
  drawNames(onto, layout, named, colours);
  const most = Math.max(...layout.grid.shares.flat(), 1e-12);
  for (let row = 0; row < layout.down; row++) {
    for (let col = 0; col < layout.across; col++) {
      const share = layout.grid.shares[row][col] / most;
      const corner = headCorner(layout, { row, col });
      if (layout.isSquares)
        drawSquare(onto, layout, corner, css(ramp[Math.round(share * (ramp.length - 1))]));
      else {
        const top = headIndex(layout.grid, { row, col }) * size[0];
        drawMap(onto, layout, corner, { thumbs, top, size });
        onto.fillStyle = colours.ember;
        onto.fillRect(corner.x, corner.y + layout.height + 2, layout.width * share, 2.5);
      }
    }
  }
  return canvas;
}

function drawAll({ state, part }, base, drag, colours) {
  const layout = state.headsLayout;
  const canvas = part('headsCanvas');
  const onto = fitted(canvas, layout, colours);
  onto.drawImage(base, 0, 0, base.width / colours.density, base.height / colours.density);
  const hasFocus = document.activeElement === canvas;
  const cursor = state.aloneSeen ?? (hasFocus ? state.headsCursor : null);
  if (drag.from) outlineNamed(onto, colours, namedBox(layout, drag.from, drag.to));
  else outlinePlaces(onto, layout, colours, chosenHeads(state, layout.grid), cursor);
}

// Returns the layers and heads whose names stand out: the chosen ones, and while names are dragged over those.
function namesOf({ layers, heads }, grid, from, to) {
  return { layers, heads, ...(from && namedRange(grid, from, to)) };
}

function outlineNamed(onto, { glow }, { x, y, width, height }) {
  onto.strokeStyle = glow;
  onto.lineWidth = 3;
  onto.strokeRect(x - 2.5, y - 2.5, width, height - 0.5);
}

function drawSquare(onto, { width, height }, { x, y }, colour) {
  onto.fillStyle = colour;
  onto.fillRect(x, y, width, height);
}

function drawMap(onto, { width, height }, { x, y }, { thumbs, top, size: [rows, columns] }) {
  onto.drawImage(thumbs, 0, top, columns, rows, x, y, width, height);
}

function drawNames(onto, layout, { layers, heads }, colours) {
  const { grid, top, width, height, down, across, isSquares } = layout;
  onto.textAlign = 'left';
  for (let row = 0; row < down; row++) {
    const { y } = headCorner(layout, { row, col: 0 });
    const layer = grid.layers[row - 1];
    const text = row ? `layer ${layer}` : 'all';
    writeName(onto, colours, { text, x: 0, y: y + height / 2, isChosen: layers.includes(layer) });
  }
  onto.textAlign = 'center';
  for (let col = 0; col < across; col++) {
    const { x } = headCorner(layout, { row: 0, col });
    const text = columnName(col, isSquares, width);
    writeName(onto, colours, { text, x: x + width / 2, y: top / 2, isChosen: heads.includes(col - 1) });
  }
}

// Returns what stands over a column; over narrow squares only every fifth has its number.
function columnName(col, isSquares, width) {
  if (!isSquares) return col ? `head ${col - 1}` : 'all heads';
  return col && (width >= 16 || (col - 1) % 5 === 0) ? String(col - 1) : '';
}

function writeName(onto, { ink, faint, font }, { text, x, y, isChosen }) {
  onto.fillStyle = isChosen ? ink : faint;
  onto.font = `${isChosen ? '600 ' : ''}11px ${font}`;
  onto.fillText(text, x, y);
}

function outlinePlaces(onto, layout, colours, chosen, cursor) {
  const { width, height } = layout;
  const outline = (place, colour, thick) => {
    const { x, y } = headCorner(layout, place);
    onto.lineWidth = thick;
    onto.strokeStyle = colour;
    onto.strokeRect(x - 1.5, y - 1.5, width + 3, height + 3);
  };
  if (chosen.row !== null && chosen.col !== null) outline(chosen, colours.glow, 3);
  if (cursor) outline(cursor, colours.ink, 2);
}

function listenTo(viewer, drag, draw) {
  const { state, part, listen } = viewer;
  const canvas = part('headsCanvas');
  const pointOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  };
  const placeUnder = (event) => state.headsLayout && headAt(state.headsLayout, pointOf(event));
  const see = (place) => {
    showAlone(viewer, place, false);
    draw(); // before the text: it reads the layout
    say(viewer, place);
  };
  listen(canvas, 'pointermove', (event) => {
    if (!drag.from && isHovering(event)) see(placeUnder(event));
    if (!drag.from) return;
    const to = headNameNear(state.headsLayout, drag.from.axis, pointOf(event));
    if (to === drag.to) return;
    drag.to = to;
    draw();
  });
  listen(canvas, 'pointerleave', () => see(null));
  listen(canvas, 'pointerdown', (event) => {
    const from = state.headsLayout && headNameAt(state.headsLayout, pointOf(event));
    Object.assign(drag, { from, to: from?.at, isOver: false });
    if (!from) return;
    canvas.setPointerCapture(event.pointerId);
    draw();
  });
  listen(canvas, 'pointerup', () => {
    if (!drag.from) return;
    const named = namedRange(state.headsLayout.grid, drag.from, drag.to);
    Object.assign(drag, { from: null, isOver: true });
    draw();
    want(viewer, { method: 'attention', ...named });
  });
  listen(canvas, 'pointercancel', () => {
    drag.from = null;
    draw();
  });
  listen(canvas, 'click', (event) => {
    const place = drag.isOver ? null : placeUnder(event); // a drag may end on a map
    if (place) showAlone(viewer, place, true);
  });
  listen(canvas, 'focus', draw);
  listen(canvas, 'blur', () => see(null));
  listen(canvas, 'keydown', (event) => followKey(viewer, event, see));
}

function followKey(viewer, event, see) {
  const { state, part } = viewer;
  if (!state.headsLayout) return;
  const { across, down } = state.headsLayout;
  const corners = { Home: { row: 0, col: 0 }, End: { row: down - 1, col: across - 1 } };
  const to = corners[event.key] ?? stepped(state.headsCursor, event.key, [down, across]);
  if (isConfirming(event)) showAlone(viewer, state.headsCursor, true);
  else if (!to) return;
  else {
    state.headsCursor = to;
    comeIntoSight(
      part('panels'),
      part('headsCanvas'),
      headCorner(state.headsLayout, to),
      state.headsLayout.step,
    );
    see(to);
  }
  event.preventDefault();
  event.stopPropagation();
}

function say({ state, part }, place) {
  const grid = state.headsLayout?.grid;
  const isTold = Boolean(place && grid);
  part('headsValue').textContent = isTold ? headText(grid, place) : SPACE;
  part('headsNote').style.visibility = isTold ? 'hidden' : '';
}

// Scrolls the panel as far as a map needs to be seen.
function comeIntoSight(scroller, canvas, { y }, step) {
  const top =
    canvas.getBoundingClientRect().top - scroller.getBoundingClientRect().top + scroller.scrollTop + y;
  scroller.scrollTop = limited(scroller.scrollTop, top + step.y - scroller.clientHeight, top - step.y);
}

// The layers and heads of every map as numbers, and how they are folded into one.
function addRanges(viewer) {
  const { part, listen } = viewer;
  const ranges = part('ranges');
  const field = (name, axis) => {
    const label = document.createElement('label');
    const input = document.createElement('input');
    Object.assign(input, { type: 'text', inputMode: 'numeric' });
    input.dataset.axis = axis;
    label.append(name, input);
    return label;
  };
  const fold = document.createElement('select');
  fold.dataset.axis = 'aggregation';
  fold.setAttribute('aria-label', 'Layers and heads are folded by');
  fold.append(...['mean', 'max', 'min'].map((name) => new Option(name, name)));
  ranges.append(field('layers', 'layers'), field('heads', 'heads'), fold);
  listen(ranges, 'change', ({ target }) => {
    const value = target.value.trim() || 'all';
    want(viewer, { method: 'attention', [target.dataset.axis]: value });
  });
}

// What is chosen now, in all fields but the one that is being typed in.
function writeRanges({ state, part }) {
  const { layers, heads, head_count, aggregation } = state.data.settings;
  const isAll = { layers: layers.length === state.data.layers.length, heads: heads.length === head_count };
  const shown = { layers, heads };
  part('ranges').hidden = !state.can.maps;
  for (const input of part('ranges').querySelectorAll('input')) {
    const { axis } = input.dataset;
    const text = asRanges(shown[axis], '-', ',');
    if (input !== document.activeElement) input.value = isAll[axis] || !text ? 'all' : text;
  }
  part('ranges').querySelector('select').value = aggregation ?? 'mean';
}

// Layers × heads on one canvas: pointer and keys choose a map that is shown alone.
import { paint } from '../state/colours.js';
import { stepped } from '../state/geometry.js';
import { chosenHeads, headAt, headCorner, headRanges, headsLayout, headText } from '../state/heads.js';
import { headIndex, headsOf } from '../state/maps.js';
import { limited, percent, SPACE } from '../state/numbers.js';
import { nameOf } from '../state/texts.js';
import { showAllHeads, showAlone } from './actions.js';
import { isConfirming, remembered } from './parts.js';

// Returns {draw}.
export function addHeads(viewer) {
  const thumbnails = remembered(thumbnailsOf);
  const draw = () => drawHeads(viewer, thumbnails);
  listenTo(viewer, draw);
  viewer.listen(viewer.part('all'), 'click', () => showAllHeads(viewer));
  return { draw };
}

// Returns a canvas with every map of the grid, one below the other.
function thumbnailsOf(grid, [rows, columns], scale, table) {
  const canvas = document.createElement('canvas');
  canvas.width = columns;
  canvas.height = rows * grid.maps.length;
  const onto = canvas.getContext('2d');
  const image = onto.createImageData(columns, canvas.height);
  const pixels = new Uint32Array(image.data.buffer);
  const ranges = headRanges(grid, scale);
  grid.maps.forEach((values, i) => {
    paint(pixels.subarray(i * rows * columns, (i + 1) * rows * columns), values, ranges[i], table);
  });
  onto.putImageData(image, 0, 0);
  return canvas;
}

function drawHeads(viewer, thumbnails) {
  const { state, part, panel } = viewer;
  const { data, picked } = state;
  const grid = headsOf(state, picked);
  const canvas = part('headsCanvas');
  panel('heads').classList.toggle('lens-stale', !grid);
  canvas.hidden = !grid && !state.headsLayout; // another pick's stay until these are there
  const missing = state.isLive ? 'being fetched …' : 'not in this file';
  part('headsNote').textContent = picked ? `${nameOf(state, picked)}${grid ? '' : `: ${missing}`}` : '';
  if (!grid) return;
  state.headsLayout = headsLayout(grid, data.picture, canvas.parentElement.clientWidth);
  drawAll(
    viewer,
    fitted(canvas, state.headsLayout),
    thumbnails(grid, data.grid, state.look.scale, viewer.palette.table()),
  );
  const size = `${grid.layers.length} layers and ${grid.heads} heads`;
  const text = headText(grid, data.method.unit, state.headsCursor);
  canvas.setAttribute('aria-label', `Maps of ${size}: arrow keys move, Enter shows one alone. ${text}`);
}

// Returns the canvas's context, in pixels of the page, and what one of them has in device pixels.
function fitted(canvas, { total }) {
  const density = limited(window.devicePixelRatio || 1, 1, 2);
  canvas.width = Math.round(total.width * density);
  canvas.height = Math.round(total.height * density);
  canvas.style.width = `${canvas.width / density}px`;
  canvas.style.height = `${canvas.height / density}px`;
  const onto = canvas.getContext('2d');
  onto.scale(density, density);
  return { onto, density };
}

function drawAll({ state, root, part }, { onto, density }, thumbs) {
  const layout = state.headsLayout;
  const [rows, columns] = state.data.grid;
  const style = getComputedStyle(root);
  const colours = {
    ink: style.color,
    faint: getComputedStyle(part('caveat')).color,
    image: style.getPropertyValue('--lens-image'),
    chosen: style.getPropertyValue('--lens-answer'), // stands out from most maps, light and dark
  };
  onto.font = `11px ${style.fontFamily}`;
  onto.textBaseline = 'middle';
  onto.imageSmoothingEnabled = layout.width * density < columns;
  drawNames(onto, layout, colours);
  onto.textAlign = 'center';
  const most = Math.max(...layout.grid.shares.flat(), 1e-12);
  for (let row = 0; row < layout.down; row++) {
    for (let col = 0; col < layout.across; col++) {
      const { x, y } = headCorner(layout, { row, col });
      const top = headIndex(layout.grid, { row, col }) * rows;
      onto.drawImage(thumbs, 0, top, columns, rows, x, y, layout.width, layout.height);
      drawShare(onto, layout, colours, { x, y, share: layout.grid.shares[row][col], most });
    }
  }
  const hasFocus = document.activeElement === part('headsCanvas');
  outlineCells(onto, layout, colours, chosenHeads(state, layout.grid), hasFocus ? state.headsCursor : null);
}

function drawNames(onto, layout, { faint }) {
  const { grid, top, width, height, down, across, isNamed } = layout;
  onto.fillStyle = faint;
  onto.textAlign = 'left';
  for (let row = 0; row < down; row++) {
    const { y } = headCorner(layout, { row, col: 0 });
    onto.fillText(row ? `L ${grid.layers[row - 1]}` : 'mean', 0, y + height / 2);
  }
  onto.textAlign = 'center';
  for (let col = 0; col < across; col++) {
    const { x } = headCorner(layout, { row: 0, col });
    const name = isNamed ? `head ${col - 1}` : `${col - 1}`;
    onto.fillText(col ? name : 'mean', x + width / 2, top / 2);
  }
}

function drawShare(onto, { width, height, isNamed }, { image, ink }, { x, y, share, most }) {
  onto.fillStyle = image;
  onto.fillRect(x, y + height + 1, (width * share) / most, 3);
  onto.fillStyle = ink;
  if (isNamed) onto.fillText(percent(share), x + width / 2, y + height + 12);
}

function outlineCells(onto, layout, colours, chosen, cursor) {
  const { width, height } = layout;
  const isChosen = (place) => place.row === chosen.row && place.col === chosen.col;
  if (chosen.row !== null && chosen.col !== null) {
    const { x, y } = headCorner(layout, chosen);
    onto.lineWidth = 3;
    onto.setLineDash([]);
    onto.strokeStyle = colours.chosen;
    onto.strokeRect(x - 1.5, y - 1.5, width + 3, height + 3);
  }
  if (cursor && !isChosen(cursor)) {
    const { x, y } = headCorner(layout, cursor);
    onto.lineWidth = 2;
    onto.setLineDash([4, 3]);
    onto.strokeStyle = colours.ink;
    onto.strokeRect(x - 1, y - 1, width + 2, height + 2);
  }
}

function listenTo(viewer, draw) {
  const { state, part, listen } = viewer;
  const canvas = part('headsCanvas');
  const placeUnder = (event) => {
    const box = canvas.getBoundingClientRect();
    const at = { x: event.clientX - box.left, y: event.clientY - box.top };
    return state.headsLayout && headAt(state.headsLayout, at);
  };
  listen(canvas, 'pointermove', (event) => say(viewer, placeUnder(event)));
  listen(canvas, 'pointerleave', () => say(viewer, null));
  listen(canvas, 'click', (event) => {
    const place = placeUnder(event);
    if (place) showAlone(viewer, place);
  });
  listen(canvas, 'focus blur', draw);
  listen(canvas, 'keydown', (event) => {
    if (!state.headsLayout) return;
    const { across, down } = state.headsLayout;
    const corners = { Home: { row: 0, col: 0 }, End: { row: down - 1, col: across - 1 } };
    const to = corners[event.key] ?? stepped(state.headsCursor, event.key, [down, across]);
    if (isConfirming(event)) showAlone(viewer, state.headsCursor);
    else if (!to) return;
    else {
      state.headsCursor = to;
      comeIntoSight(canvas.parentElement, state.headsLayout, to);
      draw();
      say(viewer, to);
    }
    event.preventDefault();
  });
}

function say({ state, part }, place) {
  const grid = state.headsLayout?.grid;
  part('headsValue').textContent = place && grid ? headText(grid, state.data.method.unit, place) : SPACE;
}

// Scrolls as far as a map needs to be seen with its names.
function comeIntoSight(scroller, layout, place) {
  const { left, top, step } = layout;
  const { x, y } = headCorner(layout, place);
  scroller.scrollLeft = limited(scroller.scrollLeft, x + step.x - scroller.clientWidth, x - left);
  scroller.scrollTop = limited(scroller.scrollTop, y + step.y - scroller.clientHeight, y - top);
}

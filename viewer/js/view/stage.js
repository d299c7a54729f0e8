// The picture under its map, on a canvas, at most once a frame.
import { paint } from '../state/colours.js';
import { boxOf, crossedBoxes, layoutOf } from '../state/geometry.js';
import { shownMap } from '../state/maps.js';
import { limited } from '../state/numbers.js';
import { smoothAxes, smoothed } from '../state/smooth.js';
import { remembered } from './parts.js';

// Returns {request, refit, stop}: request draws in the next frame, refit takes the room, view and picture anew too.
// `tell` is called with what was drawn: {values, range}.
export function addStage(viewer, tell) {
  const canvas = viewer.part('canvas');
  const stage = {
    canvas,
    context: canvas.getContext('2d'),
    map: document.createElement('canvas'),
    scaled: document.createElement('canvas'), // the picture at the size at which it is drawn
    image: new Image(),
    take: remembered((url) => {
      stage.image.src = url;
    }),
    axes: remembered(smoothAxes),
    blank: remembered((width, height) => {
      Object.assign(stage.map, { width, height });
      return stage.map.getContext('2d').createImageData(width, height);
    }),
  };
  let frame = 0;
  let isStale = true;
  const request = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const start = performance.now();
      if (isStale) fit(viewer, stage);
      isStale = false;
      tell(draw(viewer, stage));
      viewer.state.frames += 1;
      viewer.state.drawMs = performance.now() - start;
    });
  };
  const refit = () => {
    isStale = true;
    request();
  };
  viewer.listen(stage.image, 'load', refit);
  return { request, refit, stop: () => cancelAnimationFrame(frame) };
}

function measuredRoom({ part }) {
  return {
    width: part('stage').clientWidth,
    tallest: Math.max(240, 0.68 * window.innerHeight),
    density: limited(window.devicePixelRatio || 1, 1, 2),
  };
}

function fit(viewer, { canvas, scaled, image, take }) {
  const { state, part } = viewer;
  const { picture } = state.data;
  take(picture.url);
  state.layout = layoutOf(picture, state.look.view, measuredRoom(viewer));
  state.barWidth = part('ticks').clientWidth;
  const { panes, width, height, density } = state.layout;
  canvas.width = width;
  canvas.height = height;
  canvas.style.width = `${width / density}px`;
  canvas.style.height = `${height / density}px`;
  scaled.width = panes[0].width;
  scaled.height = panes[0].height;
  const onto = scaled.getContext('2d');
  onto.imageSmoothingQuality = 'high';
  if (image.complete && image.naturalWidth) onto.drawImage(image, 0, 0, scaled.width, scaled.height);
}

function draw(viewer, stage) {
  const { state } = viewer;
  const { canvas, context } = stage;
  const { panes } = state.layout;
  const shown = shownMap(state);
  if (shown.values) paintMap(viewer, stage, shown);
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const pane of panes) drawPane(state, stage, pane, Boolean(shown.values));
  if (shown.values) for (const pane of panes) crossOut(state, context, pane);
  for (const pane of panes) {
    if (state.region) outline(state, context, boxOf(pane, state.data.grid, state.region), false);
    if (state.cursor) outline(state, context, boxOf(pane, state.data.grid, state.cursor), true);
  }
  return shown;
}

// Draws the map alone onto a canvas of its own, a pixel for each cell, or smooth.
function paintMap({ state, palette }, { map, axes, blank }, { values, range }) {
  const { grid, picture } = state.data;
  const isSmooth = state.look.cells === 'smooth';
  const { width, height } = isSmooth ? axes(grid, picture) : { width: grid[1], height: grid[0] };
  const image = blank(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  paint(pixels, isSmooth ? smoothed(values, grid, axes(grid, picture)) : values, range, palette.table());
  map.getContext('2d').putImageData(image, 0, 0);
}

function drawPane({ look, divider }, { context, scaled, map }, { x, y, width, height, kind }, hasMap) {
  context.drawImage(scaled, x, y);
  if (kind === 'picture' || !hasMap) return;
  context.save();
  if (kind === 'wipe') {
    const from = Math.round(divider * width);
    context.beginPath();
    context.rect(x + from, y, width - from, height);
    context.clip();
  }
  context.globalAlpha = kind === 'heatmap' ? 1 : look.opacity;
  context.imageSmoothingEnabled = look.cells === 'smooth';
  context.drawImage(map, x, y, width, height);
  context.restore();
}

// Strokes white on black, which stands out from any picture.
function strokeTwice(context, density, thin, stroke) {
  for (const [colour, thick] of [
    ['#000', 3],
    ['#fff', thin],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = thick * density;
    stroke();
  }
}

function outline({ layout: { density } }, context, { left, top, width, height }, isDashed) {
  context.setLineDash(isDashed ? [4 * density, 3 * density] : []);
  strokeTwice(context, density, 1.5, () => context.strokeRect(left, top, width, height));
}

// Draws a cross over each cell of which the map claims nothing.
function crossOut({ data, layout, divider }, context, pane) {
  context.setLineDash([]);
  for (const { left, top, width, height } of crossedBoxes(pane, data.grid, data.removed, divider)) {
    strokeTwice(context, layout.density, 1.2, () => {
      context.beginPath();
      context.moveTo(left, top);
      context.lineTo(left + width, top + height);
      context.moveTo(left, top + height);
      context.lineTo(left + width, top);
      context.stroke();
    });
  }
}

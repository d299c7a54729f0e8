// The picture under its map, on a canvas, at most once a frame.
import { cropHere, paneOf, stateInPlace } from '../state/closer.js';
import { boxOf, crossedBoxes, layoutOf } from '../state/geometry.js';
import { shownMap, unfinishedMap } from '../state/maps.js';
import { limited } from '../state/numbers.js';
import { outlineOf } from '../state/outline.js';

const TALLEST = 0.65; // of the window
const LEAST = 120; // pixels of the page
const THIN = 26; // pixels of the page: smaller cells have a thinner outline, that their heat is seen

// Returns {request, refit, stop}: request draws in the next frame, refit takes the room, view and picture anew too.
// `prepare` is called before, for what takes room beside the picture; `tell` with what was drawn: {values, range, scale}.
export function addStage(viewer, prepare, tell) {
  const canvas = viewer.part('picture');
  const stage = { canvas, context: canvas.getContext('2d') };
  let frame = 0;
  let isStale = true;
  const request = () => {
    frame ||= requestAnimationFrame(() => {
      frame = 0;
      const start = performance.now();
      prepare();
      const picture = pictureOf(viewer.state);
      if (isStale || picture !== stage.picture) fit(viewer, stage);
      isStale = false;
      stage.picture = picture;
      tell(draw(viewer, stage));
      viewer.state.frames += 1;
      viewer.state.drawMs = performance.now() - start;
    });
  };
  const refit = () => {
    isStale = true;
    request();
  };
  return { request, refit, stop: () => cancelAnimationFrame(frame) };
}

// Returns the picture that belongs on the stage: the answer's, or one that is chosen now; null where there is none.
const pictureOf = ({ phase, data, sources, sourceAt }) =>
  phase === 'answered' && data ? data.picture : (sources[sourceAt] ?? sources[0] ?? data?.picture);

function measuredRoom({ root, part }) {
  const scene = part('scene');
  const isPinned = getComputedStyle(root.querySelector('.lens-right')).position === 'sticky'; // on a phone
  const room = scene.clientHeight - part('below').offsetHeight - 12;
  const most = isPinned ? 0.4 * root.clientHeight : Math.min(TALLEST * root.clientHeight, room);
  return {
    leastBeside: isPinned ? 560 : 360,
    width: scene.clientWidth || part('stage').clientWidth,
    tallest: Math.max(LEAST, most),
    density: limited(window.devicePixelRatio || 1, 1, 2),
  };
}

// Returns the view: the picture alone where it has no map.
function kindOf({ data, phase, look }) {
  if (phase === 'writing') return 'overlay';
  return data && phase === 'answered' ? look.view : 'picture';
}

function fit(viewer, { canvas }) {
  const { state, root } = viewer;
  const picture = pictureOf(state);
  canvas.hidden = !picture;
  if (!picture) return;
  const room = measuredRoom(viewer);
  state.layout = layoutOf(picture, kindOf(state), room);
  const { width, height, density } = state.layout;
  canvas.width = width;
  canvas.height = height;
  canvas.style.width = `${width / density}px`;
  canvas.style.height = `${height / density}px`;
  root.toggleAttribute('data-beside', width / density < 0.62 * room.width && room.width > room.leastBeside);
}

function draw(viewer, stage) {
  const { state } = viewer;
  const { canvas, context } = stage;
  const picture = pictureOf(state);
  const isAnswered = state.phase === 'answered';
  const shown = isAnswered ? shownMap(state) : unfinishedMap(state.phase === 'writing' ? state : {});
  if (!picture) return shown;
  const { panes } = state.layout;
  context.clearRect(0, 0, canvas.width, canvas.height);
  for (const pane of panes) drawPane(viewer, stage, pane, { picture, shown });
  if (!shown.values) return shown;
  for (const pane of panes) {
    drawOutline(state, context, pane, shown);
    drawCrop(viewer, stage, pane);
  }
  if (isAnswered) for (const pane of panes) drawMarks(state, context, pane);
  return shown;
}

// Draws what a person points at or keeps, and what the map leaves out.
function drawMarks(state, context, pane) {
  crossOut(state, context, pane);
  if (state.region) box(state, context, boxOf(pane, state.data.grid, state.region), false);
  if (state.cursor) box(state, context, boxOf(pane, state.data.grid, state.cursor), true);
}

// Draws where the crop of a closer look was cut out, and in it, if that is wanted, the crop with its own part of the map.
function drawCrop(viewer, stage, whole) {
  const { state } = viewer;
  const crop = cropHere(state);
  if (!crop) return;
  const pane = { ...paneOf(whole, crop.box), divided: dividedAt(state, whole) };
  const inPlace = stateInPlace(state);
  if (inPlace) {
    const shown = shownMap(inPlace);
    drawPane(viewer, stage, pane, { picture: inPlace.data.picture, shown });
    drawOutline(state, stage.context, pane, shown);
  }
  const { x: left, y: top, width, height } = pane;
  box(state, stage.context, { left, top, width, height }, !inPlace);
}

// Returns where a wipe divides a pane, from the canvas's left; the part of a picture is divided where that is.
const dividedAt = ({ divider }, { x, width, divided }) => divided ?? Math.round(x + divider * width);

function drawPane({ painter, state }, { context }, pane, { picture, shown }) {
  if (pane.kind !== 'wipe') {
    painter.draw(context, pane, { picture, kind: pane.kind, shown });
    return;
  }
  painter.draw(context, pane, { picture, kind: 'picture', shown });
  const from = dividedAt(state, pane);
  context.save();
  context.beginPath();
  context.rect(from, pane.y, Math.max(0, pane.x + pane.width - from), pane.height);
  context.clip();
  painter.draw(context, pane, { picture, kind: 'overlay', shown });
  context.restore();
}

// Strokes one colour over another, which stands out from any picture.
function strokeTwice(context, [wide, thin], stroke) {
  for (const [colour, thick] of [
    ['#101012', wide],
    ['#fff', thin],
  ]) {
    context.strokeStyle = colour;
    context.lineWidth = thick;
    stroke();
  }
}

// Draws the border of the fewest cells that hold half of the map, so that place does not depend on colour.
function drawOutline(state, context, pane, { values, grid }) {
  if (state.look.colormap !== 'glow' || ['picture', 'spotlight'].includes(pane.kind)) return;
  const [rows, columns] = grid;
  const segments = outlineOf(values, grid);
  context.save();
  context.beginPath();
  const from = pane.kind === 'wipe' ? dividedAt(state, pane) : pane.x;
  context.rect(from, pane.y, Math.max(0, pane.x + pane.width - from), pane.height);
  context.clip();
  context.setLineDash([]);
  context.lineCap = 'square';
  const cell = Math.min(pane.width / columns, pane.height / rows);
  const { density } = state.layout;
  const line = 2.2 * limited(cell / THIN, 0.4 * density, density);
  // At the edge of the picture the whole line is inside.
  const x = (col) => pane.x + limited((col * pane.width) / columns, line, pane.width - line);
  const y = (row) => pane.y + limited((row * pane.height) / rows, line, pane.height - line);
  strokeTwice(context, [2 * line, line], () => {
    context.beginPath();
    for (const [col, row, toCol, toRow] of segments) {
      context.moveTo(x(col), y(row));
      context.lineTo(x(toCol), y(toRow));
    }
    context.stroke();
  });
  context.restore();
}

function box({ layout: { density } }, context, { left, top, width, height }, isDashed) {
  context.setLineDash(isDashed ? [5 * density, 4 * density] : []);
  strokeTwice(context, [3 * density, 1.5 * density], () => context.strokeRect(left, top, width, height));
  context.setLineDash([]);
}

// Returns the cells of the shown plane that the map leaves out.
function removedHere({ removed, planes, plane }) {
  const { first, grid } = planes[plane];
  return removed.map((cell) => cell - first).filter((cell) => cell >= 0 && cell < grid[0] * grid[1]);
}

// Draws a cross over each cell of which the map claims nothing.
function crossOut({ data, layout, divider }, context, pane) {
  for (const { left, top, width, height } of crossedBoxes(pane, data.grid, removedHere(data), divider)) {
    strokeTwice(context, [3 * layout.density, 1.2 * layout.density], () => {
      context.beginPath();
      context.moveTo(left, top);
      context.lineTo(left + width, top + height);
      context.moveTo(left, top + height);
      context.lineTo(left + width, top);
      context.stroke();
    });
  }
}

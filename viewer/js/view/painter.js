// Pictures under their maps, in the look of now: large on the stage, small beside it.
import { gammaOf, paint } from '../state/colours.js';
import { enlarged, heatAxes } from '../state/enlarged.js';
import { heat, paintGlow, paintSpotlight, places, prepared, preparedGround } from '../state/glow.js';
import { smoothAxes, smoothed } from '../state/smooth.js';
import { remembered } from './parts.js';

const KEPT = 12; // pictures at a size that are kept

// Returns {ready, scaled, draw}. Pictures are {url, width, height, warmth}; sizes are in device pixels.
export function addPainter(viewer) {
  const images = new Map(); // url -> Image
  const sizes = new Map(); // url and size -> {canvas, pixels, detail}
  const tools = {
    map: document.createElement('canvas'),
    axes: remembered(smoothAxes),
    fine: remembered((rows, columns, width, height, cells) =>
      heatAxes([rows, columns], { width, height }, cells === 'smooth'),
    ),
    frame: remembered((width, height) => {
      const image = new ImageData(width, height);
      const pixels = new Uint32Array(image.data.buffer);
      return { image, pixels, heat: new Uint16Array(width * height) };
    }),
    ground: remembered((width, height) => preparedGround({ width, height })),
  };
  const imageOf = ({ url }) => {
    if (!images.has(url)) {
      const image = new Image();
      image.addEventListener('load', () => {
        for (const key of sizes.keys()) if (key.startsWith(url)) sizes.delete(key);
        viewer.redraw.loaded();
      });
      image.src = url;
      images.set(url, image);
    }
    return images.get(url);
  };
  const isReady = (picture) => imageOf(picture).complete && imageOf(picture).naturalWidth > 0;
  const scaled = (picture, width, height) => {
    const key = `${picture.url}|${width}|${height}`;
    if (!sizes.has(key)) {
      if (sizes.size >= KEPT) sizes.delete(sizes.keys().next().value);
      sizes.set(key, scaledPicture(imageOf(picture), picture, { width, height }, isReady(picture)));
    }
    return sizes.get(key);
  };
  return { isReady, scaled, draw: (...given) => drawMap(viewer, { scaled, ...tools }, ...given) };
}

function scaledPicture(image, picture, { width, height }, isReady) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const onto = canvas.getContext('2d', { willReadFrequently: true });
  onto.imageSmoothingQuality = 'high';
  if (isReady) onto.drawImage(image, 0, 0, width, height);
  const pixels = onto.getImageData(0, 0, width, height);
  return { canvas, pixels, detail: remembered(() => prepared(pixels.data, picture.warmth ?? 0)) };
}

// Draws a map of `shown`, what shownMap() returns, in a box: kind is "overlay", "spotlight", "heatmap" or "picture".
function drawMap(viewer, { scaled, map, axes, fine, frame, ground }, context, box, { picture, kind, shown }) {
  const { look } = viewer.state;
  const under = scaled(picture, box.width, box.height);
  if (kind === 'picture' || !shown.values) {
    context.drawImage(under.canvas, box.x, box.y);
    return;
  }
  if (look.colormap === 'glow' || kind === 'spotlight') {
    const { image, pixels, heat: hot } = frame(box.width, box.height);
    enlarged(heatOf(look, shown), fine(...shown.grid, box.width, box.height, look.cells), hot);
    if (kind === 'spotlight') paintSpotlight(pixels, under.detail(), hot, look.opacity);
    else if (kind === 'heatmap') paintGlow(pixels, ground(box.width, box.height), hot, look.opacity);
    else paintGlow(pixels, under.detail(), hot, look.opacity);
    if (look.view !== 'wipe') {
      context.putImageData(image, box.x, box.y);
      return;
    }
    Object.assign(map, { width: box.width, height: box.height });
    map.getContext('2d').putImageData(image, 0, 0);
    context.drawImage(map, box.x, box.y); // of which only a part is seen
    return;
  }
  context.drawImage(under.canvas, box.x, box.y);
  paintColours(viewer, map, axes, { ...shown, picture });
  context.save();
  context.globalAlpha = kind === 'heatmap' ? 1 : look.opacity;
  context.imageSmoothingEnabled = look.cells === 'smooth';
  context.drawImage(map, box.x, box.y, box.width, box.height);
  context.restore();
}

// Returns how hot each cell is, 0 to 1: by its share of the map, or in a colour map's spotlight by its place in the range.
function heatOf(look, { values, range, scale }) {
  const gamma = gammaOf(look);
  return look.colormap === 'glow' ? heat(values, scale, gamma) : places(values, range, gamma);
}

// Draws a map in a colour map onto a canvas of its own, a pixel for each cell, or smooth.
function paintColours({ state, palette }, map, axes, { values, grid, range, picture }) {
  const isSmooth = state.look.cells === 'smooth';
  const { width, height } = isSmooth ? axes(grid, picture) : { width: grid[1], height: grid[0] };
  Object.assign(map, { width, height });
  const onto = map.getContext('2d');
  const image = onto.createImageData(width, height);
  const pixels = new Uint32Array(image.data.buffer);
  paint(pixels, isSmooth ? smoothed(values, grid, axes(grid, picture)) : values, range, palette.table());
  onto.putImageData(image, 0, 0);
}

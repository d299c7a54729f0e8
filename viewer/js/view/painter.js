// Pictures under their maps, in the look of now: large on the stage, small beside it.
import { gammaOf, paint } from '../state/colours.js';
import { heatAxes } from '../state/enlarged.js';
import {
  blendedPlaces,
  heat,
  paintGlow,
  paintHeat,
  paintSpotlight,
  places,
  prepared,
  preparedGround,
} from '../state/glow.js';
import { axesAt, smoothAxes, smoothed } from '../state/smooth.js';
import { remembered } from './parts.js';

const KEPT = 12; // pictures at a size that are kept

// Returns {ready, scaled, draw}. Pictures are {url, width, height, warmth}; sizes are in device pixels.
export function addPainter(viewer) {
  const images = new Map(); // url, which may be as long as a picture -> {image, id}
  const sizes = new Map(); // id and size -> {canvas, detail}
  const tools = {
    map: document.createElement('canvas'),
    axes: remembered(smoothAxes),
    ground: remembered((width, height) => preparedGround({ width, height })),
    painted: heatPainter(),
  };
  const known = ({ url }) => {
    if (!images.has(url)) {
      const image = new Image();
      const id = images.size;
      image.addEventListener('load', () => {
        for (const key of sizes.keys()) if (key.startsWith(`${id} `)) sizes.delete(key);
        viewer.redraw.loaded();
      });
      image.src = url;
      images.set(url, { image, id });
    }
    return images.get(url);
  };
  const isReady = (picture) => known(picture).image.complete && known(picture).image.naturalWidth > 0;
  const scaled = (picture, width, height) => {
    const { image, id } = known(picture);
    const key = `${id} ${width} ${height}`;
    if (!sizes.has(key)) {
      if (sizes.size >= KEPT) sizes.delete(sizes.keys().next().value);
      sizes.set(key, scaledPicture(image, picture, { width, height }, isReady(picture)));
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
  return { canvas, detail: remembered(() => prepared(pixels.data, picture.warmth ?? 0)) };
}

// Returns a function that paints heat over a prepared picture and returns an ImageData: that of before where all is as it
// was then, such as while one points at the picture.
function heatPainter() {
  const imageOf = remembered((width, height) => new ImageData(width, height));
  const heatOf = remembered((kindOfHeat, values, ends, gamma) => kindOfHeat(values, ends, gamma));
  const axesFor = remembered((width, height, cells, ...grid) =>
    heatAxes(grid, { width, height }, cells === 'smooth'),
  );
  const painted = remembered((paintPixels, detail, cells, axes, strength) => {
    const image = imageOf(axes.width, axes.height);
    paintHeat(paintPixels, pixelsOf(image), detail, { heat: cells, axes, strength });
    return image;
  });
  return (look, { values, grid, range, scale }, { width, height }, { paintPixels, detail }) => {
    const gamma = gammaOf(look);
    const isShare = look.colormap === 'glow';
    if (!isShare && look.cells === 'smooth') {
      const image = new ImageData(width, height);
      const v = blendedPlaces(values, grid, axesAt(grid, { width, height }), range, gamma);
      paintPixels(pixelsOf(image), detail, v, look.opacity);
      return image;
    }
    const cells = heatOf(isShare ? heat : places, values, isShare ? scale : range, gamma);
    return painted(paintPixels, detail, cells, axesFor(width, height, look.cells, ...grid), look.opacity);
  };
}

const pixelsOf = (image) => new Uint32Array(image.data.buffer);

// Draws a map of `shown`, what shownMap() returns, in a box: kind is "overlay", "spotlight", "heatmap" or "picture".
function drawMap(viewer, { scaled, map, axes, painted, ground }, context, box, { picture, kind, shown }) {
  const { look } = viewer.state;
  const under = scaled(picture, box.width, box.height);
  if (kind === 'picture' || !shown.values) {
    context.drawImage(under.canvas, box.x, box.y);
    return;
  }
  if (look.colormap === 'glow' || kind === 'spotlight') {
    const image = painted(look, shown, box, {
      paintPixels: kind === 'spotlight' ? paintSpotlight : paintGlow,
      detail: kind === 'heatmap' ? ground(box.width, box.height) : under.detail(),
    });
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

// Draws a map in a colour map onto a canvas of its own, a pixel for each cell, or smooth.
function paintColours({ state, palette }, map, axes, { values, grid, range, picture }) {
  const isSmooth = state.look.cells === 'smooth';
  const { width, height } = isSmooth ? axes(grid, picture) : { width: grid[1], height: grid[0] };
  Object.assign(map, { width, height });
  const onto = map.getContext('2d');
  const image = onto.createImageData(width, height);
  const pixels = pixelsOf(image);
  paint(pixels, isSmooth ? smoothed(values, grid, axes(grid, picture)) : values, range, palette.table());
  onto.putImageData(image, 0, 0);
}

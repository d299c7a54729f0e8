// What stands around the picture: the colour bar with its numbers and marker, and the lines in words.
import { gammaOf } from '../state/colours.js';
import { shownMap, shownPick, valueAt } from '../state/maps.js';
import { placeOnBar, ticksOf } from '../state/scale.js';
import {
  captionOf,
  cellText,
  isRestricted,
  madeOf,
  pictureLabel,
  readoutOf,
  scaleNameOf,
  seenCell,
} from '../state/texts.js';
import { remembered } from './parts.js';

// Returns {write, sayPick, sayCell}: write follows each drawing; the two others speak to those who do not see it.
export function addReadout(viewer) {
  const { state, part } = viewer;
  const drawBar = remembered((colours) => fillBar(part('bar'), colours));
  const drawTicks = remembered((low, high, ...rest) =>
    fillTicks(part('ticks'), ticksOf([low, high], ...rest)),
  );
  const say = (text) => {
    part('status').textContent = text;
  };
  return {
    write(shown) {
      writeLines(viewer, shown);
      if (!shown.values) return;
      drawBar(viewer.palette.colours());
      drawTicks(...shown.range, gammaOf(state.look), state.data.method.unit, state.barWidth);
    },
    sayPick: () => say(state.picked ? captionOf(state, state.picked) : ''),
    sayCell: () => say(cellText(state, shownMap(state), state.cursor)),
  };
}

function writeLines({ state, part }, shown) {
  const { data, look } = state;
  const pick = shownPick(state);
  const seen = seenCell(state);
  part('caption').textContent = captionOf(state, pick);
  part('canvas').setAttribute('aria-label', pictureLabel(state, shown));
  part('marker').hidden = !(seen && pick);
  if (!pick) return;
  part('made').textContent = madeOf(state);
  part('all').hidden = !isRestricted(state);
  part('scaleName').textContent = scaleNameOf(state);
  part('value').textContent = readoutOf(state, shown);
  if (!seen) return;
  const place = placeOnBar(valueAt(data, shown.values, seen), shown.range, gammaOf(look));
  part('marker').style.left = `${100 * place}%`;
}

function fillBar(bar, colours) {
  bar.width = colours.length;
  bar.height = 1;
  const context = bar.getContext('2d');
  const image = context.createImageData(colours.length, 1);
  new Uint32Array(image.data.buffer).set(colours);
  context.putImageData(image, 0, 0);
}

function fillTicks(place, ticks) {
  const nodes = ticks.map(({ label, at, isEnd }) => {
    const tick = document.createElement('span');
    tick.textContent = label;
    tick.style.left = `${100 * at}%`;
    tick.classList.toggle('lens-end', isEnd);
    return tick;
  });
  place.replaceChildren(...nodes);
}

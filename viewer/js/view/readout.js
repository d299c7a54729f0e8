// What stands under the picture: what the method says, the scale of the colours with its ends, and what is pointed at.
import { gammaOf } from '../state/colours.js';
import { shareOf } from '../state/glow.js';
import { headText } from '../state/heads.js';
import { aloneIn, alonePlace, highestCell, shownMap, shownPick, valueAt } from '../state/maps.js';
import { numberLabels, rangeOf } from '../state/numbers.js';
import { halfCells } from '../state/outline.js';
import { keyOf } from '../state/picks.js';
import { isSeveral } from '../state/planes.js';
import { barTexts } from '../state/said.js';
import { placeOnBar } from '../state/scale.js';
import {
  captionOf,
  cellText,
  isAsMeasured,
  isByShare,
  madeOf,
  methodRow,
  pictureLabel,
  placeOf,
  readoutOf,
  seenCell,
} from '../state/texts.js';
import { remembered, setText } from './parts.js';

// Returns {write, sayPick, sayCell}: write follows each drawing; the two others speak to those who do not see it.
export function addReadout(viewer) {
  const { state, part } = viewer;
  const drawBar = remembered((colours) => fillBar(part('bar'), colours));
  const say = (text) => {
    part('said').textContent = text;
  };
  return {
    write(shown) {
      const hasMap = Boolean(shown.values && state.data && state.phase === 'answered');
      part('below').classList.toggle('lens-vague', !hasMap);
      part('marker').hidden = !hasMap;
      part('picture').setAttribute('aria-label', hasMap ? pictureLabel(state, shown) : 'The picture');
      if (!hasMap) return;
      const isGlow = isByShare(state);
      drawBar(isGlow ? viewer.paper.ramp(state.look.view === 'spotlight') : viewer.palette.colours());
      writeLines(viewer, shown, isGlow);
    },
    sayPick: () => say(state.picked ? captionOf(state, state.picked) : ''),
    sayCell: () => say(cellText(state, shownMap(state), state.cursor)),
  };
}

function writeLines(viewer, shown, isGlow) {
  const { state, part } = viewer;
  const { data } = state;
  const scale = part('scale');
  const told = (one) => (isGlow ? shareOf(shown.values, one) : one);
  const isSpotlight = state.look.view === 'spotlight';
  const unit = isGlow ? '%' : data.method.unit;
  const [low, high] = isGlow ? shown.scale : shown.range;
  const highestValue = rangeOf(shown.values)[1];
  const own = told(highestValue);
  scale.dataset.low = low;
  scale.dataset.high = high;
  const highest = part('highest');
  highest.dataset.value = own;
  highest.dataset.method = data.method.id;
  viewer.root.dataset.method = data.method.id;
  viewer.root.dataset.shown = keyOf(data, shownPick(state));
  const ends = numberLabels([...shown.range, highestValue], unit);
  const texts = isGlow
    ? barTexts(low, own, isSpotlight, isSeveral(data))
    : { low: `lowest colour: ${ends[0]}`, highest: `highest: ${ends[2]}` };
  setText(part('low'), texts.low);
  setText(highest, texts.highest);
  const seen = seenCell(state);
  const isOutlined = isGlow && !isSpotlight && halfCells(shown.values).length > 0;
  const hasOutline = isOutlined && !state.region && !seen; // and room to say so
  setText(part('outlineText'), hasOutline ? 'The outline holds half of the map.' : '');
  const isRead = state.region || seen;
  setText(part('value'), isRead ? readoutOf(state, shown) : placeOf(highestCell(data, shown.values)));
  const { name, text } = sentenceOf(state);
  setText(part('methodName'), name);
  setText(part('methodText'), text);
  setText(part('made'), madeOf(state));
  const cell = seen ?? highestCell(data, shown.values);
  const value = told(valueAt(data, shown.values, cell));
  const at = placeOnBar(value, [low, high], gammaOf(state.look));
  part('marker').style.left = `${100 * at}%`;
}

// Returns what stands beside the colour bar: what the method's maps are, or whose map is shown alone.
function sentenceOf(state) {
  const grid = aloneIn(state, shownPick(state));
  if (grid) return { name: 'One map alone:', text: headText(grid, alonePlace(state)) };
  const row = methodRow(state.data);
  const measured = isAsMeasured(state.data)
    ? row.measured
    : 'Not measured for this choice of layers and heads.';
  return { name: row.short, text: `is ${row.sentence}. ${measured}` };
}

function fillBar(bar, colours) {
  bar.width = colours.length;
  bar.height = 1;
  const context = bar.getContext('2d');
  const image = context.createImageData(colours.length, 1);
  new Uint32Array(image.data.buffer).set(colours);
  context.putImageData(image, 0, 0);
}

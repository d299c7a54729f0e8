// The colours of the look of now, and of ink and paper around it, computed again only where they changed.
import { colourTable, gammaOf, paletteColours } from '../state/colours.js';
import { rampColours } from '../state/glow.js';
import { limited } from '../state/numbers.js';
import { remembered } from './parts.js';

// Returns {colours, table}, functions: the palette's colours, and a finer table of them bent by the contrast.
export function paletteFor(state) {
  const coloursOf = remembered(paletteColours);
  const tableOf = remembered(colourTable);
  const colours = () => coloursOf(state.data.palettes[state.look.colormap]);
  return { colours, table: () => tableOf(colours(), gammaOf(state.look)) };
}

const PROBED = {
  paper: 'color',
  ink: 'background-color',
  'ink-2': 'border-top-color',
  ember: 'border-right-color',
  glow: 'border-bottom-color',
};

// Returns {ramp, grounded, ink}, functions: the colours of heat from clear to hottest, the same on a ground that stands out
// from paper, and what canvases need of the style: {ink, faint, ember, glow, font, density}, the same object while it is so.
export function inkFor(root) {
  const probe = document.createElement('i'); // one for all, never changed: a style is worked out again when it was
  probe.hidden = true;
  for (const [name, property] of Object.entries(PROBED)) probe.style.setProperty(property, `var(--${name})`);
  root.append(probe);
  const style = getComputedStyle(probe);
  const resolved = (name) => style.getPropertyValue(PROBED[name]);
  const rampFor = remembered(rampColours);
  const darkFor = remembered(onDark);
  const lightFor = remembered(onLight);
  const inkOf = remembered(JSON.parse);
  const isDark = () => {
    const [red, green, blue] = resolved('paper')
      .match(/[\d.]+/g)
      .map(Number);
    return red + green + blue < 384;
  };
  return {
    ramp(isSpotlight = false) {
      const colours = rampFor(isSpotlight);
      return isDark() && !isSpotlight ? darkFor(colours) : colours;
    },
    grounded: () => (isDark() ? darkFor(rampFor(false)) : lightFor(rampFor(false))),
    ink: () =>
      inkOf(
        JSON.stringify({
          ink: resolved('ink'),
          faint: resolved('ink-2'),
          ember: resolved('ember'),
          glow: resolved('glow'),
          font: getComputedStyle(root).fontFamily,
          density: limited(window.devicePixelRatio || 1, 1, 2),
        }),
      ),
  };
}

const DARK = 34; // of 255, the ground of heat on dark paper
const LIGHT = 236; // and on white paper

// Returns the colours of the glow on white as they are on a dark ground: there is so much less light where it is clear.
function onDark(colours) {
  return colours.map((colour, i) => {
    const less = (255 - DARK) * (1 - 0.88 * (i / (colours.length - 1)) ** 0.85);
    const parts = [0, 8, 16].map((shift) => Math.max(0, ((colour >> shift) & 255) - less));
    return (0xff000000 | (parts[2] << 16) | (parts[1] << 8) | parts[0]) >>> 0;
  });
}

// Returns the colours of the glow on white as they are on a light grey ground, the hottest as it was.
function onLight(colours) {
  return colours.map((colour, i) => {
    const part = 1 - (1 - LIGHT / 255) * (1 - i / (colours.length - 1));
    const parts = [0, 8, 16].map((shift) => Math.round(((colour >> shift) & 255) * part));
    return (0xff000000 | (parts[2] << 16) | (parts[1] << 8) | parts[0]) >>> 0;
  });
}

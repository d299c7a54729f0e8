// The colours of the look of now, computed again only where it changed.
import { colourTable, gammaOf, paletteColours } from '../state/colours.js';
import { remembered } from './parts.js';

// Returns {colours, table}, functions: the palette's colours, and a finer table of them bent by the contrast.
export function paletteFor(state) {
  const coloursOf = remembered(paletteColours);
  const tableOf = remembered(colourTable);
  const colours = () => coloursOf(state.data.palettes[state.look.colormap]);
  return { colours, table: () => tableOf(colours(), gammaOf(state.look)) };
}

// The choices, sliders and the list of colour maps.
import { gammaOf } from '../state/colours.js';
import { percent } from '../state/numbers.js';
import { setGranularity, setLook } from './actions.js';

// Returns {fill, write}: offers the payload's colour maps, and shows the look of now.
export function addControls(viewer) {
  const { root, part, listen } = viewer;
  const own = Math.random().toString(36).slice(2); // radio buttons belong together by name, on the whole page
  for (const group of root.querySelectorAll('[data-choices]')) {
    const name = group.dataset.choices;
    for (const input of group.querySelectorAll('input')) input.name = `lens-${name}-${own}`;
    listen(group, 'change', ({ target }) => {
      if (name === 'granularity') setGranularity(viewer, target.value);
      else setLook(viewer, { [name]: target.value }, true);
    });
  }
  for (const name of ['opacity', 'contrast']) {
    listen(part(name), 'input', () => setLook(viewer, { [name]: Number(part(name).value) }, false));
    listen(part(name), 'change', () => setLook(viewer, {}, true));
  }
  listen(part('colormap'), 'change', () => setLook(viewer, { colormap: part('colormap').value }, true));
  return { fill: () => fill(viewer), write: () => write(viewer) };
}

function fill({ state, part }) {
  const names = Object.keys(state.data.palettes);
  part('colormap').replaceChildren(...names.map((name) => new Option(name, name)));
  part('caveat').textContent = state.data.method.caveat;
}

function write({ state: { look }, root, part }) {
  for (const name of ['view', 'cells', 'scale']) {
    for (const input of root.querySelectorAll(`[data-choices="${name}"] input`)) {
      input.checked = input.value === look[name];
    }
  }
  part('opacity').value = look.opacity;
  part('opacityValue').textContent = percent(look.opacity);
  part('contrast').value = look.contrast;
  part('contrastValue').textContent = `γ = ${gammaOf(look).toFixed(2)}`;
  part('colormap').value = look.colormap;
  part('divider').hidden = look.view !== 'wipe';
}

// How the map is drawn: views (a list of them on a phone), and what is under •••.
import { percent } from '../state/numbers.js';
import { setGranularity, setLook, want } from './actions.js';

// Returns {fill, write}: offers the payload's colours, and shows the look of now.
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
  listen(part('colormap'), 'change', () => chooseColours(viewer, part('colormap').value));
  listen(part('alone'), 'change', () =>
    setLook(viewer, { view: part('alone').checked ? 'heatmap' : 'overlay' }, true),
  );
  listen(part('viewList'), 'change', () => setLook(viewer, { view: part('viewList').value }, true));
  listen(part('sinks'), 'change', () => want(viewer, { no_sinks: part('sinks').checked }));
  return { fill: () => fill(viewer), write: () => write(viewer) };
}

// Strength and cells become those of the other kind, where one goes from the glow to a colour map or back.
function chooseColours(viewer, colormap) {
  const { look, data } = viewer.state;
  const kindOf = (name) => (name === 'glow' ? 'glow' : 'map');
  const own = kindOf(colormap) === kindOf(look.colormap) ? {} : data.kinds[kindOf(colormap)];
  setLook(viewer, { colormap, ...own }, true);
}

function fill({ state, part }) {
  const names = ['glow', ...Object.keys(state.data.palettes).filter((name) => name !== 'glow')];
  part('colormap').replaceChildren(...names.map((name) => new Option(name === 'glow' ? 'Glow' : name, name)));
  part('sinksBox').hidden = !(state.can.maps && state.data.method.sinks);
  part('sinks').checked = state.data.removed.length > 0;
}

function write({ state: { look }, root, part }) {
  for (const name of ['view', 'cells', 'scale']) {
    for (const input of root.querySelectorAll(`[data-choices="${name}"] input`)) {
      input.checked = input.value === look[name];
    }
  }
  part('opacity').value = look.opacity;
  part('opacity').style.setProperty('--at', `${100 * look.opacity}%`);
  part('opacityValue').textContent = percent(look.opacity);
  part('contrast').value = look.contrast;
  part('contrastValue').textContent = look.contrast ? look.contrast.toFixed(1).replace('-', '−') : 'none';
  part('colormap').value = look.colormap;
  const name = look.colormap === 'glow' ? 'Glow' : 'Overlay';
  part('colourName').textContent = name;
  part('viewList').options[0].text = name;
  part('viewList').value = look.view;
  part('alone').checked = look.view === 'heatmap';
  part('divider').hidden = look.view !== 'wipe';
}

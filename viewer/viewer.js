// The viewer of the maps of one answer: plain JavaScript, no globals, several may live on a page.
//
//   mountViewer(root, payload, {onPick, onChange}) -> {update, pick, state, destroy}
//
// `root` is the element of viewer.html, `payload` what viewer.payload() returns. The result is kept as `root.viewer`.
//   onPick({tokens, of_prompt, key})   a person picked tokens: key is "all", "3", "3-5", of the prompt "p0"
//   onChange({layer, head})            a person chose one layer and head to see alone; null means all of them
//   onChange({want: "heads", pick})    the layers × heads of this pick are wanted: answer with update({heads})
//   onChange({look})                   opacity, colours, view … were changed
//   update(payload)                    another answer, or the same one with maps of other layers or heads
//   update({heads, leaned, look})      one of these alone; heads is one result of viewer.heads_payload() or more
//   pick(key or {tokens, of_prompt})   picks without calling onPick
//   state()                            what is picked, shown, pointed at, and how it is drawn
// What a model or a visitor wrote is written with textContent only.

function mountViewer(root, payload, { onPick = () => {}, onChange = null } = {}) {
  const PARTS = ['image', 'prompt', 'answer'];
  const RAMP = 4096; // steps of the colour table: a multiple of 256, so that γ = 1 is exact
  const SMOOTH_SIDE = 400; // pixels of the longer side at which a smooth map is computed
  const TOP = 8; // words ranked for a region
  const LEANED = 12;
  const SPACE = '\u00a0'; // between a number and its unit, which stay on one line
  const SVG = 'http://www.w3.org/2000/svg';

  const part = (name) => root.querySelector(`[data-part="${name}"]`);
  const panel = (name) => root.querySelector(`[data-panel="${name}"]`);
  const controller = new AbortController();
  const listen = (target, types, handler, options = {}) => {
    for (const type of types.split(' ')) target.addEventListener(type, handler, { ...options, signal: controller.signal });
  };
  const limited = (value, low, high) => Math.min(high, Math.max(low, value));
  const whole = (count) => Array.from({ length: count }, (_, index) => index);

  let data; // the payload, its maps as Float32Arrays
  let look = {};
  let picked = null; // {tokens, of_prompt}
  let previewed = null;
  let anchor = null; // where a range of words began
  let region = null; // {row, col, rows, cols} that is kept
  let cursor = null; // {row, col} under the pointer or the keys
  let regionAnchor = null;
  let alone = null; // {row, col} in layers × heads: what of it is shown alone
  let headsCursor = { row: 0, col: 0 };
  let heads = new Map(); // key of a pick -> its layers × heads
  let maps = new Map(); // key of a pick -> its mean map
  let divider = 0.5;
  let frame = 0;
  let stageDirty = true;
  let shownRange = [0, 0];
  let shownValues = null;
  let frames = 0;
  let drawMs = 0;

  // --- Data ------------------------------------------------------------------------------------------------

  function bytesOf(base64) {
    const raw = atob(base64);
    const bytes = new Uint8Array(raw.length);
    for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
    return bytes;
  }

  function unpacked({ data: text, bits, low, high }) {
    const bytes = bytesOf(text);
    const numbers = bits === 16 ? new Uint16Array(bytes.buffer) : bytes; // little-endian, as browsers are
    const width = low.length ? numbers.length / low.length : 0;
    return low.map((least, row) => {
      const step = (high[row] - least) / (2 ** bits - 1);
      const values = new Float32Array(width);
      for (let i = 0; i < width; i++) values[i] = least + step * numbers[row * width + i];
      return values;
    });
  }

  function decoded(raw) {
    const side = (one) => ({ ...one, low: one.maps?.low ?? [], high: one.maps?.high ?? [], maps: one.maps && unpacked(one.maps) });
    return { ...raw, answer: side(raw.answer), prompt: side(raw.prompt), leaned: decodedLeaned(raw.leaned) };
  }

  const decodedLeaned = (raw) => (raw ? { ...raw, weights: unpacked(raw.weights) } : null);

  function addHeads(given) {
    for (const one of [given].flat()) heads.set(keyOf(one.pick), { ...one, low: one.maps.low, high: one.maps.high, maps: unpacked(one.maps) });
  }

  const sideOf = (pick) => (pick.of_prompt ? data.prompt : data.answer);

  function asRanges(numbers, dash = '–', comma = ', ') {
    const runs = [];
    for (const number of numbers) {
      const last = runs[runs.length - 1];
      if (last && number === last[1] + 1) last[1] = number;
      else runs.push([number, number]);
    }
    return runs.map(([first, last]) => (first === last ? `${first}` : `${first}${dash}${last}`)).join(comma);
  }

  function isWhole(pick) {
    return !pick.of_prompt && pick.tokens.length === data.answer.tokens.length;
  }

  function keyOf(pick) {
    if (!pick) return '';
    return isWhole(pick) ? 'all' : (pick.of_prompt ? 'p' : '') + asRanges(pick.tokens, '-', ',');
  }

  // Returns the pick that a key names, or that tokens make; null where there is nothing of the kind.
  function pickOf(selection) {
    const everything = { tokens: whole(data.answer.tokens.length), of_prompt: false };
    let pick = selection ?? everything;
    if (typeof selection === 'string') {
      const of_prompt = selection.startsWith('p');
      const text = of_prompt ? selection.slice(1) : selection;
      const side = of_prompt ? data.prompt : data.answer;
      const tokens = text === 'all' ? whole(side.tokens.length) : text.split(',').flatMap((run) => {
        const [first, last = first] = run.split('-').map(Number);
        return whole(last - first + 1).map((step) => first + step);
      });
      pick = { tokens, of_prompt };
    }
    const side = pick.of_prompt ? data.prompt : data.answer;
    const known = side.maps && pick.tokens.length && pick.tokens.every((token) => token in side.maps);
    if (known) return { tokens: [...pick.tokens], of_prompt: Boolean(pick.of_prompt) };
    return everything.tokens.length && data.answer.maps ? everything : null;
  }

  // Returns the mean of the tokens' maps.
  function mapOf(pick) {
    const side = sideOf(pick);
    if (pick.tokens.length === 1) return side.maps[pick.tokens[0]];
    const key = keyOf(pick);
    if (!maps.has(key)) {
      const sum = new Float64Array(data.grid[0] * data.grid[1]);
      for (const token of pick.tokens) {
        const values = side.maps[token];
        for (let i = 0; i < sum.length; i++) sum[i] += values[i];
      }
      maps.set(key, Float32Array.from(sum, (value) => value / pick.tokens.length));
    }
    return maps.get(key);
  }

  function headsOf(pick) {
    return pick && heads.get(keyOf(pick));
  }

  // Returns the values shown for a pick and the range that its colours span.
  function shown(pick) {
    const grid = alone && headsOf(pick);
    if (grid) {
      const index = alone.row * (grid.heads + 1) + alone.col;
      return { values: grid.maps[index], range: look.scale === 'shared' ? sharedRange([grid]) : [grid.low[index], grid.high[index]] };
    }
    const values = mapOf(pick);
    return { values, range: look.scale === 'shared' ? sharedRange([data.answer, data.prompt]) : rangeOf(values) };
  }

  function rangeOf(values) {
    let low = Infinity;
    let high = -Infinity;
    for (const value of values) {
      if (value < low) low = value;
      if (value > high) high = value;
    }
    return [low, high];
  }

  function sharedRange(sides) {
    return [Math.min(...sides.flatMap((side) => side.low)), Math.max(...sides.flatMap((side) => side.high))];
  }

  function meanShares(rows, tokens) {
    const sum = [0, 0, 0];
    for (const token of tokens) rows[token].forEach((share, i) => (sum[i] += share / tokens.length));
    return sum;
  }

  // --- Numbers and texts -------------------------------------------------------------------------------------

  // Returns numbers as text with their unit, with as many decimals as show so many figures of their range.
  function numberLabels(values, figures = 3) {
    const { unit } = data.method;
    const numbers = values.map((value) => (unit === '%' ? 100 * value : value));
    const largest = Math.max(...numbers.map(Math.abs));
    const spread = Math.max(...numbers) - Math.min(...numbers) || largest;
    const magnitude = (number) => Math.floor(Math.log10(number) + 1e-9);
    const power = largest === 0 || (largest >= 1e-3 && largest < 1e6) ? 0 : magnitude(largest);
    const decimals = spread === 0 ? 0 : limited(figures - 1 + power - magnitude(spread), 0, 9);
    const raised = String(power).replace(/./g, (sign) => '⁻⁰¹²³⁴⁵⁶⁷⁸⁹'['-0123456789'.indexOf(sign)]);
    const suffix = (power ? `×10${raised}` : '') + (unit ? SPACE + unit : '');
    return numbers.map((value) => (value ? (value / 10 ** power).toFixed(decimals).replace(/^-(?=[0.]*$)/, '').replace('-', '−') + suffix : `0${SPACE}${unit}`.trimEnd()));
  }

  function percent(share) {
    const value = 100 * share;
    return `${value !== 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)}${SPACE}%`;
  }

  function textOf(pick) {
    const side = sideOf(pick);
    const segment = (side === data.answer ? segments.answer : segments.prompt).find((one) => one.tokens && `${one.tokens}` === `${pick.tokens}`);
    if (segment && segment.text.trim()) return segment.text;
    return pick.tokens.map((token) => side.tokens[token]).join('').trim() || '␣';
  }

  function nameOf(pick) {
    if (isWhole(pick)) return `The whole answer (${pick.tokens.length} tokens)`;
    const which = `${pick.of_prompt ? 'question ' : ''}token${pick.tokens.length > 1 ? 's' : ''} ${asRanges(pick.tokens)}`;
    return `“${textOf(pick)}” (${which})`;
  }

  function captionOf(pick) {
    const side = sideOf(pick);
    const grid = alone && headsOf(pick);
    const [image, prompt, answer] = meanShares(side.shares, pick.tokens).map(percent);
    const rest = pick.of_prompt ? `prompt ${prompt}` : `prompt ${prompt}, answer so far ${answer}`;
    const goes = (where) => `${where} of its attention on the image`;
    const texts = [nameOf(pick), grid ? goes(percent(grid.shares[alone.row][alone.col])) : `${goes(image)} (${rest})`];
    if (!pick.of_prompt && !isWhole(pick)) {
      const p = pick.tokens.reduce((product, token) => product * side.probabilities[token], 1);
      texts.push(p >= 0.005 ? `p = ${p.toFixed(2)}` : 'p < 0.01');
    }
    return texts.join(' · ');
  }

  function madeOf(pick) {
    const { layers, heads: used, aggregation } = data.settings;
    const grid = alone && headsOf(pick);
    const several = (name, numbers) => `${name}${numbers.length > 1 ? 's' : ''} ${asRanges(numbers)}`;
    const layer = grid && alone.row ? [grid.layers[alone.row - 1]] : grid ? grid.layers : layers;
    const head = grid && alone.col ? [alone.col - 1] : grid ? whole(grid.heads) : used;
    const texts = [data.method.name];
    if (layer.length) texts.push(several('layer', layer));
    if (head.length) texts.push(several('head', head));
    if (aggregation) texts.push(grid ? 'mean' : aggregation);
    if (pick.tokens.length > 1) texts.push(`mean of ${pick.tokens.length} tokens`);
    return texts.join(' · ');
  }

  // Returns whether less than all layers and heads are shown, and all of them can be.
  function isRestricted() {
    if (alone) return Boolean(alone.row || alone.col);
    const { layers, heads: used, head_count } = data.settings;
    return Boolean(onChange) && layers.length > 0 && used.length > 0 && (layers.length < data.layers.length || used.length < head_count);
  }

  function placeOf({ row, col, rows = 1, cols = 1 }) {
    const span = (name, first, count) => (count > 1 ? `${name}s ${first}–${first + count - 1}` : `${name} ${first}`);
    return `${span('row', row, rows)}, ${span('column', col, cols)}`;
  }

  // --- Words -------------------------------------------------------------------------------------------------

  const places = { answer: part('answer'), prompt: part('prompt') };
  const picksOf = new WeakMap(); // a word's button -> its pick
  const segments = { answer: [], prompt: [] };
  let granularity = 'words';

  function wordsOf(name) {
    return [...places[name].querySelectorAll('.lens-word')];
  }

  function wordButton(segment, name, most) {
    const button = document.createElement('span'); // a button element would let a line break before a full stop
    const share = meanShares(data[name].shares, segment.tokens)[0];
    button.setAttribute('role', 'button');
    button.className = 'lens-word';
    button.textContent = segment.text;
    if (segment.sign) {
      button.dataset.sign = segment.sign;
      button.setAttribute('aria-label', segment.sign);
    }
    button.title = `${percent(share)} of its attention is on the image`;
    button.style.setProperty('--lens-share', (most ? Math.min(1, share / most) : 0).toFixed(3));
    picksOf.set(button, { tokens: segment.tokens, of_prompt: name === 'prompt' });
    return button;
  }

  function fillWords() {
    const kind = granularity === 'words' ? 'words' : 'pieces';
    const most = Math.max(0, ...data.answer.shares.map((shares) => shares[0]));
    root.dataset.granularity = granularity;
    for (const [name, place] of Object.entries(places)) {
      segments[name] = data[name][kind];
      const nodeOf = (segment) => {
        const canPick = segment.tokens && data[name].maps;
        return canPick ? wordButton(segment, name, most) : document.createTextNode(segment.text);
      };
      place.replaceChildren(...segments[name].map(nodeOf));
    }
    part('legend').textContent = `how much of a word's attention is on the image: 0 to ${percent(most)}`;
    markWords();
  }

  function markWords() {
    const everything = picked && isWhole(picked);
    for (const name of Object.keys(places)) {
      const own = picked && !everything && picked.of_prompt === (name === 'prompt');
      const tokens = new Set(own ? picked.tokens : []);
      const all = wordsOf(name);
      let first = null;
      for (const button of all) {
        const on = picksOf.get(button).tokens.some((token) => tokens.has(token));
        button.setAttribute('aria-pressed', String(on));
        button.tabIndex = -1;
        if (on && (!first || button === document.activeElement)) first = button;
      }
      if (all.length) (first || all[0]).tabIndex = 0; // Tab comes to the picked word, arrow keys go on from there
    }
    part('whole').setAttribute('aria-pressed', String(Boolean(everything)));
  }

  function show(pick, byPerson) {
    if (keyOf(pick) === keyOf(picked)) return;
    picked = pick;
    markWords();
    picksChanged();
    if (byPerson && picked) onPick({ ...picked, key: keyOf(picked) });
  }

  function picksChanged() {
    part('status').textContent = picked ? captionOf(picked) : '';
    updatePanels();
    changed();
  }

  function choose(button, extend) {
    const pick = picksOf.get(button);
    if (!extend || !anchor || anchor.of_prompt !== pick.of_prompt) {
      anchor = pick;
      show(pick, true);
    } else {
      const ends = [...anchor.tokens, ...pick.tokens];
      const first = Math.min(...ends);
      show({ tokens: whole(Math.max(...ends) - first + 1).map((step) => first + step), of_prompt: pick.of_prompt }, true);
    }
  }

  function preview(pick) {
    if (keyOf(pick) === keyOf(previewed)) return;
    previewed = pick;
    changed();
  }

  for (const [name, place] of Object.entries(places)) {
    listen(place, 'pointerover', (event) => {
      const button = event.target.closest('.lens-word');
      if (event.pointerType !== 'touch') preview(button ? picksOf.get(button) : null);
    });
    listen(place, 'pointerleave', () => preview(null));
    listen(place, 'mousedown', (event) => event.shiftKey && event.preventDefault()); // a range, not selected text
    listen(place, 'click', (event) => {
      const button = event.target.closest('.lens-word');
      if (!button) return;
      button.focus({ preventScroll: true });
      preview(null);
      choose(button, event.shiftKey);
    });
    listen(place, 'keydown', (event) => {
      const button = event.target.closest('.lens-word');
      if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
      if (event.key === 'Enter' || event.key === ' ') {
        event.preventDefault();
        choose(button, event.shiftKey);
        return;
      }
      const all = wordsOf(name);
      const at = all.indexOf(button);
      const next = all[{ ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: all.length - 1 }[event.key]];
      if (!next) return;
      event.preventDefault();
      if (event.shiftKey && !anchor) anchor = picksOf.get(button);
      next.focus();
      preview(null);
      choose(next, event.shiftKey);
    });
  }

  listen(part('whole'), 'click', () => {
    anchor = null;
    show(pickOf(null), true);
  });

  listen(root, 'keydown', (event) => {
    if (event.key !== 'Escape') return;
    if (region) keepRegion(null);
    else {
      anchor = null;
      preview(null);
      show(pickOf(null), true);
    }
  });

  // --- Controls ----------------------------------------------------------------------------------------------

  const own = Math.random().toString(36).slice(2); // radio buttons belong together by name, on the whole page
  for (const group of root.querySelectorAll('[data-choices]')) {
    const name = group.dataset.choices;
    for (const input of group.querySelectorAll('input')) input.name = `lens-${name}-${own}`;
    listen(group, 'change', (event) => {
      if (name === 'granularity') {
        granularity = event.target.value;
        fillWords();
      } else setLook({ [name]: event.target.value }, true);
    });
  }
  for (const name of ['opacity', 'contrast']) {
    listen(part(name), 'input', () => setLook({ [name]: Number(part(name).value) }, false));
    listen(part(name), 'change', () => setLook({}, true));
  }
  listen(part('colormap'), 'change', () => setLook({ colormap: part('colormap').value }, true));

  function setLook(changes, tell) {
    look = { ...look, ...changes };
    for (const name of ['view', 'cells', 'scale']) {
      for (const input of root.querySelectorAll(`[data-choices="${name}"] input`)) input.checked = input.value === look[name];
    }
    part('opacity').value = look.opacity;
    part('opacityValue').textContent = percent(look.opacity);
    part('contrast').value = look.contrast;
    part('contrastValue').textContent = `γ = ${gamma().toFixed(2)}`;
    part('colormap').value = look.colormap;
    part('divider').hidden = look.view !== 'wipe';
    stageDirty = true;
    ramp = null;
    changed();
    if (panel('heads').open) drawHeads();
    if (tell && onChange) onChange({ look: { ...look } });
  }

  const gamma = () => 2 ** look.contrast;

  // --- Colours -----------------------------------------------------------------------------------------------

  let ramp = null; // a colour for each of RAMP steps between the ends of the scale

  // Returns the colours as one number a pixel, as canvas memory has them.
  function colours() {
    if (ramp) return ramp;
    const palette = bytesOf(data.palettes[look.colormap]);
    ramp = new Uint32Array(RAMP);
    for (let i = 0; i < RAMP; i++) {
      const at = 3 * Math.floor((i / RAMP) ** gamma() * 256);
      ramp[i] = 0xff000000 | (palette[at + 2] << 16) | (palette[at + 1] << 8) | palette[at];
    }
    const bar = part('bar');
    bar.width = 256;
    bar.height = 1;
    const context = bar.getContext('2d');
    const image = context.createImageData(256, 1);
    const pixels = new Uint32Array(image.data.buffer);
    for (let i = 0; i < 256; i++) pixels[i] = 0xff000000 | (palette[3 * i + 2] << 16) | (palette[3 * i + 1] << 8) | palette[3 * i];
    context.putImageData(image, 0, 0);
    return ramp;
  }

  function colourInto(pixels, values, [low, high]) {
    const table = colours();
    const steps = high > low ? RAMP / (high - low) : 0;
    for (let i = 0; i < values.length; i++) pixels[i] = table[limited(((values[i] - low) * steps) | 0, 0, RAMP - 1)];
  }

  // --- Smooth maps: blended between cell centres by a cubic with level ends, so that no value is invented ------

  let between = null; // for each pixel along both axes: the cell before it, and the weight of the next one

  function axis(size, cells) {
    const before = new Int32Array(size);
    const weight = new Float32Array(size);
    for (let pixel = 0; pixel < size; pixel++) {
      const position = limited(((pixel + 0.5) * cells) / size - 0.5, 0, cells - 1);
      before[pixel] = Math.min(Math.floor(position), Math.max(cells - 2, 0));
      const share = position - before[pixel];
      weight[pixel] = share * share * (3 - 2 * share);
    }
    return { before, weight };
  }

  function smooth(values) {
    const [rows, columns] = data.grid;
    const scale = SMOOTH_SIDE / Math.max(data.picture.width, data.picture.height);
    const width = Math.max(columns, Math.round(data.picture.width * scale));
    const height = Math.max(rows, Math.round(data.picture.height * scale));
    between ??= {
      across: axis(width, columns),
      down: axis(height, rows),
      values: new Float32Array(width * height),
      line: new Float32Array(columns),
    };
    const { across, down, values: result, line } = between;
    for (let y = 0, at = 0; y < height; y++) {
      const upper = down.before[y] * columns;
      const lower = Math.min(down.before[y] + 1, rows - 1) * columns;
      for (let col = 0; col < columns; col++) line[col] = values[upper + col] + down.weight[y] * (values[lower + col] - values[upper + col]);
      for (let x = 0; x < width; x++, at++) {
        const left = line[across.before[x]];
        result[at] = left + across.weight[x] * (line[Math.min(across.before[x] + 1, columns - 1)] - left);
      }
    }
    return { values: result, width, height };
  }

  // --- The picture -------------------------------------------------------------------------------------------

  const canvas = part('canvas');
  const context = canvas.getContext('2d');
  const mapCanvas = document.createElement('canvas');
  const mapContext = mapCanvas.getContext('2d');
  const scaled = document.createElement('canvas'); // the picture at the size at which it is drawn
  const image = new Image();
  let mapImage = null;
  let panes = []; // {x, y, width, height, kind} in device pixels
  let density = 1;
  let barWidth = 0;

  listen(image, 'load', () => {
    stageDirty = true;
    changed();
  });

  // Returns where the picture is drawn, once or twice, within the width there is.
  function layout() {
    density = limited(window.devicePixelRatio || 1, 1, 2);
    const room = part('stage').clientWidth;
    const ratio = data.picture.width / data.picture.height;
    const tallest = Math.max(240, 0.68 * window.innerHeight);
    const twice = look.view === 'side by side';
    const beside = twice && !(room < 520 && ratio > 0.8);
    const gap = 8;
    const paneRoom = beside ? (room - gap) / 2 : room;
    const tall = twice && !beside ? tallest / 2 : tallest;
    const width = Math.max(1, Math.round(Math.min(paneRoom, tall * ratio) * density));
    const height = Math.max(1, Math.round(width / ratio));
    const step = Math.round(gap * density);
    const second = beside ? { x: width + step, y: 0 } : { x: 0, y: height + step };
    const one = { x: 0, y: 0, width, height };
    if (twice) panes = [{ ...one, kind: 'picture' }, { ...one, ...second, kind: 'overlay' }];
    else panes = [{ ...one, kind: look.view }];
    const last = panes[panes.length - 1];
    canvas.width = last.x + width;
    canvas.height = last.y + height;
    canvas.style.width = `${canvas.width / density}px`;
    canvas.style.height = `${canvas.height / density}px`;
    scaled.width = width;
    scaled.height = height;
    const onto = scaled.getContext('2d');
    onto.imageSmoothingQuality = 'high';
    if (image.complete && image.naturalWidth) onto.drawImage(image, 0, 0, width, height);
    barWidth = part('ticks').clientWidth;
    stageDirty = false;
  }

  function paintMap(values, range) {
    const [rows, columns] = data.grid;
    const grid = look.cells === 'smooth' ? smooth(values) : { values, width: columns, height: rows };
    if (!mapImage || mapImage.width !== grid.width || mapImage.height !== grid.height) {
      mapCanvas.width = grid.width;
      mapCanvas.height = grid.height;
      mapImage = mapContext.createImageData(grid.width, grid.height);
    }
    colourInto(new Uint32Array(mapImage.data.buffer), grid.values, range);
    mapContext.putImageData(mapImage, 0, 0);
  }

  function paintPane({ x, y, width, height, kind }) {
    context.drawImage(scaled, x, y);
    if (kind === 'picture' || !shownValues) return;
    context.save();
    if (kind === 'wipe') {
      const from = Math.round(divider * width);
      context.beginPath();
      context.rect(x + from, y, width - from, height);
      context.clip();
    }
    context.globalAlpha = kind === 'heatmap' ? 1 : look.opacity;
    context.imageSmoothingEnabled = look.cells === 'smooth';
    context.drawImage(mapCanvas, x, y, width, height);
    context.restore();
  }

  function outline(pane, { row, col, rows = 1, cols = 1 }, dashed) {
    const [gridRows, gridColumns] = data.grid;
    const left = pane.x + (col * pane.width) / gridColumns;
    const top = pane.y + (row * pane.height) / gridRows;
    const size = [(cols * pane.width) / gridColumns, (rows * pane.height) / gridRows];
    context.setLineDash(dashed ? [4 * density, 3 * density] : []);
    for (const [colour, thick] of [['#000', 3], ['#fff', 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = thick * density;
      context.strokeRect(left, top, ...size);
    }
  }

  // A cross over each cell of which the map claims nothing.
  function crossOut(pane) {
    const [gridRows, gridColumns] = data.grid;
    const from = pane.kind === 'wipe' ? pane.x + divider * pane.width : pane.x;
    for (const cell of pane.kind === 'picture' ? [] : data.removed) {
      const [width, height] = [pane.width / gridColumns, pane.height / gridRows];
      const left = pane.x + (cell % gridColumns) * width;
      const top = pane.y + Math.floor(cell / gridColumns) * height;
      if (left + width / 2 < from) continue;
      context.setLineDash([]);
      for (const [colour, thick] of [['#000', 3], ['#fff', 1.2]]) {
        context.strokeStyle = colour;
        context.lineWidth = thick * density;
        context.beginPath();
        context.moveTo(left, top);
        context.lineTo(left + width, top + height);
        context.moveTo(left, top + height);
        context.lineTo(left + width, top);
        context.stroke();
      }
    }
  }

  function draw() {
    frame = 0;
    const start = performance.now();
    const pick = previewed || picked;
    if (stageDirty) layout();
    shownValues = null;
    if (pick) {
      const { values, range } = shown(pick);
      shownValues = values;
      shownRange = range;
      paintMap(values, range);
    }
    context.clearRect(0, 0, canvas.width, canvas.height);
    panes.forEach(paintPane);
    if (shownValues) panes.forEach(crossOut);
    for (const pane of panes) {
      if (region) outline(pane, region, false);
      if (cursor) outline(pane, cursor, true);
    }
    if (look.view === 'wipe') placeDivider();
    describe(pick);
    frames += 1;
    drawMs = performance.now() - start;
  }

  function changed() {
    if (!frame) frame = requestAnimationFrame(draw);
  }

  function place(value) {
    const [low, high] = shownRange;
    return high > low ? limited((value - low) / (high - low), 0, 1) ** gamma() : 0.5;
  }

  let ticksFor = '';

  function drawTicks() {
    const [low, high] = shownRange;
    const now = [low, high, look.contrast, barWidth, data.method.unit].join(' ');
    if (now === ticksFor) return;
    ticksFor = now;
    const values = high > low ? [low, ...roundValues(low, high), high] : [low];
    const labels = numberLabels(values);
    const widths = labels.map((label) => 7.5 * label.length + 14);
    const last = values.length - 1;
    const kept = new Set(last ? [0, last] : [0]);
    const span = (i) => {
      const at = place(values[i]) * barWidth;
      if (i === 0) return [0, widths[0]];
      return i === last ? [barWidth - widths[last], barWidth] : [at - widths[i] / 2, at + widths[i] / 2];
    };
    for (let i = 1; i < last; i++) {
      if ([...kept].every((k) => span(i)[0] >= span(k)[1] || span(i)[1] <= span(k)[0])) kept.add(i);
    }
    part('ticks').replaceChildren(...[...kept].sort((a, b) => a - b).map((i) => {
      const tick = document.createElement('span');
      tick.textContent = labels[i];
      tick.style.left = `${100 * (last ? place(values[i]) : 0)}%`;
      tick.classList.toggle('lens-end', i === last && i > 0);
      return tick;
    }));
  }

  function roundValues(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = power * [1, 2, 2.5, 5, 10].find((factor) => factor * power >= rough * 0.999);
    const found = [];
    for (let i = Math.ceil(low / step); i * step < high && found.length < 12; i++) if (i * step > low) found.push(i * step);
    return found;
  }

  function describe(pick) {
    const marker = part('marker');
    const seen = cursor || (region && region.rows * region.cols === 1 ? region : null);
    marker.hidden = !(seen && shownValues);
    if (!pick) {
      part('caption').textContent = 'The answer is empty: there is no word to show.';
      canvas.setAttribute('aria-label', 'The picture');
      return;
    }
    drawTicks();
    part('caption').textContent = captionOf(pick);
    part('made').textContent = madeOf(pick);
    part('all').hidden = !isRestricted();
    const curve = gamma() === 1 ? '' : `, coloured by its power ${gamma().toFixed(2)}`;
    part('scaleName').textContent = `${data.method.values}${curve} · ${look.scale} scale`;
    const [low, high] = numberLabels(shownRange);
    const at = shownValues.indexOf(rangeOf(shownValues)[1]);
    const hottest = { row: Math.floor(at / data.grid[1]), col: at % data.grid[1] };
    const size = `${data.grid[0]} rows by ${data.grid[1]} columns`;
    const label = `Map of ${nameOf(pick)} over the picture, ${size}, from ${low} to ${high}; highest at ${placeOf(hottest)}.`;
    canvas.setAttribute('aria-label', label);
    if (seen) {
      const value = valueAt(seen);
      marker.style.left = `${100 * place(value)}%`;
      part('value').textContent = `${placeOf(seen)}: ${numberLabels([...shownRange, value], 4)[2]}`;
    } else if (region) {
      part('value').textContent = `${placeOf(region)}: ${percent(massIn(shownValues, region))} of this map`;
    } else {
      part('value').textContent = `Highest at ${placeOf(hottest)}: ${high}`;
    }
  }

  const valueAt = ({ row, col }) => shownValues[row * data.grid[1] + col];

  // --- Where in the picture ------------------------------------------------------------------------------------

  const frameElement = part('frame');
  let dragging = null;

  function cellAt(event) {
    const box = canvas.getBoundingClientRect();
    const x = ((event.clientX - box.left) / box.width) * canvas.width;
    const y = ((event.clientY - box.top) / box.height) * canvas.height;
    const inside = (pane) => x >= pane.x && x < pane.x + pane.width && y >= pane.y && y < pane.y + pane.height;
    const pane = panes.find(inside);
    if (!pane) return null;
    const [rows, columns] = data.grid;
    return { row: Math.floor(((y - pane.y) * rows) / pane.height), col: Math.floor(((x - pane.x) * columns) / pane.width) };
  }

  const spanOf = (a, b) => ({
    row: Math.min(a.row, b.row),
    col: Math.min(a.col, b.col),
    rows: Math.abs(a.row - b.row) + 1,
    cols: Math.abs(a.col - b.col) + 1,
  });

  function point(cell) {
    if (cell?.row === cursor?.row && cell?.col === cursor?.col) return;
    cursor = cell;
    if (cell && !region) rankWords();
    changed();
  }

  function keepRegion(next) {
    region = next;
    if (!next) regionAnchor = null;
    part('regionClear').hidden = !next;
    rankWords();
    changed();
  }

  listen(frameElement, 'pointermove', (event) => {
    const cell = event.target === canvas ? cellAt(event) : null;
    if (dragging && cell) keepRegion(spanOf(dragging.cell, cell));
    if (event.pointerType !== 'touch') point(cell);
  });
  listen(frameElement, 'pointerleave', () => point(null));
  listen(canvas, 'pointerdown', (event) => {
    const cell = cellAt(event);
    if (event.button !== 0 || !cell) return;
    const again = region && region.rows * region.cols === 1 && region.row === cell.row && region.col === cell.col;
    dragging = { cell, again };
    if (event.pointerType !== 'touch') keepRegion(spanOf(cell, cell));
  });
  listen(canvas, 'pointerup', (event) => {
    const cell = cellAt(event);
    if (!dragging || !cell) return;
    const tapped = cell.row === dragging.cell.row && cell.col === dragging.cell.col;
    keepRegion(tapped && dragging.again ? null : spanOf(dragging.cell, cell));
    dragging = null;
  });
  listen(window, 'pointerup pointercancel', () => (dragging = null));
  listen(part('regionClear'), 'click', () => keepRegion(null));

  listen(frameElement, 'keydown', (event) => {
    if (event.target !== frameElement || event.ctrlKey || event.altKey || event.metaKey || !shownValues) return;
    const move = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] }[event.key];
    const [rows, columns] = data.grid;
    const at = shownValues.indexOf(rangeOf(shownValues)[1]);
    const hottest = { row: Math.floor(at / columns), col: at % columns };
    if (move) {
      const from = cursor || hottest;
      const to = cursor ? { row: limited(from.row + move[0], 0, rows - 1), col: limited(from.col + move[1], 0, columns - 1) } : hottest;
      if (event.shiftKey) {
        regionAnchor = regionAnchor || from;
        keepRegion(spanOf(regionAnchor, to));
      } else regionAnchor = null;
      point(to);
    } else if (event.key === 'Home') point(hottest);
    else if ((event.key === 'Enter' || event.key === ' ') && cursor) keepRegion(spanOf(cursor, cursor));
    else return;
    event.preventDefault();
    if (cursor) part('status').textContent = `${placeOf(cursor)}: ${numberLabels([...shownRange, valueAt(cursor)], 4)[2]}`;
  });
  listen(frameElement, 'blur', () => point(null));

  // --- Wipe --------------------------------------------------------------------------------------------------

  const handle = part('divider');

  function placeDivider() {
    handle.style.left = `${100 * divider}%`;
    handle.setAttribute('aria-valuenow', String(Math.round(100 * divider)));
    handle.setAttribute('aria-valuetext', `picture on the left ${percent(divider)} of the width`);
  }

  function moveDivider(to) {
    divider = limited(to, 0, 1);
    changed();
  }

  listen(handle, 'pointerdown', (event) => handle.setPointerCapture(event.pointerId));
  listen(handle, 'pointermove', (event) => {
    if (!handle.hasPointerCapture(event.pointerId)) return;
    const box = canvas.getBoundingClientRect();
    moveDivider((event.clientX - box.left) / box.width);
  });
  listen(handle, 'keydown', (event) => {
    const step = { ArrowLeft: -0.02, ArrowDown: -0.02, ArrowRight: 0.02, ArrowUp: 0.02, PageDown: -0.1, PageUp: 0.1, Home: -1, End: 1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    moveDivider(divider + step);
  });

  // --- Words that look somewhere -------------------------------------------------------------------------------

  // Returns the share of a map's mass that lies in a region; values below 0 have none.
  function massIn(values, { row, col, rows = 1, cols = 1 }) {
    const columns = data.grid[1];
    let all = 0;
    let inside = 0;
    for (const value of values) if (value > 0) all += value;
    for (let r = row; r < row + rows; r++) {
      for (let c = col; c < col + cols; c++) inside += Math.max(0, values[r * columns + c]);
    }
    return all > 0 ? inside / all : 0;
  }

  function fillRanking(list, items) {
    while (list.children.length > items.length) list.lastChild.remove();
    while (list.children.length < items.length) {
      const line = document.createElement('li');
      const button = document.createElement('button');
      button.type = 'button';
      button.append(document.createElement('span'), document.createElement('span'));
      line.append(button);
      list.append(line);
    }
    const most = Math.max(...items.map((item) => item.share), 1e-12);
    items.forEach((item, i) => {
      const button = list.children[i].firstChild;
      button.firstChild.textContent = item.text;
      button.lastChild.textContent = percent(item.share);
      button.style.setProperty('--lens-share', (item.share / most).toFixed(3));
      button.disabled = !item.pick;
      if (item.pick) picksOf.set(button, item.pick);
      else picksOf.delete(button);
    });
  }

  function rankWords() {
    const where = region || cursor;
    const title = part('regionTitle');
    if (!where || !data.answer.maps) {
      title.textContent = 'Point at the picture, or drag over a part of it, to see which words look there';
      fillRanking(part('ranking'), []);
      return;
    }
    title.textContent = `Words that look at ${placeOf(where)}`;
    const words = data.answer.words.filter((segment) => segment.tokens);
    const ranked = words.map((segment) => {
      const pick = { tokens: segment.tokens, of_prompt: false };
      return { text: segment.text.trim() || segment.sign || '␣', share: massIn(mapOf(pick), where), pick };
    });
    fillRanking(part('ranking'), ranked.sort((a, b) => b.share - a.share).slice(0, TOP));
  }

  for (const list of [part('ranking'), part('leaned')]) {
    listen(list, 'click', (event) => {
      const pick = picksOf.get(event.target.closest('button'));
      if (!pick) return;
      anchor = pick;
      show(pick, true);
    });
    listen(list, 'pointerover', (event) => {
      const button = event.target.closest('button');
      if (event.pointerType !== 'touch') preview((button && picksOf.get(button)) || null);
    });
    listen(list, 'pointerleave', () => preview(null));
  }

  // --- Where attention goes --------------------------------------------------------------------------------------

  // Draws stacked shares, a column each, with a cursor for pointer and keys, and says the numbers of the column there.
  // Returns a function that marks columns as chosen.
  function stackedPlot(place, rows, { names, short, summary, onChoose = () => {} }) {
    const make = (tag, attributes) => {
      const node = document.createElementNS(SVG, tag);
      for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
      return node;
    };
    const stretched = { viewBox: `0 0 ${rows.length} 100`, preserveAspectRatio: 'none' };
    const svg = make('svg', { ...stretched, tabindex: 0, role: 'application', 'aria-label': summary });
    rows.forEach((shares, column) => {
      let top = 1;
      shares.forEach((share, i) => {
        top -= share;
        svg.append(make('rect', { x: column + 0.06, y: 100 * top, width: 0.88, height: 100 * share, 'data-share': PARTS[i] }));
      });
    });
    const mark = make('rect', { x: 0, y: 0, width: 1, height: 100, class: 'lens-at', visibility: 'hidden' });
    svg.append(mark);
    const line = document.createElement('p');
    line.className = 'lens-faint';
    line.setAttribute('role', 'status');
    const say = (column) => {
      const [first, second, third] = column === null ? [] : rows[column].map(percent);
      line.textContent = column === null ? summary : `${names(column)}: image ${first}, prompt ${second}, answer so far ${third}`;
      mark.setAttribute('visibility', column === null ? 'hidden' : 'visible');
      mark.setAttribute('x', column ?? 0);
    };
    let at = 0;
    const columnOf = (event) => {
      const box = svg.getBoundingClientRect();
      return limited(Math.floor(((event.clientX - box.left) / box.width) * rows.length), 0, rows.length - 1);
    };
    svg.addEventListener('pointermove', (event) => say(columnOf(event)));
    svg.addEventListener('pointerleave', () => say(null));
    svg.addEventListener('click', (event) => onChoose((at = columnOf(event))));
    svg.addEventListener('focus', () => say(at));
    svg.addEventListener('blur', () => say(null));
    svg.addEventListener('keydown', (event) => {
      const to = { ArrowLeft: at - 1, ArrowRight: at + 1, Home: 0, End: rows.length - 1 }[event.key];
      if (event.key === 'Enter' || event.key === ' ') onChoose(at);
      else if (to === undefined) return;
      else say((at = limited(to, 0, rows.length - 1)));
      event.preventDefault();
    });
    say(null);
    const labels = document.createElement('div');
    labels.className = 'lens-labels';
    labels.setAttribute('aria-hidden', 'true');
    const every = Math.ceil(rows.length / Math.max(1, place.clientWidth / 34));
    rows.forEach((_, column) => {
      const label = document.createElement('span');
      label.textContent = column % every ? '' : short(column);
      labels.append(label);
    });
    place.replaceChildren(...(rows.length ? [svg, labels, line] : []));
    return (columns) => {
      svg.querySelectorAll('.lens-chosen').forEach((one) => one.remove());
      for (const column of columns) svg.append(make('rect', { x: column, y: 0, width: 1, height: 100, class: 'lens-chosen' }));
      at = columns[0] ?? at;
    };
  }

  let markTokens = null; // null until the plot of this answer's tokens is drawn

  function drawShares() {
    const { answer } = data;
    const [image] = meanShares(answer.shares, whole(answer.shares.length));
    markTokens ??= stackedPlot(part('tokenPlot'), answer.shares, {
      names: (token) => `token ${token} “${answer.tokens[token]}”`,
      short: (token) => answer.tokens[token].trim(),
      summary: `On average ${percent(image)} of the attention is on the image`,
      onChoose: (token) => {
        anchor = { tokens: [token], of_prompt: false };
        show(anchor, true);
      },
    });
    markTokens(picked && !picked.of_prompt && !isWhole(picked) ? picked.tokens : []);
    if (!picked) return;
    const side = sideOf(picked);
    const meanOf = (layer) => meanShares(side.layer_shares.map((shares) => shares[layer]), picked.tokens);
    const rows = data.layers.map((_, layer) => meanOf(layer));
    const strongest = rows.reduce((best, shares, layer) => (shares[0] > rows[best][0] ? layer : best), 0);
    part('layerTitle').textContent = `${nameOf(picked)}, layer by layer`;
    stackedPlot(part('layerPlot'), rows, {
      names: (layer) => `layer ${data.layers[layer]}`,
      short: (layer) => String(data.layers[layer]),
      summary: `Most on the image in layer ${data.layers[strongest]}: ${percent(rows[strongest][0])}`,
    });
  }

  // --- Layers × heads ----------------------------------------------------------------------------------------------

  const headsCanvas = part('headsCanvas');
  let headsLayout = null;
  let headsShown = false; // whether the canvas has a grid, maybe of another pick

  // Returns the place in the grid of what the maps are made of: 0 is the mean; null for a choice of several.
  function chosenHeads(grid) {
    if (alone) return alone;
    const { layers, heads: used, head_count } = data.settings;
    const place = (numbers, all) => (numbers.length === all.length ? 0 : numbers.length === 1 ? all.indexOf(numbers[0]) + 1 : null);
    return { row: place(layers, grid.layers), col: place(used, whole(head_count)) };
  }

  let atlas = { canvas: document.createElement('canvas') };

  // Returns a canvas with every map of the grid, one below the other, in the colours of now.
  function coloured(grid) {
    if (atlas.grid === grid && atlas.ramp === colours() && atlas.scale === look.scale) return atlas.canvas;
    atlas = { canvas: atlas.canvas, grid, ramp: colours(), scale: look.scale };
    const [rows, columns] = data.grid;
    atlas.canvas.width = columns;
    atlas.canvas.height = rows * grid.maps.length;
    const onto = atlas.canvas.getContext('2d');
    const image = onto.createImageData(columns, atlas.canvas.height);
    const pixels = new Uint32Array(image.data.buffer);
    const common = sharedRange([grid]);
    grid.maps.forEach((values, i) => {
      const range = look.scale === 'shared' ? common : [grid.low[i], grid.high[i]];
      colourInto(pixels.subarray(i * rows * columns, (i + 1) * rows * columns), values, range);
    });
    onto.putImageData(image, 0, 0);
    return atlas.canvas;
  }

  function drawHeads() {
    const grid = headsOf(picked);
    const last = headsShown;
    panel('heads').classList.toggle('lens-stale', !grid);
    headsCanvas.hidden = !grid && !last;
    const missing = onChange ? 'being fetched …' : 'not in this file';
    part('headsNote').textContent = picked ? `${nameOf(picked)}${grid ? '' : `: ${missing}`}` : '';
    if (!grid) return;
    headsShown = true;
    const [rows, columns] = data.grid;
    const across = grid.heads + 1;
    const down = grid.layers.length + 1;
    const scale = limited(window.devicePixelRatio || 1, 1, 2);
    const left = 40;
    const top = 20;
    const gap = 5;
    const room = headsCanvas.parentElement.clientWidth;
    const width = Math.floor(limited((room - left) / across - gap, 26, 104));
    const height = Math.floor(limited((width * data.picture.height) / data.picture.width, 12, 120));
    const printed = width >= 40;
    const step = { x: width + gap, y: height + gap + (printed ? 20 : 6) };
    headsLayout = { left, top, step, across, down, grid };
    headsCanvas.width = Math.round((left + across * step.x) * scale);
    headsCanvas.height = Math.round((top + down * step.y) * scale);
    headsCanvas.style.width = `${headsCanvas.width / scale}px`;
    headsCanvas.style.height = `${headsCanvas.height / scale}px`;
    const thumbs = coloured(grid);
    const onto = headsCanvas.getContext('2d');
    onto.scale(scale, scale);
    const style = getComputedStyle(root);
    const ink = style.color;
    const faint = getComputedStyle(part('caveat')).color;
    const imageColour = style.getPropertyValue('--lens-image');
    onto.font = `11px ${style.fontFamily}`;
    onto.textBaseline = 'middle';
    onto.imageSmoothingEnabled = width * scale < columns;
    const most = Math.max(...grid.shares.flat(), 1e-12);
    const chosen = chosenHeads(grid);
    for (let row = 0; row < down; row++) {
      onto.fillStyle = faint;
      onto.textAlign = 'left';
      onto.fillText(row ? `L ${grid.layers[row - 1]}` : 'mean', 0, top + row * step.y + height / 2);
      for (let col = 0; col < across; col++) {
        const x = left + col * step.x;
        const y = top + row * step.y;
        onto.textAlign = 'center';
        if (row === 0) {
          onto.fillStyle = faint;
          onto.fillText(col ? (width >= 40 ? `head ${col - 1}` : `${col - 1}`) : 'mean', x + width / 2, top / 2);
        }
        onto.drawImage(thumbs, 0, (row * across + col) * rows, columns, rows, x, y, width, height);
        const share = grid.shares[row][col];
        onto.fillStyle = imageColour;
        onto.fillRect(x, y + height + 1, (width * share) / most, 3);
        onto.fillStyle = ink;
        if (printed) onto.fillText(percent(share), x + width / 2, y + height + 12);
        onto.strokeStyle = ink;
        if (chosen.row === row && chosen.col === col) {
          onto.lineWidth = 3;
          onto.setLineDash([]);
          onto.strokeStyle = style.getPropertyValue('--lens-answer'); // stands out from most maps, light and dark
          onto.strokeRect(x - 1.5, y - 1.5, width + 3, height + 3);
        } else if (headsCursor.row === row && headsCursor.col === col && document.activeElement === headsCanvas) {
          onto.lineWidth = 2;
          onto.setLineDash([4, 3]);
          onto.strokeRect(x - 1, y - 1, width + 2, height + 2);
        }
      }
    }
    const size = `${grid.layers.length} layers and ${grid.heads} heads`;
    headsCanvas.setAttribute('aria-label', `Maps of ${size}: arrow keys move, Enter shows one alone. ${headText(headsCursor)}`);
  }

  function headText({ row, col }) {
    const { grid } = headsLayout;
    const layer = row ? `layer ${grid.layers[row - 1]}` : 'all layers';
    const head = col ? `head ${col - 1}` : 'all heads';
    const index = row * (grid.heads + 1) + col;
    const [low, high] = numberLabels([grid.low[index], grid.high[index]]);
    return `${layer}, ${head}: ${percent(grid.shares[row][col])} of its attention on the image, cells from ${low} to ${high}`;
  }

  function headAt(event) {
    if (!headsLayout) return null;
    const { left, top, step, across, down } = headsLayout;
    const box = headsCanvas.getBoundingClientRect();
    const col = Math.floor((event.clientX - box.left - left) / step.x);
    const row = Math.floor((event.clientY - box.top - top) / step.y);
    return row >= 0 && row < down && col >= 0 && col < across ? { row, col } : null;
  }

  function chooseHead(place) {
    const grid = headsOf(picked);
    if (!grid) return;
    headsCursor = place;
    alone = place;
    changed();
    drawHeads();
    if (onChange) onChange({ layer: place.row ? grid.layers[place.row - 1] : null, head: place.col ? place.col - 1 : null });
  }

  listen(part('all'), 'click', () => {
    alone = null;
    changed();
    updatePanels();
    if (onChange) onChange({ layer: null, head: null });
  });

  function sayHead(place) {
    part('headsValue').textContent = place && headsLayout ? headText(place) : '\u00a0';
  }

  listen(headsCanvas, 'pointermove', (event) => sayHead(headAt(event)));
  listen(headsCanvas, 'pointerleave', () => sayHead(null));
  listen(headsCanvas, 'click', (event) => {
    const place = headAt(event);
    if (place) chooseHead(place);
  });
  listen(headsCanvas, 'focus blur', () => drawHeads());
  listen(headsCanvas, 'keydown', (event) => {
    if (!headsLayout) return;
    const { across, down, left, top, step } = headsLayout;
    const { row, col } = headsCursor;
    const to = {
      ArrowUp: [row - 1, col],
      ArrowDown: [row + 1, col],
      ArrowLeft: [row, col - 1],
      ArrowRight: [row, col + 1],
      Home: [0, 0],
      End: [down - 1, across - 1],
    }[event.key];
    if (event.key === 'Enter' || event.key === ' ') chooseHead(headsCursor);
    else if (!to) return;
    else {
      headsCursor = { row: limited(to[0], 0, down - 1), col: limited(to[1], 0, across - 1) };
      const scroller = headsCanvas.parentElement;
      const x = left + headsCursor.col * step.x;
      const y = top + headsCursor.row * step.y;
      scroller.scrollLeft = limited(scroller.scrollLeft, x + step.x - scroller.clientWidth, x - left);
      scroller.scrollTop = limited(scroller.scrollTop, y + step.y - scroller.clientHeight, y - top);
      drawHeads();
      sayHead(headsCursor);
    }
    event.preventDefault();
  });

  // --- Tokens the answer leaned on -----------------------------------------------------------------------------------

  function drawLeaned() {
    const usable = picked && !picked.of_prompt;
    part('leanedNote').textContent = usable ? `What ${nameOf(picked)} attended to in the text, most first` : 'Pick a word of the answer.';
    if (!usable) {
      fillRanking(part('leaned'), []);
      return;
    }
    const { texts, picks, weights } = data.leaned;
    const items = texts.map((text, position) => {
      const share = picked.tokens.reduce((sum, token) => sum + weights[token][position], 0) / picked.tokens.length;
      return { text: text.trim() ? text : '␣', share, pick: picks[position] && pickable(picks[position]) ? pickOf(picks[position]) : null };
    });
    fillRanking(part('leaned'), items.sort((a, b) => b.share - a.share).filter((item) => item.share > 0).slice(0, LEANED));
  }

  const pickable = (key) => Boolean((key.startsWith('p') ? data.prompt : data.answer).maps);

  // --- Panels ------------------------------------------------------------------------------------------------------------

  let wanted = '';

  function updatePanels() {
    panel('heads').hidden = !heads.size && !onChange;
    panel('leaned').hidden = !data.leaned;
    if (panel('shares').open) drawShares();
    if (panel('leaned').open && data.leaned) drawLeaned();
    if (!panel('heads').open) return;
    drawHeads();
    const key = keyOf(picked);
    if (picked && !heads.has(key) && key !== wanted && onChange) {
      wanted = key;
      onChange({ want: 'heads', pick: { ...picked, key } });
    }
  }

  for (const name of ['shares', 'heads', 'leaned']) listen(panel(name), 'toggle', updatePanels);

  // --- From outside ------------------------------------------------------------------------------------------------------

  function load(raw) {
    const same = data && ['picture.url', 'answer.text', 'prompt.text', 'settings.model'].every((path) => {
      const [first, second] = path.split('.');
      return data[first][second] === raw[first][second];
    }) && `${data.answer.tokens}` === `${raw.answer.tokens}`;
    data = decoded(raw);
    maps = new Map();
    alone = null;
    between = null;
    mapImage = null;
    wanted = '';
    markTokens = null;
    if (!same) {
      heads = new Map();
      headsLayout = null;
      headsShown = false;
      headsCursor = { row: 0, col: 0 };
      region = cursor = anchor = previewed = regionAnchor = null;
      image.src = raw.picture.url;
    }
    addHeads(raw.heads ?? []);
    part('colormap').replaceChildren(...Object.keys(raw.palettes).map((name) => new Option(name, name)));
    part('caveat').textContent = raw.method.caveat;
    picked = pickOf(same && picked ? picked : raw.pick);
    part('regionClear').hidden = !region;
    fillWords();
    rankWords();
    setLook(look.view ? {} : { contrast: 0, ...raw.look }, false);
    picksChanged();
  }

  function update(next) {
    if (next.answer) load(next);
    else {
      if (next.heads) addHeads(next.heads);
      if ('leaned' in next) data.leaned = decodedLeaned(next.leaned);
      if (next.look) setLook(next.look, false);
      updatePanels();
      changed();
    }
  }

  const observer = new ResizeObserver(() => {
    stageDirty = true;
    changed();
    if (panel('heads').open) drawHeads();
  });
  observer.observe(part('stage'));
  load(payload);

  root.viewer = {
    update,
    pick(selection) {
      anchor = null;
      show(pickOf(selection), false);
    },
    state: () => ({
      pick: picked && { ...picked, key: keyOf(picked) },
      shown: keyOf(previewed || picked),
      granularity,
      look: { ...look },
      region: region && { ...region },
      cursor: cursor && { ...cursor },
      alone: alone && { ...alone },
      range: [...shownRange],
      values: shownValues && [...shownValues],
      panes: panes.map((pane) => ({ ...pane })),
      divider,
      frames,
      drawMs,
    }),
    destroy() {
      controller.abort();
      observer.disconnect();
      if (frame) cancelAnimationFrame(frame);
      delete root.viewer;
    },
  };
  return root.viewer;
}

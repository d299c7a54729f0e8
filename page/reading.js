// The answer and the prompt as words to click. Values come from the server as `props.value`:
//   {state, text, count, limit, seconds, note, answer: [segment], prompt: [segment]}
// where a segment is {text} or {text, pick, tokens, share, sign}. What is picked comes as `props.picked`:
//   {tokens: [3, 4], of_prompt: false}
// Everything is written with textContent: a model's or a visitor's text never becomes HTML.
const root = element.querySelector('.reading');
const places = { answer: root.querySelector('#answer'), prompt: root.querySelector('#asked') };

function word(segment) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'word';
  button.textContent = segment.text;
  if (segment.sign) {
    button.dataset.sign = segment.sign;
    button.setAttribute('aria-label', segment.sign);
  }
  button.dataset.pick = segment.pick;
  button.dataset.tokens = segment.tokens.join(' ');
  const percent = Math.round(segment.share * 100);
  button.style.setProperty('--share', segment.share);
  button.title = `${percent} % of its attention is on the picture`;
  return button;
}

function fill(place, segments) {
  place.replaceChildren(...segments.map((s) => (s.pick === undefined ? document.createTextNode(s.text) : word(s))));
}

function progressLine(value) {
  const seconds = value.seconds === undefined ? '' : ` · ${value.seconds.toFixed(1)} s`;
  const tokens = `${value.count} token${value.count === 1 ? '' : 's'}`;
  const lines = {
    waiting: 'Waiting for the model …',
    reading: `Reading the picture …${seconds}`,
    writing: `${tokens} of at most ${value.limit}${seconds}`,
    done: `${tokens}${seconds}`,
    stopped: `Stopped after ${tokens}${seconds}`,
    error: value.note,
  };
  const line = lines[value.state] || '';
  return value.note && value.state !== 'error' ? `${line} · ${value.note}` : line;
}

function comeIntoSight() {
  const box = root.getBoundingClientRect();
  if (box.top < 0 || box.top > window.innerHeight * 0.8) {
    const calm = matchMedia('(prefers-reduced-motion: reduce)').matches;
    root.scrollIntoView({ block: 'start', behavior: calm ? 'auto' : 'smooth' });
  }
}

function show() {
  const value = props.value || { state: 'empty' };
  const state = value.state || 'empty';
  if (state === 'waiting' && root.dataset.state !== 'waiting') comeIntoSight();
  root.dataset.state = state;
  root.querySelector('.line').textContent = progressLine(value);
  const bar = root.querySelector('progress');
  bar.hidden = !['waiting', 'reading', 'writing'].includes(state);
  if (state === 'writing') {
    bar.max = value.limit;
    bar.value = value.count;
  } else {
    bar.removeAttribute('value'); // it moves without saying how far
  }
  if (value.answer) {
    fill(places.answer, value.answer);
    fill(places.prompt, value.prompt);
  } else {
    places.answer.textContent = value.text || '';
    places.prompt.replaceChildren();
  }
  mark();
}

function words(place) {
  return [...place.querySelectorAll('.word')];
}

function mark() {
  const picked = props.picked || { tokens: [] };
  for (const [name, place] of Object.entries(places)) {
    const tokens = new Set((name === 'prompt') === Boolean(picked.of_prompt) ? picked.tokens.map(String) : []);
    const all = words(place);
    for (const one of all) {
      const own = one.dataset.tokens.split(' ');
      one.setAttribute('aria-pressed', String(own.some((token) => tokens.has(token))));
      one.tabIndex = -1;
    }
    const first = all.find((one) => one.getAttribute('aria-pressed') === 'true') || all[0];
    if (first) first.tabIndex = 0; // Tab comes to the picked word, arrow keys go on from there
  }
}

function pick(button) {
  props.picked = {
    tokens: button.dataset.tokens.split(' ').map(Number),
    of_prompt: places.prompt.contains(button),
  };
  mark();
  root.dataset.pick = button.dataset.pick;
  trigger('click');
}

root.addEventListener('click', (event) => {
  const button = event.target.closest('.word');
  if (button) pick(button);
});

root.addEventListener('keydown', (event) => {
  const button = event.target.closest('.word');
  if (!button || event.ctrlKey || event.altKey || event.metaKey) return;
  const all = words(button.parentElement);
  const at = all.indexOf(button);
  const to = { ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 };
  const next = all[to[event.key]];
  if (!next) return;
  event.preventDefault();
  next.focus();
  pick(next);
});

watch('value', show);
watch('picked', mark);
show();

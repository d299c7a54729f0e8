// How far the answer is, and what of it is written. Values come from the server as `props.value`:
//   {state, ahead, text, count, limit, seconds, note}
// Everything is written with textContent: a model's text never becomes HTML.
const root = element.querySelector('.answering');

function progressLine(value) {
  const seconds = value.seconds === undefined ? '' : ` · ${value.seconds.toFixed(1)} s`;
  const tokens = `${value.count} token${value.count === 1 ? '' : 's'}`;
  const lines = {
    waiting: value.ahead
      ? `Waiting for the model: ${value.ahead} ahead of you${seconds}`
      : 'Waiting for the model …',
    reading: `Reading the picture …${seconds}`,
    writing: `${tokens} of at most ${value.limit}${seconds}`,
    done: `${tokens}${seconds}`,
    stopped: `Stopped after ${tokens}${seconds}`,
  };
  const line = lines[value.state] || '';
  return value.note ? `${line} · ${value.note}` : line;
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
  root.querySelector('.said').textContent = value.text || '';
  const bar = root.querySelector('progress');
  bar.hidden = !['waiting', 'reading', 'writing'].includes(state);
  if (state === 'writing') {
    bar.max = value.limit;
    bar.value = value.count;
  } else {
    bar.removeAttribute('value'); // it moves without saying how far
  }
}

watch('value', show);
show();

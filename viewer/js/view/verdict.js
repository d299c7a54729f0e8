// The verdict on the picked word: whether it came from the picture, what a test of its map found, and the next step.
import { firstPick } from '../state/first.js';
import { probabilities } from '../state/need.js';
import { nextSteps } from '../state/next.js';
import { probabilityText } from '../state/numbers.js';
import { checkOf, headline, testState } from '../state/verdict.js';
import { choose, openTab, want } from './actions.js';

const TEST_NAMES = {
  untested: 'Test it',
  running: 'Testing …',
  holds: '✓ Holds up',
  partly: 'Partly',
  fails: 'Does not hold',
};

// Returns {write}.
export function addVerdict(viewer) {
  const { part, listen } = viewer;
  listen(part('test'), 'click', () => test(viewer));
  listen(part('next'), 'click', (event) => {
    const button = event.target.closest('button');
    if (button) take(viewer, JSON.parse(button.dataset.step));
  });
  return { write: () => write(viewer) };
}

// Opens the test of the shown map; starts it where there is none yet.
export function test(viewer) {
  const { state, host } = viewer;
  openTab(viewer, 'test');
  if (testState(state) === 'untested' && state.can.test) host.ask('test', {});
}

function take(viewer, step) {
  const { state, host } = viewer;
  if (step.kind === 'show') choose(viewer, firstPick(state.data));
  else if (step.kind === 'test') test(viewer);
  else if (step.kind === 'method') want(viewer, { method: step.method });
  else if (step.kind === 'panel') openTab(viewer, step.tab);
  else if (step.kind === 'hide') host.ask('hide', {});
  else if (step.kind === 'closer') host.ask('closer', step.asked);
}

function write(viewer) {
  const { state, part } = viewer;
  const isThere = Boolean(state.data && state.picked && ['answered', 'stale'].includes(state.phase));
  part('verdict').hidden = !isThere;
  part('next').hidden = !isThere;
  if (!isThere) return;
  writeHeadline(viewer);
  writeMeters(viewer);
  writeTest(viewer);
  writeNext(viewer);
}

function writeHeadline({ state, part }) {
  const nodes = headline(state).map(({ text, tone }) => {
    if (!tone) return document.createTextNode(text);
    const span = document.createElement('span');
    span.dataset.tone = tone;
    span.textContent = text;
    return span;
  });
  part('headline').replaceChildren(...nodes);
}

function writeMeters({ state, part }) {
  const { seen, unseen } = probabilities(state.data, state.picked);
  const verdict = part('verdict');
  part('meters').hidden = state.picked.of_prompt || unseen === null;
  for (const [name, value] of [
    ['with', seen],
    ['without', unseen],
  ]) {
    if (value === null || state.picked.of_prompt) delete verdict.dataset[name];
    else verdict.dataset[name] = value;
  }
  if (part('meters').hidden) return;
  meter(part, 'seen', seen);
  meter(part, 'unseen', unseen);
  const check = checkOf(state);
  part('hotMeter').hidden = !check;
  part('randomMeter').hidden = !check;
  if (!check) return;
  const at = check.patches.indexOf(check.telling);
  part('hotName').textContent = countedText(check.telling, 'hottest patch', 'hottest patches');
  part('randomName').textContent = countedText(check.telling, 'random one', 'random ones');
  meterOf(part, ['hotValue', 'hotBar'], check.hottest[at]);
  meterOf(part, ['randomValue', 'randomBar'], check.random_mean[at]);
}

const countedText = (count, one, several) => `${count} ${count === 1 ? one : several} hidden`;

const meter = (part, name, value) => meterOf(part, [name, `${name}Bar`], value);

function meterOf(part, [text, bar], value) {
  part(text).textContent = probabilityText(value);
  part(bar).style.width = `${100 * value}%`;
}

function writeTest({ state, part }) {
  const now = testState(state);
  const button = part('test');
  button.hidden = now === 'none' || (now === 'untested' && !state.can.test);
  button.dataset.state = now;
  button.textContent = TEST_NAMES[now] ?? '';
  button.disabled = now === 'running';
}

function writeNext({ state, part }) {
  const steps = state.phase === 'answered' ? nextSteps(state) : [];
  part('next').hidden = !steps.length;
  const nodes = steps.map((step) => {
    const button = document.createElement('button');
    button.type = 'button';
    button.textContent = step.text;
    button.dataset.step = JSON.stringify(step);
    return button;
  });
  part('next').replaceChildren(...nodes);
}

// Where the answer is: in its conversation; waiting, being written, there, or about another picture; what works beside; and
// what went wrong.
import { methodRow } from '../state/texts.js';
import { durationText, waitingTexts } from '../state/waiting.js';
import { addTurns } from './turns.js';

// Returns {write}.
export function addPhase(viewer) {
  const { part, listen, host } = viewer;
  listen(part('workStop'), 'click', () => host.ask('stop', { part: viewer.state.work?.part }));
  listen(part('chipButton'), 'click', () =>
    host.ask('stop', { part: viewer.state.work?.part, isKept: true }),
  );
  listen(part('notice'), 'click', (event) => {
    const button = event.target.closest('button');
    if (button) host.ask(button.dataset.ask, {});
  });
  const turns = addTurns(viewer);
  const writeAll = () => {
    write(viewer);
    turns.write();
  };
  return { write: writeAll };
}

function write(viewer) {
  const { state, root } = viewer;
  root.dataset.phase = state.phase;
  writeWaiting(viewer);
  writeNotice(viewer);
  writeWork(viewer);
  writeChip(viewer);
}

function writeWaiting({ state, part }) {
  const isWaiting = ['waiting', 'reading', 'writing'].includes(state.phase);
  part('waiting').hidden = !isWaiting;
  part('read').hidden =
    !(state.phase === 'writing' || state.data) || ['waiting', 'reading'].includes(state.phase);
  for (const name of ['tabs', 'panels']) part(name).hidden = !state.data || isWaiting;
  if (!isWaiting) return;
  const { title, time, share } = waitingTexts(state.phase, state.progress ?? {});
  part('waitingTitle').textContent = title;
  part('waitingTime').textContent = time;
  part('waiting').dataset.phase = state.phase;
  if (share === null) part('progress').removeAttribute('value');
  else part('progress').value = share;
}

function writeNotice({ state, part }) {
  const notice = state.refusal ? { kind: 'error', text: state.refusal } : state.notice;
  part('notice').hidden = !notice;
  if (!notice) return;
  part('notice').dataset.kind = notice.kind;
  const nodes = [document.createTextNode(notice.text)];
  if (notice.action) {
    const button = document.createElement('button');
    Object.assign(button, { type: 'button', className: 'lens-link', textContent: notice.action.text });
    button.dataset.ask = notice.action.ask;
    nodes.push(document.createTextNode(' '), button);
  }
  part('notice').replaceChildren(...nodes);
}

function writeWork({ state, part }) {
  const { work } = state;
  part('work').hidden = !work || work.part === 'need';
  if (!work) return;
  const { count = 0, done = 0, ahead = 0, seconds = 0 } = work;
  part('workTitle').textContent = work.title;
  const left = done ? (seconds / done) * (count - done) : 0;
  const steps = count
    ? `· ${done} of ${count} readings${left ? ` · about ${durationText(left)} left` : ''}`
    : '';
  part('workSteps').textContent = ahead ? `· ${ahead} ahead of you` : steps;
  if (count) {
    part('workBar').max = count;
    part('workBar').value = done;
  } else part('workBar').removeAttribute('value');
}

function writeWordChip({ progress }, part) {
  const words = (progress?.text ?? '').trim().split(/\s+/);
  part('chip').hidden = !progress?.map;
  part('chipText').textContent = `Fast · “${words.at(-1)}”`;
}

// The line on the picture says which map it shows, and when that changes.
function writeChip({ state, part }) {
  const { work, phase } = state;
  const shown = state.data && methodRow(state.data).short;
  const isComing = phase === 'answered' && shown && work?.part === 'method' && work.short !== shown;
  part('chip').hidden = !isComing && phase !== 'writing';
  part('chipButton').hidden = !isComing;
  if (phase === 'writing') writeWordChip(state, part);
  if (!isComing) return;
  const { count = 0, done = 0, seconds = 0 } = work;
  const left = done ? ` in ${durationText((seconds / done) * (count - done))}` : ' comes';
  part('chipText').textContent = `${shown} map · ${work.short}${left} ·`;
  part('chipButton').textContent = `stay with ${shown}`;
}

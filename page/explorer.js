// The viewer on the page. From the server come
//   `props.value`: {run, packed}: the answer's id, and as a text what viewer.payload() returns without its pictures, with `run`
//     and `facts`; null without an answer
//   `props.pictures`: {list, run}: the answer's pictures, and moments of its clips; and the same `run`
//   `props.heads`, `.without`, `.check`, `.compared`: what was asked for, of that answer
//   `props.progress`: how far the next answer is, null or `back` without one; `.work`: what the model does beside
//   `props.notice`: one line, and `.said`, another number whenever that is said once more
//   `props.ended`: the controls that were asked for, once their maps are there, or none will come of them
// A pick is told as `click`, another look as `select` (and to the rest of the page as an event `look`). What is asked for
// is told as an event of its name, its details in the element's dataset: an event that has to wait is sent with the data
// of the one before it.
const root = element.querySelector('.lens-viewer');
const slots = { ask: 'ask', token: 'token', methods: 'gradcam_box' };
let told = null; // the pick that the list of words has
let latest = ''; // the text of the latest answer that came
let come = null; // the same, unpacked
let run = null; // the answer that is shown
let note = null; // what was said when this answer came: it stays, whatever works beside
let answered = []; // what the answer is about, as it was chosen: [{path, url, orig_name, example}]
let sources = []; // what is chosen now; for a follow-up, beside what the answer is about
let turns = []; // the conversation, the turns after the shown one too: [{id, prompt, text}]
let turn = 0; // which of them is shown
let parent = null; // the answer that the shown one asks again: {id, prompt, text, of}
let follows = false; // whether the next question follows the answer that is shown
let asked = null; // what was asked last: {prompt, sources}

// Gradio's components stand where the viewer has room for them; some may come to be later than the viewer.
function settle() {
  let isWhole = true;
  for (const [name, id] of Object.entries(slots)) {
    const slot = root.querySelector(`[data-slot="${name}"]`);
    const part = document.getElementById(id);
    if (part && !slot.contains(part)) slot.append(part);
    isWhole &&= Boolean(part);
  }
  return isWhole;
}

function settleAll() {
  root.querySelector('[data-part="words"]').id = 'answer';
  root.querySelector('[data-part="frame"]').id = 'overlay';
  if (settle()) return;
  const observer = new MutationObserver(() => settle() && observer.disconnect());
  observer.observe(document.body, { childList: true, subtree: true });
}

const events = {
  maps: () => trigger('maps'),
  heads: () => trigger('heads'),
  test: () => trigger('test'),
  compare: () => trigger('compare'),
  stop: () => trigger('stop'),
  hide: () => trigger('hide'),
  closer: () => trigger('closer'),
  sources: () =>
    document.dispatchEvent(new CustomEvent('pictures-edit', { detail: JSON.parse(root.dataset.sources) })),
  turn: () => trigger('turn'),
  follow: () => follow(JSON.parse(root.dataset.follow).is),
  again: () => document.querySelector('#generate').click(),
  back() {
    trigger('back');
    chosen(answered);
  },
};

function ask(what, details) {
  root.dataset[what] = JSON.stringify(details);
  events[what]();
}

const host = {
  can: {
    maps: true,
    heads: true,
    test: true,
    compare: true,
    hide: true,
    sources: true,
    turn: true,
    follow: true,
    closer: true,
  },
  onPick: () => trigger('click'),
  onPlane: () => document.dispatchEvent(new CustomEvent('look')),
  onLook() {
    trigger('select');
    document.dispatchEvent(new CustomEvent('look'));
  },
  ask,
};

// The list of words shows what is picked, also where nobody picked it.
function tellPick() {
  const key = root.viewer.state().pick?.key ?? '';
  if (key === told) return;
  told = key;
  trigger('click');
}

// Takes the answer that came; it travels as one text.
function unpack({ packed }) {
  if (packed === latest) return;
  latest = packed;
  come = JSON.parse(packed);
}

function show() {
  const { value, pictures } = props;
  if (!root.viewer) mountViewer(root, null, host);
  if (!value || !pictures || value.run !== pictures.run) return;
  unpack(value);
  const isNew = come.run !== run;
  if (isNew) {
    told = null;
    note = props.notice ?? null;
    takeTurns(come.facts);
  }
  root.dataset.answered = JSON.stringify(answered.length > 1 ? answered : (answered[0] ?? null));
  run = come.run;
  root.dataset.run = run;
  root.viewer.update({ ...come, pictures: pictures.list });
  root.viewer.update({ work: props.work ?? null, turns, turn, parent, isFollowing: follows, ...now() });
  if (isNew && follows) goOn();
  tellPick();
}

const field = () => document.querySelector('#prompt textarea');

// Takes what an answer is about, and the conversation that it stands in; one that was said already keeps what came after.
function takeTurns(facts) {
  answered = facts.follows && asked ? asked.sources : [facts.source ?? []].flat();
  setFollows(follows && facts.follows);
  const at = facts.turns.length - 1;
  parent = facts.parent;
  const isSaid = facts.turns.every(({ id }, i) => id && turns[i]?.id === id);
  if (!isSaid) turns = facts.turns;
  turn = at;
}

function setFollows(is) {
  follows = is;
  if (field()) field().placeholder = is ? 'Ask a follow-up' : 'Ask about the picture'; // it may come later than the viewer
}

// The next question follows the answer that is shown, and adds pictures to it; or it is about what is chosen, as any other.
function follow(is) {
  setFollows(is);
  root.viewer.update({ isFollowing: is });
  choose(is ? [] : answered);
  fill(is ? '' : come.prompt.text);
  if (is) field().focus();
}

const choose = (list) => document.dispatchEvent(new CustomEvent('pictures-edit', { detail: { all: list } }));

function fill(question) {
  root.dataset.question = question;
  trigger('follow');
}

// After a follow-up the next one begins; what was typed meanwhile stays, and so does a question whose answer was stopped.
function goOn() {
  choose([]);
  if (!come.facts.stopped && field().value === asked?.prompt) fill('');
}

// A question was asked: its line stands in the conversation while it is answered.
function begin() {
  asked = { prompt: root.dataset.sent, sources: follows ? [...answered, ...sources] : sources };
  if (!follows) return;
  const before = turns.slice(0, turn + 1);
  root.viewer.update({ turns: [...before, { prompt: asked.prompt, text: null }], turn: before.length });
}

// How far the next answer is; where there is none, the conversation is what it was.
let isBegun = false;
function goAlong() {
  if (isAsking() && !isBegun) begin();
  if (!isAsking() && isBegun) root.viewer?.update({ turns, turn });
  isBegun = isAsking();
  root.viewer?.update({ progress: null, ...now() });
}

// What belongs to another answer than the one that is shown is of no use any more.
const isOfThis = (one) => one && (!one.run || one.run === props.value?.run);

settleAll();
for (const name of ['value', 'pictures']) watch(name, show);
watch('heads', () => root.viewer && props.heads && root.viewer.update({ heads: props.heads }));
watch('without', () => {
  if (!isOfThis(props.without)) return;
  root.viewer.update({ without: props.without.values });
  tellPick();
});
watch('check', () => isOfThis(props.check) && root.viewer.update({ check: props.check }));
watch('compared', () => isOfThis(props.compared) && root.viewer.update({ compared: props.compared }));
watch('ended', () => props.ended && root.viewer?.update({ ended: props.ended }));
watch('work', () => root.viewer?.update({ work: props.work ?? null }));
watch('progress', goAlong);
watch(['notice', 'said'], () => {
  if (!root.viewer) return;
  const isThere = ['answered', 'stale'].includes(root.viewer.state().phase);
  root.viewer.update({ notice: props.notice ?? (isThere ? standing().notice : null) });
});
document.addEventListener('pictures-chosen', ({ detail }) => chosen(detail));
document.addEventListener('keydown', (event) => {
  const isLeft = follows && event.key === 'Escape' && event.target === field() && !field().value;
  if (isLeft) follow(false);
});

const isSame = (a, b) =>
  a.length === b.length && a.every((one, i) => one.example === b[i].example && one.path === b[i].path);

function phaseNow() {
  const state = root.viewer.state();
  if (!state.pick && !props.value) return 'empty';
  return sources.length && !follows && !isSame(sources, answered) ? 'stale' : 'answered';
}

// Whether a new answer is waited for, read or written: `back` says that there is none.
const isAsking = () => Boolean(props.progress) && props.progress.phase !== 'back';

// Returns where the page is, and the line above the words: more maps of an answer may come while the next one is written,
// and another picture may be chosen meanwhile.
function now() {
  const { progress } = props;
  return isAsking() ? { phase: progress.phase, progress, notice: null } : standing();
}

// Returns where an answer that is there is, and the line above it.
function standing() {
  const phase = phaseNow();
  if (phase !== 'stale') return { phase, notice: note };
  const several = `the ${answered.length} pictures`;
  const name = answered.length > 1 ? several : (answered[0]?.orig_name ?? 'another picture');
  const what = sources.length > 1 ? 'these pictures bring' : 'the new picture brings';
  const text = `This answer is about ${name}. Ask to see what ${what}.`;
  return { phase, notice: { kind: 'warn', text, action: { text: `Back to ${name}`, ask: 'back' } } };
}

// Other pictures are chosen: the answer that is there is about those before.
function chosen(list) {
  const isOther = !isSame(list, sources);
  sources = list;
  const all = follows ? [...answered, ...list] : list;
  if (!all.length) return;
  Promise.all(all.map(sized)).then((shown) => {
    if (sources === list) root.viewer.update({ sources: shown, sourceAt: 0 });
  });
  if (isOther && ['answered', 'stale'].includes(root.viewer.state().phase)) root.viewer.update(standing());
}

// Returns a picture with its size, once that is known; of what no browser can draw, that of a blank.
function sized({ url, orig_name: name, kind }) {
  return new Promise((done) => {
    const image = new Image();
    const settled = () =>
      done({ url: image.src, width: image.naturalWidth || 4, height: image.naturalHeight || 3, name, kind });
    image.onload = settled;
    image.onerror = settled;
    image.src = url ?? '';
  });
}

show();

// The pictures and clips to choose from. From the server come `props.examples`, [{src, name, prompt}], `props.most`, the largest
// file in bytes, and `props.value`, what is chosen: {example} or {path, url, orig_name}, a list of such of several; null for none.
// What a person chooses is told as `change`, and an example alone as `select` too. It stands in the element's dataset, without
// addresses: {example, prompt, orig_name} or {path, orig_name}, a list of several; and as an event `pictures-chosen` with a list
// of them with their addresses for who shows them. An event `pictures-edit` {add}, {remove}, {move: [from, to]} or {all: list}
// changes it. For a follow-up there can be none: it is about what the answer before is about, and what is chosen is added.
// Files that were sent are told as `check`, and `props.checked` says what each is: [{path, url, kind, note}], or {path, reason}
// for one that cannot be asked about.
const root = element.querySelector('.sources');
const input = root.querySelector('input');
const tile = root.querySelector('.tile');
const several = root.querySelector('.several');
const thumbs = root.querySelector('.thumbs');
const line = element.querySelector('.sources-line');
const veil = element.querySelector('.drop-veil');
const pictures = props.examples.map(({ src, name, prompt }, example) => ({
  example,
  prompt,
  orig_name: name,
  url: src,
  isChecked: true,
}));
const OWN = 24; // pictures of one's own that stay to choose from
let own = []; // pictures of one's own, the latest first
let chosen = []; // in the order in which they are asked about
let before = []; // what was chosen last of which all is known to be right
let isAdding = false; // whether what is chosen next joins

const isFollowing = () => document.querySelector('#viewer .lens-viewer')?.dataset.following !== undefined;

const nameOf = ({ prompt, orig_name }) => (prompt ? `Example: ${prompt}` : orig_name);

function thumb(picture) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'thumb';
  button.title = picture.orig_name;
  button.textContent = picture.orig_name;
  const image = new Image();
  image.alt = '';
  image.src = picture.url;
  image.decode().then(
    () => button.replaceChildren(image),
    () => {}, // what no browser can draw keeps its name; the server may be able to open it
  );
  button.addEventListener('click', (event) => {
    if (isAdding || isFollowing() || event.ctrlKey || event.metaKey || event.shiftKey) toggle(picture);
    else choose([picture]);
  });
  return button;
}

const listed = () => [...own, ...pictures];

function show() {
  thumbs.replaceChildren(...listed().map(thumb));
  mark();
}

// Each says whether it is chosen, and of several its place.
function mark() {
  several.setAttribute('aria-pressed', String(isAdding));
  [...thumbs.children].forEach((button, i) => {
    const picture = listed()[i];
    const at = chosen.indexOf(picture);
    button.setAttribute('aria-pressed', String(at >= 0));
    const place = chosen.length > 1 && at >= 0 ? ` (picture ${at + 1})` : '';
    button.setAttribute('aria-label', nameOf(picture) + place);
    if (place) button.dataset.place = at + 1;
    else delete button.dataset.place;
  });
}

function keep(list) {
  chosen = list;
  const told = list.map(({ url, kind, note, isChecked, ...rest }) => rest);
  root.dataset.value = JSON.stringify(told.length > 1 ? told : (told[0] ?? null));
  mark();
  document.dispatchEvent(new CustomEvent('pictures-chosen', { detail: list }));
}

// An example brings its question where nobody typed one.
const isOffered = (text) => !text.trim() || pictures.some(({ prompt }) => prompt === text.trim());

function choose(list) {
  line.textContent = '';
  keep(list);
  trigger('change');
  const [picture] = list;
  if (
    list.length === 1 &&
    !isFollowing() &&
    picture.prompt &&
    isOffered(document.querySelector('#prompt textarea').value)
  )
    trigger('select');
}

// Adds a picture at the end, or takes it out; one stays.
function toggle(picture) {
  const rest = chosen.filter((one) => one !== picture);
  if (rest.length === chosen.length) choose([...chosen, picture]);
  else if (rest.length || isFollowing()) choose(rest);
}

function edit({ add, remove, move, all }) {
  if (all) takeAll(all);
  else if (add) {
    isAdding = true;
    mark();
    input.click();
  } else if (move) {
    const [from, to] = move;
    const list = chosen.filter((_, i) => i !== from);
    list.splice(to, 0, chosen[from]);
    choose(list);
  } else if (chosen.length > 1) choose(chosen.filter((_, i) => i !== remove));
}

const megabytes = (bytes, round) => round(bytes / 1e6);

// Returns what was sent of some files; of one that is too large, or was not sent, the line says so.
async function sent(files) {
  const found = [];
  for (const file of files) {
    if (file.size > props.most) {
      const [has, most] = [megabytes(file.size, Math.ceil), megabytes(props.most, Math.floor)];
      line.textContent = `${file.name} has ${has} MB; at most ${most} MB are taken.`;
      continue;
    }
    try {
      const { path } = await upload(file);
      found.push({ path, orig_name: file.name, url: URL.createObjectURL(file) });
    } catch {
      line.textContent = `${file.name} could not be sent. Try again.`;
    }
  }
  return found;
}

// Several files at once are asked about together; one takes the place of what was chosen, or joins it.
async function take(files) {
  if (!files.length) return;
  line.textContent = '';
  tile.setAttribute('aria-busy', 'true');
  const joins = isAdding || isFollowing();
  try {
    const found = await sent(files);
    if (!found.length) return;
    if (chosen.every(({ isChecked }) => isChecked)) before = chosen;
    own = [...found, ...own];
    for (const one of own.splice(OWN)) if (one.url.startsWith('blob:')) URL.revokeObjectURL(one.url);
    const said = line.textContent;
    show();
    choose(joins ? [...chosen, ...found] : found);
    line.textContent = said;
    root.dataset.sent = JSON.stringify(own.filter((one) => !one.isChecked).map(({ path }) => ({ path })));
    trigger('check');
  } finally {
    tile.removeAttribute('aria-busy');
    input.value = ''; // so that the same file can be chosen again
  }
}

// What the server found files to be: nothing is left of one that cannot be asked about.
function settle() {
  const wrong = [];
  for (const { path, url, kind, note, reason } of props.checked ?? []) {
    const one = own.find((picture) => picture.path === path);
    if (!one) continue;
    one.isChecked = true;
    if (url) Object.assign(one, { url, kind, note });
    else wrong.push([one, reason]);
  }
  const gone = wrong.map(([one]) => one);
  own = own.filter((one) => !gone.includes(one));
  const rest = chosen.filter((one) => !gone.includes(one));
  const isSame = rest.length === chosen.length;
  chosen = rest;
  show();
  keep(rest.length || isSame ? rest : before);
  const notes = wrong.map(([{ orig_name }, reason]) => `${orig_name}: ${reason}`);
  if (notes.length) line.textContent = notes.join(' ');
}

// What the server chose: examples, or an answer's own pictures.
const follow = () => props.value && takeAll([props.value].flat());

function takeAll(told) {
  const list = told.map((one) => {
    if (typeof one.example === 'number') return pictures[one.example];
    const known = one.path && own.find(({ path }) => path === one.path); // a clip from before has no path
    return known || { ...one, isChecked: true };
  });
  const fresh = list.filter((one) => !own.includes(one) && !pictures.includes(one));
  if (fresh.length) {
    own = [...fresh, ...own].slice(0, OWN);
    show();
  }
  keep(list);
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes('Files');
let depth = 0; // elements that a dragged file is over
document.addEventListener('dragenter', (event) => {
  if (!hasFiles(event)) return;
  depth += 1;
  veil.hidden = false;
});
document.addEventListener('dragleave', (event) => {
  if (!hasFiles(event)) return;
  depth -= 1;
  veil.hidden = depth <= 0;
});
document.addEventListener('dragover', (event) => hasFiles(event) && event.preventDefault());
document.addEventListener('drop', (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  depth = 0;
  veil.hidden = true;
  take([...event.dataTransfer.files]);
});
document.addEventListener('paste', (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return; // text, for whatever field it is
  event.preventDefault();
  take(files);
});
document.addEventListener('pictures-edit', ({ detail }) => edit(detail));
several.addEventListener('click', () => {
  isAdding = !isAdding;
  mark();
});
input.addEventListener('change', () => take([...input.files]));
watch('value', follow);
watch('checked', settle);
show();
follow();

// The pictures to choose from. From the server come `props.examples`, [{src, name, prompt}], `props.most`, the largest file in
// bytes, and `props.value`, the picture that is chosen: {example} or {path, url, orig_name}; null for none.
// What a person chooses is told as `change`, and an example as `select` too. It stands in the element's dataset, without its
// address: {example, prompt, orig_name} or {path, orig_name}; and as an event `picture-chosen` with its address for who shows it.
// A file that was sent is told as `check`, and `props.checked` says what it is: {path, url}, or {path, reason} for no picture.
const root = element.querySelector('.sources');
const input = root.querySelector('input');
const tile = root.querySelector('.tile');
const thumbs = root.querySelector('.thumbs');
const line = element.querySelector('.sources-line');
const veil = element.querySelector('.drop-veil');
const pictures = props.examples.map(({ src, name, prompt }, example) => ({
  example,
  prompt,
  orig_name: name,
  url: src,
}));
let own = null; // the latest picture of one's own
let chosen = null;
let before = null; // the picture that was chosen before the latest of one's own

function thumb(picture) {
  const button = document.createElement('button');
  button.type = 'button';
  button.className = 'thumb';
  button.title = picture.orig_name;
  button.setAttribute('aria-label', picture.prompt ? `Example: ${picture.prompt}` : picture.orig_name);
  button.setAttribute('aria-pressed', String(picture === chosen));
  button.textContent = picture.orig_name;
  const image = new Image();
  image.alt = '';
  image.src = picture.url;
  image.decode().then(
    () => button.replaceChildren(image),
    () => {}, // what no browser can draw keeps its name; the server may be able to open it
  );
  button.addEventListener('click', () => choose(picture));
  return button;
}

function show() {
  thumbs.replaceChildren(...[...(own ? [own] : []), ...pictures].map(thumb));
}

function keep(picture) {
  chosen = picture;
  const { url, ...told } = picture ?? {};
  root.dataset.value = JSON.stringify(picture && told);
  for (const [i, button] of [...thumbs.children].entries()) {
    const one = own ? [own, ...pictures][i] : pictures[i];
    button.setAttribute('aria-pressed', String(one === chosen));
  }
  document.dispatchEvent(new CustomEvent('picture-chosen', { detail: picture }));
}

// An example brings its question where nobody typed one.
const isOffered = (text) => !text.trim() || pictures.some(({ prompt }) => prompt === text.trim());

function choose(picture) {
  line.textContent = '';
  keep(picture);
  trigger('change');
  if (picture.prompt && isOffered(document.querySelector('#prompt textarea').value)) trigger('select');
}

async function take(files) {
  const file = files[0];
  if (!file) return;
  line.textContent = files.length > 1 ? 'One picture at a time: the first one was taken.' : '';
  if (file.size > props.most) {
    line.textContent = `${file.name} has ${Math.ceil(file.size / 1e6)} MB; at most ${Math.floor(props.most / 1e6)} MB are taken.`;
    return;
  }
  tile.setAttribute('aria-busy', 'true');
  try {
    const { path } = await upload(file);
    if (own?.url.startsWith('blob:')) URL.revokeObjectURL(own.url);
    before = chosen === own ? before : chosen;
    own = { path, orig_name: file.name, url: URL.createObjectURL(file) };
    const said = line.textContent;
    show();
    choose(own);
    line.textContent = said;
    root.dataset.sent = JSON.stringify({ path });
    trigger('check');
  } catch {
    line.textContent = `${file.name} could not be sent. Try again.`;
  } finally {
    tile.removeAttribute('aria-busy');
    input.value = ''; // so that the same file can be chosen again
  }
}

// What the server found a file to be: nothing is left of one that is no picture.
function settle() {
  const { path, url, reason } = props.checked ?? {};
  if (!own || own.path !== path) return;
  if (url) {
    own.url = url;
    show();
    if (chosen === own) keep(own);
    return;
  }
  const name = own.orig_name;
  const wasChosen = chosen === own;
  own = null;
  show();
  if (wasChosen) keep(before);
  line.textContent = `${name}: ${reason}`;
}

// What the server chose: an example, or an answer's own picture.
function follow() {
  const { value } = props;
  if (!value) return;
  if (typeof value.example === 'number') keep(pictures[value.example]);
  else if (value.path !== chosen?.path) {
    own = value;
    show();
    keep(own);
  }
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
input.addEventListener('change', () => take([...input.files]));
watch('value', follow);
watch('checked', settle);
show();
follow();

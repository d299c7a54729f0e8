// Answers to reopen, newest first: `props.value` is [{id, prompt, answer, model, when, src}]. The one that is clicked
// is told as `click`, its id in data-wanted. Everything is written with textContent.
const root = element.querySelector('.recent');

function part(tag, name, text) {
  const one = document.createElement(tag);
  one.className = name;
  if (text !== undefined) one.textContent = text;
  return one;
}

function entry(one) {
  const button = part('button', 'entry');
  button.type = 'button';
  button.dataset.id = one.id;
  const picture = part('img', 'picture');
  picture.src = one.src;
  picture.alt = '';
  const words = part('span', 'words');
  words.append(
    part('span', 'prompt', one.prompt),
    part('span', 'answer', one.answer),
    part('span', 'made', `${one.model} · ${one.when}`),
  );
  button.append(picture, words);
  return button;
}

function show() {
  const entries = props.value || [];
  root.querySelector('.none').hidden = entries.length > 0;
  for (const old of root.querySelectorAll('.entry')) old.remove();
  root.append(...entries.map(entry));
}

root.addEventListener('click', (event) => {
  const button = event.target.closest('.entry');
  if (!button) return;
  root.dataset.wanted = button.dataset.id;
  trigger('click');
});

watch('value', show);
show();

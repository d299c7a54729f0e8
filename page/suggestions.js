// Questions to try, `props.value`, and what keys do in the field for one's own: Enter asks, Shift+Enter begins a new line.
const line = element.querySelector('.suggestions');
const field = () => document.querySelector('#prompt textarea, #prompt input');

function write(text) {
  const input = field();
  const proto = input instanceof HTMLTextAreaElement ? HTMLTextAreaElement : HTMLInputElement;
  Object.getOwnPropertyDescriptor(proto.prototype, 'value').set.call(input, text);
  input.dispatchEvent(new Event('input', { bubbles: true }));
}

function suggestion(question) {
  const button = document.createElement('button');
  button.type = 'button';
  button.textContent = question;
  button.addEventListener('click', () => {
    write(question);
    setTimeout(() => document.querySelector('#generate')?.click(), 60); // once Gradio has heard the text
  });
  return button;
}

function show() {
  line.replaceChildren(line.firstElementChild, ...(props.value ?? []).map(suggestion));
}

watch('value', show);
show();

document.addEventListener(
  'keydown',
  (event) => {
    const input = field();
    if (event.target === input && event.key === 'Enter') {
      if (event.shiftKey)
        event.stopImmediatePropagation(); // Gradio would ask
      else if (event.ctrlKey || event.metaKey) {
        event.preventDefault();
        event.stopImmediatePropagation();
        document.querySelector('#generate')?.click();
      }
    } else if (event.key === '/' && !event.target.closest('input, textarea, select')) {
      event.preventDefault();
      input.focus();
      input.select();
    }
  },
  true,
);

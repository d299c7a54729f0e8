// The menus of the page: a button with data-menu opens the part of that id; Esc, a click elsewhere or leaving it closes.
const buttonOf = (id) => document.querySelector(`[data-menu="${id}"]`);
const openOne = () => document.querySelector('.menu.open');

function close(isFocused) {
  const menu = openOne();
  if (!menu) return;
  menu.classList.remove('open');
  const button = buttonOf(menu.id);
  button.setAttribute('aria-expanded', 'false');
  if (isFocused) button.focus();
}

// Puts a menu under its button, or above where more room is; it scrolls where it is higher than that.
function place(menu, button) {
  const box = button.getBoundingClientRect();
  const below = window.innerHeight - box.bottom - 20;
  const above = box.top - 20;
  const isAbove = below < above && below < menu.scrollHeight;
  menu.style.top = isAbove ? 'auto' : `${box.bottom + 8}px`;
  menu.style.bottom = isAbove ? `${window.innerHeight - box.top + 8}px` : 'auto';
  menu.style.left = `${Math.max(8, Math.min(box.left, window.innerWidth - menu.offsetWidth - 12))}px`;
  menu.style.maxHeight = `${isAbove ? above : below}px`;
}

function open(menu, button) {
  close(false);
  menu.classList.add('open');
  place(menu, button);
  button.setAttribute('aria-expanded', 'true');
  menu.tabIndex = -1; // its first field would open its list at once
  menu.focus();
}

window.addEventListener('resize', () => {
  const menu = openOne();
  if (menu) place(menu, buttonOf(menu.id));
});
document.addEventListener('click', (event) => {
  const button = event.target.closest('[data-menu]');
  if (button) {
    const menu = document.getElementById(button.dataset.menu);
    if (menu.classList.contains('open')) close(false);
    else open(menu, button);
  } else if (event.target.isConnected && !event.target.closest('.menu, .options')) close(false);
});
document.addEventListener(
  'keydown',
  (event) => {
    if (event.key === 'Escape' && openOne()) {
      close(true);
      event.stopPropagation();
    }
  },
  true,
);
document.addEventListener('focusin', (event) => {
  const menu = openOne();
  if (menu && !menu.contains(event.target) && event.target !== buttonOf(menu.id)) close(false);
});
// Gradio's lists take Tab for a letter and open once more, after the focus has gone: they do not hear of it. A list is no
// stop of its own, since it goes when the focus comes to it.
document.addEventListener(
  'keydown',
  (event) => {
    if (event.key !== 'Tab' || !event.target.matches?.('input[role="combobox"]')) return;
    for (const list of document.querySelectorAll('.options, .option-list')) list.tabIndex = -1;
    event.stopPropagation();
  },
  true,
);
// Gradio breaks off its own stream when a page is left, and calls that an error, though the browser ends the stream anyhow.
const abort = AbortController.prototype.abort;
AbortController.prototype.abort = function (...reason) {
  if (window.event?.type !== 'beforeunload') abort.apply(this, reason);
};

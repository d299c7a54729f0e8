// Small menus that open under a button: [data-opens] is the button, [data-popover] of the same name what it opens.
export function addMenus({ root, listen }) {
  const menuOf = (name) => root.querySelector(`[data-popover="${name}"]`);
  const buttons = () => [...root.querySelectorAll('[data-opens]')];
  const set = (button, isOpen) => {
    button.setAttribute('aria-expanded', String(isOpen));
    menuOf(button.dataset.opens).hidden = !isOpen;
  };
  const closeAll = (except) => {
    for (const button of buttons()) {
      if (button !== except && button.getAttribute('aria-expanded') === 'true') set(button, false);
    }
  };
  listen(root, 'click', (event) => {
    const button = event.target.closest('[data-opens]');
    if (!button) return;
    closeAll(button);
    set(button, button.getAttribute('aria-expanded') !== 'true');
  });
  listen(document, 'pointerdown', (event) => {
    if (!(event.target instanceof Element) || !event.target.closest('.lens-menu')) closeAll();
  });
  listen(root, 'focusin', (event) => {
    if (!event.target.closest('.lens-menu')) closeAll(); // one that is left by the keyboard closes
  });
  listen(root, 'keydown', (event) => {
    const menu = event.key === 'Escape' ? event.target.closest('.lens-menu') : null;
    const button = menu?.querySelector('[aria-expanded="true"]');
    if (!button) return;
    set(button, false);
    button.focus();
    event.stopPropagation();
  });
}

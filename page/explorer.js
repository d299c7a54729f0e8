// The viewer on the page. From the server come
//   `props.value`: what viewer.payload() returns without its picture, and `run`, the answer's id; null without one
//   `props.picture`: the answer's picture, and the same `run`
//   `props.heads`: layers × heads of a pick
// A pick is told as `click`, another look as `select` (and to the rest of the page as an event `look`), layers × heads
// that are wanted as `input`, and one layer and head to be shown alone, in data-alone, as `submit`. What happened is
// read from the viewer's state, not from the event: one that has to wait is sent with the data of the one before.
const root = element.querySelector('.lens-viewer');

function told(change) {
  if (change.look) {
    trigger('select');
    document.dispatchEvent(new CustomEvent('look'));
  } else if (change.want) trigger('input');
  else {
    root.dataset.alone = JSON.stringify([change.layer, change.head]);
    trigger('submit');
  }
}

function show() {
  const { value, picture } = props;
  root.hidden = !value;
  if (!value || !picture || value.run !== picture.run) return;
  const payload = { ...value, picture };
  if (root.viewer) root.viewer.update(payload);
  else mountViewer(root, payload, { onPick: () => trigger('click'), onChange: told });
}

watch('value', show);
watch('picture', show);
watch('heads', () => {
  if (root.viewer && props.heads) root.viewer.update({ heads: props.heads });
});
show();

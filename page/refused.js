// Stands in the page itself, also in the one that asks for a name and a password: asks once whether the page may call
// from where it is open, and shows the server's line if not. Gradio shows nothing of a call that is refused.

const answer = await fetch('gradio_api/allowed', { method: 'POST' });
const { error } = answer.ok ? {} : await answer.json().catch(() => ({})); // a proxy's own page is none of ours
if (error) {
  const line = document.createElement('p');
  line.id = 'refused';
  line.role = 'alert';
  line.textContent = error;
  line.style.cssText =
    'position: fixed; inset: auto 0 0; z-index: 10000; margin: 0; padding: 14px 20px; background: #8c1d18; color: #fff; font: 15px/1.5 sans-serif';
  document.body.append(line);
}

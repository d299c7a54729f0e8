// What a key asks for, anywhere on the page. Goes in: a key event as plain data. Comes out: an action, or null.
const PLAIN = {
  t: { action: 'test' },
  f: { action: 'method', index: 0 },
  b: { action: 'method', index: 1 },
  c: { action: 'method', index: 2 },
  1: { action: 'view', index: 0 },
  2: { action: 'view', index: 1 },
  3: { action: 'view', index: 2 },
  4: { action: 'view', index: 3 },
  escape: { action: 'whole' },
};
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

// Returns {action, …}: "word" with step and extend, "whole", "test", "method" or "view" with an index; nothing in a field
// where one writes, no steps where arrow keys have a use of their own, and nothing with Ctrl, Alt or Cmd, which belong to
// the browser.
export function actionOf({ key, shiftKey, ctrlKey, altKey, metaKey, inField, hasArrows }) {
  if (inField || ctrlKey || altKey || metaKey) return null;
  if (STEPS[key]) return hasArrows ? null : { action: 'word', step: STEPS[key], extend: shiftKey };
  return shiftKey ? null : (PLAIN[key.toLowerCase()] ?? null);
}

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
  '[': { action: 'plane', step: -1 },
  ']': { action: 'plane', step: 1 },
  ' ': { action: 'play' },
};
const DIGIT = /^Digit[1-9]$/; // with Shift a digit key has another sign, which depends on the keyboard
const STEPS = { ArrowRight: 1, ArrowLeft: -1 };

// Returns {action, …}: "word" with step and extend, "whole", "test", "method" or "view" with an index, "plane" with a step,
// "visual" with an index, "play"; nothing in a field
// where one writes, no steps where arrow keys have a use of their own, and nothing with Ctrl, Alt or Cmd, which belong to
// the browser.
export function actionOf({ key, code, shiftKey, ctrlKey, altKey, metaKey, inField, hasArrows, isPressed }) {
  if (inField || ctrlKey || altKey || metaKey) return null;
  if (shiftKey && DIGIT.test(code ?? '')) return { action: 'visual', index: code.at(-1) - 1 };
  if (STEPS[key]) return hasArrows ? null : { action: 'word', step: STEPS[key], extend: shiftKey };
  if (key === ' ' && isPressed) return null; // a button's own key
  return shiftKey ? null : (PLAIN[key.toLowerCase()] ?? null);
}

// The elements of one viewer, found once, and its listeners, all of which go at once.

// Returns {root, part, listen, stop}: part finds an element of viewer.html by its data-part.
export function partsOf(root) {
  const controller = new AbortController();
  const found = new Map();
  const part = (name) => {
    if (!found.has(name)) found.set(name, root.querySelector(`[data-part="${name}"]`));
    return found.get(name);
  };
  return {
    root,
    part,
    listen(target, types, handler) {
      for (const type of types.split(' '))
        target.addEventListener(type, handler, { signal: controller.signal });
    },
    stop: () => controller.abort(),
  };
}

// Returns the function with its last result kept: for the same arguments it is not computed again.
export function remembered(compute) {
  let last = null;
  let result = null;
  return (...given) => {
    if (!last || given.some((one, i) => one !== last[i])) {
      result = compute(...given);
      last = given;
    }
    return result;
  };
}

// Writes a text where it is another one: the same again would have the page laid out anew.
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export const isHovering = (event) => event.pointerType !== 'touch';

export const hasModifier = (event) => event.ctrlKey || event.altKey || event.metaKey;

export const isConfirming = (event) => event.key === 'Enter' || event.key === ' ';

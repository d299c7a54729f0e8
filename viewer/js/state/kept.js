// What was worked out of an object, such as a map, kept for as long as there is the object. It must not be written to.

// Returns the function of an object with its results kept; what else it is given has to be the same for the same object.
export function keptFor(compute) {
  const known = new WeakMap();
  return (object, ...given) => {
    if (!known.has(object)) known.set(object, compute(object, ...given));
    return known.get(object);
  };
}

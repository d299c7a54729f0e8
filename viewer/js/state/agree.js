// Whether methods agree on a word. Goes in: its whole map by each of them. Comes out: which agree, and a sentence.
const WORDS = ['none', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine', 'ten'];

const inWords = (number) => WORDS[number] ?? String(number);

function hottestPlace(values, planes) {
  let at = 0;
  values.forEach((value, i) => {
    if (value > values[at]) at = i;
  });
  const { first, grid } = planes.findLast((plane) => plane.first <= at);
  return { first, row: Math.floor((at - first) / grid[1]), col: (at - first) % grid[1] };
}

const isNear = (a, b) =>
  a.first === b.first && Math.max(Math.abs(a.row - b.row), Math.abs(a.col - b.col)) <= 1;

// Returns {agrees, sentence} of the maps of one pick, one by each method: those agree whose hottest patches are at most one
// cell apart, in one picture or moment, from that of the map which most others are near to, the first of several.
export function agreement(maps, planes, name) {
  const places = maps.map((values) => hottestPlace(values, planes));
  const near = (place) => places.map((other) => isNear(place, other));
  const counts = places.map((place) => near(place).filter(Boolean).length);
  const agrees = places.length ? near(places[counts.indexOf(Math.max(...counts))]) : [];
  return { agrees, sentence: sentenceOf(agrees, name) };
}

function sentenceOf(agrees, name) {
  const count = agrees.filter(Boolean).length;
  const others = agrees.length - count;
  if (agrees.length < 2) return '';
  if (!others) return `All ${agrees.length} methods agree on ${name}.`;
  const words = inWords(others);
  const rest = `${words[0].toUpperCase()}${words.slice(1)} look${others === 1 ? 's' : ''} elsewhere.`;
  return count < 2
    ? `No two of ${agrees.length} methods agree on ${name}.`
    : `${count} of ${agrees.length} methods agree on ${name}. ${rest}`;
}

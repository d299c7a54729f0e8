// Over which moments of a clip a map is spread. Goes in: its share on each moment, and their times. Comes out: a line to draw,
// and a sentence.
import { timeText } from './planes.js';

const PART = 0.5; // of the largest share: a moment with as much is named
const HIGH = 100; // of the line's box; it is as wide as it has moments

// Returns {line, area} as paths in a box as wide as there are moments and HIGH high, a point in the middle of each moment.
export function sparkline(shares) {
  if (!shares.length) return { line: '', area: '' };
  const most = Math.max(...shares) || 1;
  const points = shares.map((share, i) => {
    const x = (HIGH * (i + 0.5)) / shares.length;
    return [x, HIGH - (0.92 * HIGH * share) / most];
  });
  const text = points.map(([x, y]) => `${x.toFixed(2)} ${y.toFixed(2)}`).join('L');
  const [first] = points[0];
  const [last] = points.at(-1);
  return { line: `M${text}`, area: `M${first.toFixed(2)} ${HIGH}L${text}L${last.toFixed(2)} ${HIGH}Z` };
}

// Returns which moments a map is on: “boat” looks at 1.5 to 4.5 s, most at 4.0 s. Of a flat one, that it is even.
export function momentsText(name, shares, times, ofClip) {
  if (!(ofClip > 0)) return `${name} does not look at this clip`;
  const most = Math.max(...shares);
  const least = Math.min(...shares);
  const subject = name[0].toUpperCase() + name.slice(1);
  if (shares.length < 2) return `${subject} looks at ${timeText(times[0])}`;
  if (least > PART * most)
    return `${subject} looks at all of it, most at ${timeText(times[shares.indexOf(most)])}`;
  const high = shares.flatMap((share, i) => (share >= PART * most ? [i] : []));
  const at = timeText(times[shares.indexOf(most)]);
  if (high.length === 1) return `${subject} looks at ${at}`;
  const isOneSpan = high.at(-1) - high[0] === high.length - 1;
  const from = isOneSpan ? timeText(times[high[0]]).replace(' s', '') : '';
  return isOneSpan
    ? `${subject} looks at ${from} to ${timeText(times[high.at(-1)])}, most at ${at}`
    : `${subject} looks at several moments, most at ${at}`;
}

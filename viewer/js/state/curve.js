// The test of a map as what is drawn of it. Goes in: a test as the payload has it. Comes out: a curve, and pictures tried.
import { timeText } from './planes.js';

// Returns {counts, hottest, random, low, high, telling, draws, label}: probabilities for each number of hidden patches, of the
// hottest, and of random ones their mean and range; `telling` is the place of the number that the sentences are about.
export function curveOf(check) {
  const at = (i) => check.random.map((draw) => draw[i]);
  return {
    counts: check.patches,
    hottest: check.hottest,
    random: check.random_mean,
    low: check.patches.map((_, i) => Math.min(...at(i))),
    high: check.patches.map((_, i) => Math.max(...at(i))),
    telling: check.patches.indexOf(check.telling),
    draws: check.random.length,
    label: `The word’s probability over the number of patches hidden. ${check.sentences.join(' ')}`,
  };
}

// Returns the pictures that were tried: [{name, cells, probability, tone}], with nothing hidden, the hottest, and the first
// draw of random ones, whose probability is the mean of all draws.
export function triesOf(check) {
  const count = check.telling;
  const at = check.patches.indexOf(count);
  return [
    { name: 'nothing hidden', cells: [], probability: check.hottest[0], tone: 'picture' },
    {
      name: `${count} hottest hidden`,
      cells: check.cells.hottest.slice(0, count),
      probability: check.hottest[at],
      tone: 'picture',
    },
    {
      name: `${count} random hidden`,
      cells: check.cells.random[0].slice(0, count),
      probability: check.random_mean[at],
      tone: 'language',
    },
  ];
}

// Returns tries as they are drawn on a picture, or on the steps of a clip, whose planes these are: each with the plane that has
// most of its hidden cells, those of them that lie in it (row * columns + column), and `where` that is in a clip, " at 4.0 s".
export function placed(tries, planes) {
  const [rows, columns] = planes[0].grid;
  const stepOf = (cell) => Math.floor(cell / (rows * columns));
  const most = (cells) => {
    const counts = planes.map((_, step) => cells.filter((cell) => stepOf(cell) === step).length);
    return counts.indexOf(Math.max(...counts));
  };
  const hottest = most(tries[1].cells); // which nothing hidden is compared with
  return tries.map((one) => {
    const step = one.cells.length ? most(one.cells) : hottest;
    const cells = one.cells.filter((cell) => stepOf(cell) === step);
    const part = cells.length < one.cells.length ? `, ${cells.length} of them` : '';
    const { time } = planes[step];
    return {
      ...one,
      plane: planes[step],
      cells: cells.map((cell) => cell - step * rows * columns),
      where: time === null ? '' : `${part} at ${timeText(time)}`,
    };
  });
}

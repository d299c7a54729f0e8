// Which words tell most, and so the first one that is picked. Goes in: a payload. Comes out: segments, or a pick.
import { hottestShare } from './maps.js';
import { isSpoken, neededIt, needs } from './need.js';
import { isThought, saidPick } from './thoughts.js';

const SHORTEST = 3; // letters
// Words that carry no thing of their own, in the languages of most questions; others are judged by their maps alone.
const FUNCTION_WORDS =
  'the and but nor for yet so this that these those there here its his her their our your who whom whose which what when ' +
  'where how with without from into onto over under near next between behind beside before after above below about around ' +
  'across through along against toward towards are was were been being has have had does did done can could will would ' +
  'shall should may might must not also than then very some any each every both all only just more most such same other ' +
  'another one two three while because however it is they them she him you ' +
  'der die das den dem des ein eine einen einem eines und oder aber mit von auf aus bei nach für ist sind war hat haben ' +
  'les des une est sont avec dans pour sur par qui que aux ' +
  'los las una unos unas con del por para está están son que';
const PLACE_WORDS =
  'left right top bottom upper lower middle center centre corner side edge front back background foreground inside outside ' +
  'image picture photo scene';
const FORMAT = new Set(['json', 'bbox_2d', 'point_2d', 'label', 'text_content']); // of an answer with boxes
const FUNCTIONS = new Set(FUNCTION_WORDS.split(' '));
const PLACES = new Set(PLACE_WORDS.split(' '));

const lettersOf = (text) => [...text.matchAll(/\p{L}/gu)].length;

const isIn = (words, { text }) => words.has(text.trim().toLowerCase());
const isMeant = (word) => lettersOf(word.text) >= SHORTEST && !isIn(FUNCTIONS, word);
const isNaming = (word) => isMeant(word) && !isIn(PLACES, word);

// Returns the words of the answer, its thoughts left out where there is more, with `score`, how much a word needed the picture × how hot its map is at its hottest.
function scored(data, isCandidate) {
  const need = needs(data, 'words');
  const said = saidPick(data);
  const isNotation = (word) => data.boxes.list.length > 0 && isIn(FORMAT, word);
  return data.answer.words
    .map((segment, place) => ({ ...segment, place, need: need[place] ?? 1 }))
    .filter((segment) => isSpoken(segment) && !isNotation(segment) && isCandidate(segment))
    .filter((segment) => !(said && isThought(data, segment)))
    .map((segment) => ({ ...segment, score: segment.need * hottestShare(data, segment.tokens) }));
}

const best = (words) => words.reduce((most, word) => (word.score > most.score ? word : most), words[0]);

// Returns the first pick: the word with the highest score among those that name something; among those that say where, and
// then among all, where none does.
export function firstPick(data) {
  if (!data.answer.maps) return null;
  const words = [isNaming, isMeant, () => true].map((kind) => scored(data, kind)).find((some) => some.length);
  return words ? { tokens: [...best(words).tokens], of_prompt: false } : null;
}

// Returns at most so many words that needed the picture, those with the highest scores, in the order in which they were
// said; before that is known, of the words that name something.
export function tellingWords(data, count) {
  const isKnown = Boolean(data.answer.without);
  return scored(data, isKnown ? (word) => isMeant(word) && neededIt(data, word) : isNaming)
    .sort((a, b) => b.score - a.score || a.place - b.place)
    .slice(0, count)
    .sort((a, b) => a.place - b.place);
}

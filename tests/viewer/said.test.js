import assert from 'node:assert/strict';
import { test } from 'node:test';
import { barTexts, legendText, sharesText } from '../../viewer/js/state/said.js';

const plain = (text) => text.replaceAll('\u00a0', ' ');

test('the legend says what underlines and shades mean, and nothing of underlines that are not there', () => {
  const known = { isKnown: true, isPointing: false, isTouch: false };
  assert.equal(legendText(known), 'underlined: needed the picture. Point at a word or the picture.');
  assert.equal(legendText({ ...known, isTouch: true }), 'underlined: needed the picture. Tap a word.');
  assert.equal(legendText({ ...known, isKnown: false }), 'Point at a word or the picture.');
  assert.match(legendText({ ...known, isPointing: true }), /^glowing: looks where you point/);
});

test('the ends of the bar are shares of the map', () => {
  const { low, highest } = barTexts(1 / 72, 0.4);
  assert.equal(plain(low), 'clear: an even share, 1.4 %');
  assert.equal(plain(highest), 'hottest patch: 40 % of the map');
  assert.equal(plain(barTexts(1 / 72, 0.4, false, true).highest), 'hottest patch here: 40 %'); // of several pictures
});

test('of several, attention goes to all of them', () => {
  assert.match(
    plain(sharesText('“eyes”', [0.58, 0.31, 0.11], false, 'pictures')),
    /58 % went to the pictures, 31 %/,
  );
});

test('attention goes to the picture, the question and the answer so far', () => {
  assert.equal(
    plain(sharesText('“eyes”', [0.58, 0.31, 0.11], false)),
    'Of all attention of “eyes”, 58 % went to the picture, 31 % to the question, 11 % to the answer so far.',
  );
  assert.equal(
    plain(sharesText('“is”', [0.6, 0.4, 0], true)),
    'Of all attention of “is”, 60 % went to the picture and 40 % to the question.',
  );
});

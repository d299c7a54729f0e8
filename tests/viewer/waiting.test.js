import assert from 'node:assert/strict';
import { test } from 'node:test';
import { durationText, waitingTexts } from '../../viewer/js/state/waiting.js';

test('waiting says place and time, reading and writing how long', () => {
  const shown = (...given) => {
    const { title, time, share } = waitingTexts(...given);
    return [`${title} ${time}`.trim(), share];
  };
  assert.deepEqual(shown('waiting', { ahead: 2, wait: 6 }), ['2 ahead of you · about 6 s', null]);
  assert.deepEqual(shown('waiting', {}), ['Waiting for the model', null]);
  assert.deepEqual(shown('reading', { seconds: 1.24 }), ['Reading the picture · 1.2 s', null]);
  const plan = '252 visual tokens, …';
  assert.deepEqual(shown('reading', { seconds: 1.24, plan }), [
    'Reading the picture · 1.2 s · 252 visual tokens, …',
    null,
  ]);
  const [line, share] = shown('writing', { count: 32, limit: 128, seconds: 2 });
  assert.match(line, /^32 tokens · 2\.0 s/);
  assert.equal(share, 0.25);
  assert.deepEqual([0.2, 6.4, 99, 150].map(durationText), ['1 s', '6 s', '99 s', '3 min']);
});

test('who waits is told how long so far where nobody knows how long yet', () => {
  assert.deepEqual(waitingTexts('waiting', { ahead: 1, seconds: 12.4 }), {
    title: '1 ahead of you',
    time: '· 12 s so far',
    share: null,
  });
  assert.equal(waitingTexts('waiting', { seconds: 30, wait: 5 }).time, ''); // it is this one's turn
  assert.equal(waitingTexts('waiting', { ahead: 3, wait: 240 }).time, '· about 4 min');
});

test('one token is one, and of an answer without a limit no share is known', () => {
  const { title, time, share } = waitingTexts('writing', { count: 1, seconds: 0.25 });
  assert.deepEqual([title, share], ['1 token', null]);
  assert.equal(time, '· 0.3 s · underlines come with the last word');
  assert.equal(waitingTexts('writing', {}).title, '0 tokens');
  assert.equal(waitingTexts('writing', { limit: 128 }).share, 0);
});

test('a time is at least a second, and in minutes from a hundred seconds on', () => {
  assert.deepEqual([0, 1.49, 99.4, 100, 210, 3600].map(durationText), [
    '1 s',
    '1 s',
    '99 s',
    '2 min',
    '4 min', // 3.5, rounded up
    '60 min',
  ]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ACROSS_GAP, arrangement } from '../../viewer/js/state/arrangement.js';

const NAME = 20; // under each
const DOWN_GAP = 6;

const isSeen = (height) => height >= 14 && height <= 160; // larger than that it is no glance

// The same by trying every width, number across and number down.
function slow(ratio, room, count) {
  const all = [];
  for (let across = 1; across <= count; across++) {
    for (let down = 1; down <= count; down++) {
      for (let width = 44; width <= room.width; width++) {
        const wide = across * width + (across - 1) * ACROSS_GAP;
        const tall = down * (width * ratio + NAME) + (down - 1) * DOWN_GAP;
        if (isSeen(width * ratio) && wide <= room.width && tall <= room.height + 1e-9)
          all.push({ width, shown: Math.min(count, across * down) });
      }
    }
  }
  const shown = Math.max(...all.map((one) => one.shown));
  const width = Math.max(...all.filter((one) => one.shown === shown).map((one) => one.width));
  return all.length ? { shown, width } : null;
}

test('as many pictures as have room, and then as large as they can be', () => {
  // 8 of 2 : 1 in 824 × 300: four across (824 − 24) / 4 = 200 wide, two down (300 − 6) / 2 − 20 = 127 tall
  assert.deepEqual(arrangement(0.5, { width: 824, height: 300 }, 8), {
    across: 4,
    down: 2,
    width: 200,
    shown: 8,
  });
});

for (const [name, ratio] of [
  ['landscape', 0.57],
  ['portrait', 1.75],
  ['a strip', 1 / 30],
  ['upright', 3],
]) {
  for (const [width, height] of [
    [834, 320],
    [582, 255],
    [440, 566],
    [200, 90],
    [90, 700],
  ]) {
    for (const count of [1, 3, 8]) {
      test(`${count} of ${name} in ${width} × ${height} are as many and as large as can be`, () => {
        const found = arrangement(ratio, { width, height }, count);
        const expected = slow(ratio, { width, height }, count);
        assert.deepEqual(found && { shown: found.shown, width: found.width }, expected);
        if (!found) return;
        assert.ok(found.across * found.down >= found.shown);
        assert.ok(found.across * found.width + (found.across - 1) * ACROSS_GAP <= width);
        const tall = found.down * (found.width * ratio + NAME) + (found.down - 1) * DOWN_GAP;
        assert.ok(tall <= height + 1e-9);
      });
    }
  }
}

test('where they would be too small to see there are fewer, or none', () => {
  assert.equal(arrangement(0.5, { width: 900, height: 33 }, 8), null); // 13 pixels and a name
  assert.equal(arrangement(0.5, { width: 43, height: 300 }, 8), null);
  assert.equal(arrangement(0.5, { width: 140, height: 50 }, 8).shown, 2); // 60 wide, and not 44 in two rows
  assert.equal(arrangement(0.5, { width: 900, height: 300 }, 0), null);
});

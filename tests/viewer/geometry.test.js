import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  askedPart,
  besideOf,
  boxOf,
  cellAt,
  crossedBoxes,
  isOneCell,
  isSameCell,
  layoutOf,
  spanOf,
  stepped,
} from '../../viewer/js/state/geometry.js';
import { GRID } from './made.js';

const WIDE = { width: 1200, height: 600 };
const TALL = { width: 300, height: 600 };
const STRIP = { width: 3000, height: 100 };
const room = (width, tallest, density = 1) => ({ width, tallest, density });

test('a wide picture takes up the width, a tall one the height', () => {
  assert.deepEqual(layoutOf(WIDE, 'overlay', room(800, 700)).panes, [
    { x: 0, y: 0, width: 800, height: 400, kind: 'overlay' },
  ]);
  assert.deepEqual(layoutOf(TALL, 'wipe', room(800, 700)).panes, [
    { x: 0, y: 0, width: 350, height: 700, kind: 'wipe' },
  ]);
});

test('a strip of 30 : 1 is as wide as there is room', () => {
  assert.deepEqual(layoutOf(STRIP, 'heatmap', room(800, 700)).panes, [
    { x: 0, y: 0, width: 800, height: 27, kind: 'heatmap' },
  ]);
  const upright = layoutOf({ width: 100, height: 3000 }, 'heatmap', room(800, 700));
  assert.deepEqual([upright.width, upright.height], [23, 690]);
});

test('panes are counted in device pixels', () => {
  const layout = layoutOf(WIDE, 'overlay', room(800, 700, 2));
  assert.deepEqual([layout.width, layout.height, layout.density], [1600, 800, 2]);
});

test('two panes stand side by side with a gap, the map on the right', () => {
  const { panes, width, height } = layoutOf(WIDE, 'side by side', room(808, 700));
  assert.deepEqual(panes, [
    { x: 0, y: 0, width: 400, height: 200, kind: 'picture' },
    { x: 408, y: 0, width: 400, height: 200, kind: 'overlay' },
  ]);
  assert.deepEqual([width, height], [808, 200]);
});

test('where there is no room for two wide pictures the map stands below, each half as tall', () => {
  const { panes } = layoutOf(WIDE, 'side by side', room(500, 700));
  assert.deepEqual(panes[1], { x: 0, y: 258, width: 500, height: 250, kind: 'overlay' });
  assert.equal(layoutOf(WIDE, 'side by side', room(500, 200)).panes[0].height, 100);
  assert.equal(layoutOf(TALL, 'side by side', room(500, 700)).panes[1].y, 0); // two tall ones have room
});

test('a pane is never empty', () => {
  const [pane] = layoutOf(STRIP, 'overlay', room(0, 700)).panes;
  assert.deepEqual([pane.width, pane.height], [1, 1]);
});

test('every pixel belongs to the cell that is drawn there', () => {
  const { panes } = layoutOf({ width: 350, height: 210 }, 'side by side', room(800, 700));
  for (const pane of panes) {
    for (let row = 0; row < GRID[0]; row++) {
      for (let col = 0; col < GRID[1]; col++) {
        const { left, top, width, height } = boxOf(pane, GRID, { row, col });
        for (const [x, y] of [
          [0.01, 0.01],
          [0.5, 0.5],
          [0.99, 0.99],
        ]) {
          assert.deepEqual(cellAt(panes, GRID, { x: left + x * width, y: top + y * height }), { row, col });
        }
      }
    }
  }
});

test('between and outside the panes there is no cell', () => {
  const { panes, width, height } = layoutOf({ width: 350, height: 210 }, 'side by side', room(808, 700));
  for (const [x, y] of [
    [404, 10],
    [-1, 10],
    [10, -1],
    [width, 10],
    [10, height],
  ]) {
    assert.equal(cellAt(panes, GRID, { x, y }), null);
  }
});

test('a region spans both its corners, whichever comes first', () => {
  const expected = { row: 0, col: 0, rows: 3, cols: 4 };
  assert.deepEqual(spanOf({ row: 2, col: 0 }, { row: 0, col: 3 }), expected);
  assert.deepEqual(spanOf({ row: 0, col: 3 }, { row: 2, col: 0 }), expected);
  assert.ok(isOneCell(spanOf({ row: 1, col: 1 }, { row: 1, col: 1 })));
  assert.ok(!isOneCell({ row: 0, col: 0, rows: 3, cols: 1 }));
  assert.ok(!isOneCell({ row: 0, col: 0, rows: 1, cols: 4 }));
});

test('cells are the same by row and column, and so are two that are not there', () => {
  assert.ok(isSameCell({ row: 1, col: 2, rows: 4 }, { row: 1, col: 2 }));
  assert.ok(isSameCell(null, null));
  assert.ok(!isSameCell({ row: 1, col: 2 }, { row: 2, col: 1 }));
  assert.ok(!isSameCell({ row: 0, col: 0 }, null));
});

test('arrow keys go to the next cell and stop at the edges', () => {
  const from = { row: 0, col: 4 };
  assert.deepEqual(stepped(from, 'ArrowDown', GRID), { row: 1, col: 4 });
  assert.deepEqual(stepped(from, 'ArrowLeft', GRID), { row: 0, col: 3 });
  assert.deepEqual(stepped(from, 'ArrowUp', GRID), from);
  assert.deepEqual(stepped(from, 'ArrowRight', GRID), from);
  const corner = { row: 2, col: 0 };
  assert.deepEqual(stepped(corner, 'ArrowDown', GRID), corner);
  assert.deepEqual(stepped(corner, 'ArrowLeft', GRID), corner);
  assert.deepEqual(stepped(corner, 'ArrowUp', GRID), { row: 1, col: 0 });
  assert.deepEqual(stepped(corner, 'ArrowRight', GRID), { row: 2, col: 1 });
  assert.ok(!stepped(from, 'Home', GRID));
});

test('cells are crossed out where a map is drawn, on the wipe right of its divider', () => {
  const pane = { x: 10, y: 20, width: 500, height: 300 };
  const boxes = crossedBoxes({ ...pane, kind: 'overlay' }, GRID, [7, 14], 0.5);
  assert.deepEqual(boxes, [
    { left: 210, top: 120, width: 100, height: 100 },
    { left: 410, top: 220, width: 100, height: 100 },
  ]);
  assert.deepEqual(crossedBoxes({ ...pane, kind: 'picture' }, GRID, [7], 0), []);
  assert.equal(crossedBoxes({ ...pane, kind: 'wipe' }, GRID, [7, 14], 0.51).length, 1);
  assert.equal(crossedBoxes({ ...pane, kind: 'wipe' }, GRID, [7, 14], 0.5).length, 2);
});

test('a kept region is asked about unless another place is pointed at', () => {
  const region = { row: 1, col: 1, rows: 2, cols: 2 };
  assert.equal(askedPart({ region, cursor: null }), region);
  assert.equal(askedPart({ region, cursor: { row: 2, col: 2 } }), region);
  assert.deepEqual(askedPart({ region, cursor: { row: 0, col: 2 } }), { row: 0, col: 2 });
  assert.equal(askedPart({ region: null, cursor: null }), null);
});

test('what is said of a box stands on the side with more room, never wider than that', () => {
  // frame from 0 to 700, of a scene from −50 to 750
  assert.deepEqual(besideOf({ left: 100, width: 100 }, [-50, 750]), {
    isBefore: false,
    room: 540,
    edge: 210,
  });
  assert.deepEqual(besideOf({ left: 500, width: 100 }, [-50, 750]), { isBefore: true, room: 540, edge: 490 });
  assert.deepEqual(besideOf({ left: 300, width: 100 }, [0, 700]), { isBefore: false, room: 290, edge: 410 });
});

test('where neither side has room it reaches over the box, and stays between the ends', () => {
  assert.deepEqual(besideOf({ left: 0, width: 700 }, [0, 700]), { isBefore: false, room: 130, edge: 570 });
  assert.deepEqual(besideOf({ left: 60, width: 640 }, [0, 700]), { isBefore: true, room: 130, edge: 130 });
});

// How small pictures of one shape stand in a room, a name under each. All sizes are in pixels of the page.
export const ACROSS_GAP = 8;
const DOWN_GAP = 6;
const NAME = 20; // under each picture
const LEAST_WIDTH = 44;
const LEAST_HEIGHT = 14;
const MOST_HEIGHT = 160; // larger than that it is no glance

// Returns {across, down, width} of as many and then as large pictures as the room takes, or null.
export function arrangement(ratio, room, count) {
  let best = null;
  for (let across = 1; across <= count; across++) {
    for (let down = 1; down * across <= count + across - 1; down++) {
      const wide = (room.width - ACROSS_GAP * (across - 1)) / across;
      const tall = (room.height - DOWN_GAP * (down - 1)) / down - NAME;
      const width = Math.floor(Math.min(wide, Math.min(tall, MOST_HEIGHT) / ratio));
      const shown = Math.min(count, across * down);
      if (width < LEAST_WIDTH || width * ratio < LEAST_HEIGHT) continue;
      if (!best || shown > best.shown || (shown === best.shown && width > best.width))
        best = { across, down, width, shown };
    }
  }
  return best;
}

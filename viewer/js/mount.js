// The viewer of the maps of one answer: plain JavaScript, no globals, several may live on a page.
//
//   mountViewer(root, payload, {onPick, onChange}) -> {update, pick, state, destroy}
//
// `root` is the element of viewer.html, `payload` what viewer.payload() returns. The result is kept as `root.viewer`.
//   onPick({tokens, of_prompt, key})   a person picked tokens: key is "all", "3", "3-5", of the prompt "p0"
//   onChange({layer, head})            a person chose one layer and head to see alone; null means all of them
//   onChange({want: "heads", pick})    the layers × heads of this pick are wanted: answer with update({heads})
//   onChange({look})                   opacity, colours, view … were changed
//   update(payload)                    another answer, or the same one with maps of other layers or heads
//   update({heads, leaned, look})      one of these alone; heads is one result of viewer.heads_payload() or more
//   pick(key or {tokens, of_prompt})   picks without calling onPick
//   state()                            what is picked, shown, pointed at, and how it is drawn
// What a model or a visitor wrote is written with textContent only.
import { pickOf } from './state/picks.js';
import { newState, publicState, withChanges, withPayload } from './state/state.js';
import { show } from './view/actions.js';
import { addControls } from './view/controls.js';
import { addHeads } from './view/heads.js';
import { addLists } from './view/lists.js';
import { paletteFor } from './view/palette.js';
import { addPanels } from './view/panels.js';
import { partsOf } from './view/parts.js';
import { addPointing } from './view/pointing.js';
import { addReadout } from './view/readout.js';
import { addStage } from './view/stage.js';
import { addWords } from './view/words.js';

export function mountViewer(root, payload, { onPick = () => {}, onChange = null } = {}) {
  const state = newState(Boolean(onChange));
  const viewer = {
    ...partsOf(root),
    state,
    host: { onPick, onChange },
    palette: paletteFor(state),
    picksOf: new WeakMap(), // a button that stands for words -> its pick
  };
  const { redraw, stop } = assembled(viewer);
  const load = (raw) => {
    Object.assign(state, withPayload(state, raw));
    redraw.answer();
  };
  load(payload);
  root.viewer = {
    update(next) {
      if (next.answer) load(next);
      else {
        Object.assign(state, withChanges(state, next));
        if (next.look) redraw.look();
        redraw.panels();
        redraw.map();
      }
    },
    pick(selection) {
      state.anchor = null;
      show(viewer, pickOf(state.data, selection), false);
    },
    state: () => publicState(state),
    destroy() {
      stop();
      delete root.viewer;
    },
  };
  return root.viewer;
}

// Puts the viewer's pieces together: `redraw` is what follows each kind of change.
function assembled(viewer) {
  const words = addWords(viewer);
  const controls = addControls(viewer);
  const lists = addLists(viewer);
  const panels = addPanels(viewer, lists, addHeads(viewer));
  viewer.readout = addReadout(viewer);
  const pointing = addPointing(viewer);
  const stage = addStage(viewer, (shown) => {
    pointing.placeDivider();
    viewer.readout.write(shown);
  });
  const redraw = {
    map: stage.request,
    marks: words.mark,
    words: words.fill,
    ranking: lists.rank,
    panels: panels.draw,
    heads: panels.drawHeads,
    pick() {
      viewer.readout.sayPick();
      panels.draw();
      stage.request();
    },
    look() {
      controls.write();
      stage.refit();
      panels.drawHeads();
    },
    answer() {
      controls.fill();
      words.fill();
      lists.rank();
      redraw.look();
      redraw.pick();
    },
  };
  viewer.redraw = redraw;
  const observer = new ResizeObserver(() => {
    stage.refit();
    panels.drawHeads();
  });
  observer.observe(viewer.part('stage'));
  const stop = () => {
    viewer.stop();
    observer.disconnect();
    stage.stop();
  };
  return { redraw, stop };
}

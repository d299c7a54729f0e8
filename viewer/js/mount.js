// The viewer of the maps of one answer: plain JavaScript, no globals, several may live on a page.
//
//   mountViewer(root, payload, host) -> {update, pick, state, destroy}
//
// `root` is the element of viewer.html, `payload` what viewer.payload() returns, or null while there is no answer. The
// result is kept as `root.viewer`. `host` is the page around, if there is one:
//   onPick({tokens, of_prompt, key})   a person picked tokens: key is "all", "3", "3-5", of the prompt "p0"
//   onPlane()                          another picture or moment is shown
//   onLook(look)                       opacity, colours, view … were changed
//   can: {maps, heads, test, …}        what the page answers to; each is asked for by
//   ask(what, details)                 "maps" of other layers or by another method (state().wanted), "heads" of a pick,
//                                      "test" of the shown map, "compare" {name}, "hide" {cells}, "stop", "back",
//                                      "closer" {visual, box}: a part of a picture, without a box where the map stands out,
//                                      "sources" {add}, {remove: number} or {move: [from, to]}, "turn" {id}: another
//                                      answer of the conversation, "follow" {is}: whether the next question follows this one
//   update(payload)                    another answer, or the same one with maps of other layers or heads
//   update({heads, look, without, check, compared, phase, progress, work, notice, sources, turns, turn, parent,
//     isFollowing})                    some of these alone
//   update({ended})                    the controls that were asked for, once their maps are there or none will come
//   pick(key or {tokens, of_prompt})   picks without calling onPick; where there is no such pick, what is picked stays, and
//                                      the line above the words says so until the next
//   state()                            what is picked, shown, pointed at, and how it is drawn
// What a model or a visitor wrote is written with textContent only.
import { knownPick, noPickText, pickOf } from './state/picks.js';
import { newState, publicState, withChanges, withPayload } from './state/state.js';
import { refuse, show } from './view/actions.js';
import { addBoxes } from './view/boxes.js';
import { addControls } from './view/controls.js';
import { addGlance } from './view/glance.js';
import { addKeys } from './view/keys.js';
import { addMenus } from './view/menus.js';
import { addMethods } from './view/methods.js';
import { addPainter } from './view/painter.js';
import { inkFor, paletteFor } from './view/palette.js';
import { addPanels } from './view/panels.js';
import { partsOf } from './view/parts.js';
import { addPhase } from './view/phase.js';
import { addPinned } from './view/pinned.js';
import { addPointing } from './view/pointing.js';
import { addReadout } from './view/readout.js';
import { addScrubber } from './view/scrubber.js';
import { addStage } from './view/stage.js';
import { addStrip } from './view/strip.js';
import { addVerdict } from './view/verdict.js';
import { addWords } from './view/words.js';

const NOBODY = { onPick() {}, onLook() {}, onPlane() {}, ask() {}, can: {} };

export function mountViewer(root, payload, host = {}) {
  const state = newState({ ...host.can });
  const viewer = {
    ...partsOf(root),
    state,
    host: { ...NOBODY, ...host },
    palette: paletteFor(state),
    paper: inkFor(root),
    picksOf: new WeakMap(), // a button that stands for words -> its pick
  };
  const stop = assembled(viewer);
  const load = (raw) => {
    Object.assign(state, withPayload(state, raw));
    viewer.redraw.answer();
  };
  if (payload) load(payload);
  else viewer.redraw.phase();
  root.viewer = {
    update(next) {
      if (next.answer) load(next);
      else {
        const { phase } = state;
        if (next.notice) state.refusal = '';
        Object.assign(state, withChanges(state, next));
        viewer.redraw.changed(next, state.phase !== phase);
      }
    },
    pick(selection) {
      if (!state.data) return;
      state.anchor = null;
      const pick = selection ? knownPick(state.data, selection) : pickOf(state.data, null);
      if (pick) show(viewer, pick, false);
      else refuse(viewer, noPickText(state.data, selection));
    },
    state: () => publicState(state),
    destroy() {
      stop();
      delete root.viewer;
    },
  };
  return root.viewer;
}

// Puts the viewer's pieces together. Returns what stops them all.
function assembled(viewer) {
  addMenus(viewer);
  viewer.painter = addPainter(viewer);
  viewer.pinned = addPinned(viewer);
  const views = {
    words: addWords(viewer),
    controls: addControls(viewer),
    methods: addMethods(viewer),
    verdict: addVerdict(viewer),
    phase: addPhase(viewer),
    glance: addGlance(viewer),
    boxes: addBoxes(viewer),
    strip: addStrip(viewer),
    scrubber: addScrubber(viewer),
  };
  viewer.scrubber = views.scrubber;
  viewer.methods = views.methods;
  views.panels = addPanels(viewer);
  viewer.readout = addReadout(viewer);
  const pointing = addPointing(viewer);
  const prepare = () => {
    views.strip.fill();
    views.scrubber.fill();
  };
  views.stage = addStage(viewer, prepare, (shown) => {
    pointing.place();
    views.boxes.write(shown);
    viewer.readout.write(shown);
    views.strip.write();
    views.scrubber.write();
  });
  addKeys(viewer);
  viewer.redraw = redrawing(viewer, views);
  const refit = () => {
    views.stage.refit();
    views.glance.fit();
    views.panels.draw();
  };
  const observer = new ResizeObserver(refit);
  observer.observe(viewer.root);
  observer.observe(viewer.part('panels'));
  const glances = new ResizeObserver(() => views.glance.fit()); // its room follows the picture, which is drawn a frame later
  glances.observe(viewer.part('glance'));
  const scheme = matchMedia('(prefers-color-scheme: dark)');
  scheme.addEventListener('change', refit);
  return () => {
    viewer.stop();
    views.scrubber.stop();
    observer.disconnect();
    viewer.pinned.stop();
    glances.disconnect();
    scheme.removeEventListener('change', refit);
    views.stage.stop();
  };
}

// Returns what follows each kind of change.
function redrawing(viewer, { words, controls, methods, verdict, phase, glance, panels, stage }) {
  const redraw = {
    map: stage.request,
    wanted: methods.mark,
    marks: words.mark,
    words: words.fill,
    lit: words.light,
    panels: panels.draw,
    heads: panels.drawHeads,
    loaded() {
      stage.refit();
      glance.draw();
      panels.draw();
    },
    plane() {
      viewer.host.onPlane();
      glance.fit();
      glance.draw();
      panels.draw();
      words.light();
      stage.refit();
    },
    phase() {
      phase.write();
      words.fill();
      verdict.write();
      glance.fit();
      panels.draw();
      stage.refit();
    },
    need() {
      words.fill();
      glance.fill();
      redraw.pick();
    },
    choices() {
      methods.fill();
      controls.fill();
      controls.write();
    },
    pick() {
      viewer.readout.sayPick();
      verdict.write();
      glance.mark();
      panels.draw();
      stage.request();
    },
    look() {
      controls.write();
      stage.refit();
      panels.draw();
      glance.draw();
    },
    answer() {
      controls.fill();
      methods.fill();
      phase.write();
      words.fill();
      glance.fill();
      redraw.look();
      redraw.pick();
    },
    changed(next, isOtherPhase) {
      if (isOtherPhase || 'sources' in next) redraw.phase();
      for (const [names, follow] of follows) if (names.some((name) => name in next)) follow();
      panels.draw();
      stage.request();
    },
  };
  const follows = following(redraw, { words, verdict, phase });
  return redraw;
}

// Returns what follows which changes.
const following = (redraw, { words, verdict, phase }) => [
  [['look'], redraw.look],
  [['without'], redraw.need],
  [['progress'], words.fill], // often: little else changes with it
  [['ended'], redraw.choices],
  [['progress', 'work', 'notice', 'refusal', 'turns', 'parent', 'isFollowing'], phase.write],
  [['work', 'check'], verdict.write],
];

"""The explorer: the viewer of an answer's maps, the list of words, and what they ask the model for.

Goes in: a `Run`, and what the viewer asks for. Comes out: the viewer's data. What is pointed at and picked is
drawn in the browser; the server is asked for maps of other layers, heads and methods, for layers × heads, for
tests, and for each word's probability without the picture. The viewer itself is `viewer/`.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import gradio as gr

import config
import viewer
from evaluation.removal import check_map
from methods import TokenMaps
from page.answering import state_of
from page.around import NO_ANSWER, Around
from page.in_browser import LOOK, PICK, PICKED, asked
from page.inputs import RefusedError
from page.jobs import Job, Part, Progress, Shown, Successor, refusing
from page.model_room import Loaded
from page.parts import AGAIN, AT_ONCE, IN_BROWSER, LATEST, LONG, Outputs, new_number, told, visitor_of
from page.parts import text_of as file_of
from page.reading_again import UNASKED, Work, read_again
from page.selection import ATTENTION, Controls, Pick, pick_of
from page.sessions import Run
from page.shown import choices, explored, notice_of, on_hottest, subject_of, tested, without_of
from records.map_check import MapCheck
from records.selection import Selection
from report.view import Subject, whole_drawing

STOPPABLE: tuple[Part, ...] = ("method", "check", "answer")
# Of the viewer's element, beside the answer and its picture.
NOTHING: dict[str, Any] = dict.fromkeys(
    ("heads", "without", "check", "compared", "progress", "work", "notice", "ended")
)
BACK: dict[str, Any] = {"progress": {"phase": "back"}}  # there is no next answer
NEED = Work("need", "Reading the answer without the picture", "need")


class Explorer:
    """The list of words and the viewer; and once it is wired, what happens when something is chosen."""

    around: Around

    def __init__(self) -> None:
        """Add what is not seen to the blocks that are being built."""
        self.look = gr.JSON(visible=False)  # opacity, contrast, colormap, view, cells, scale
        self.details, self.key, self.wanted = (gr.JSON(visible=False) for _ in range(3))  # see ASKED

    def add_list(self) -> None:
        """Add the list of words and tokens to the blocks that are being built."""
        self.token = gr.Dropdown(
            [],
            value=None,
            allow_custom_value=True,
            label="Word or token: choose, or type 3-5",
            show_label=False,
            container=False,
            elem_id="token",
        )

    def add_viewer(self) -> None:
        """Add the viewer to the blocks that are being built."""
        assets = viewer.assets()
        self.viewer = gr.HTML(
            None,
            html_template=assets["html"],
            js_on_load=f"{assets['js']}\n{file_of('explorer.js')}",
            apply_default_css=False,
            pictures=None,
            said=None,
            **NOTHING,
            elem_id="viewer",
        )

    def wire(self, around: Around) -> None:
        """Connect the components with each other and with the page around them."""
        self.around = around
        inputs = [around.run_id, self.details, self.key, self.wanted]
        self.viewer.click(None, None, [self.token], js=PICKED, **IN_BROWSER)
        self.token.input(None, [self.token], None, js=PICK, **IN_BROWSER)
        self.viewer.select(None, None, [self.look], js=LOOK, **IN_BROWSER)
        self.viewer.heads(self.on_heads, inputs, [self.viewer], js=asked("heads"), **LATEST)
        self.viewer.maps(self.on_maps, inputs, [self.viewer], js=asked("maps"), **AGAIN)
        tested = self.viewer.test(self.on_test, inputs, [self.viewer], js=asked("test"), **AGAIN)
        compared = self.viewer.compare(self.on_compare, inputs, [self.viewer], js=asked("compare"), **AGAIN)
        for event in (tested, compared):
            event.success(self.on_rest, inputs, [self.viewer], js=asked("none"), **LONG)
        self.viewer.stop(self.on_stop, inputs, None, js=asked("stop"), **AT_ONCE)

    def after(self, written: Any) -> None:
        """Have an answer followed by what it needs most: underlines, then the maps of config's method."""
        inputs = [self.around.run_id, self.details, self.key, self.wanted]
        needed = written.success(self.on_need, [self.around.run_id], [self.viewer], **LONG)
        needed.success(self.on_default, inputs, [self.viewer], js=asked("none"), **LONG)

    # What is shown

    def blank(self) -> Outputs:
        """Return the explorer without an answer."""
        return {
            self.viewer: gr.HTML(None, pictures=None, **NOTHING),
            self.token: gr.Dropdown(choices=[], value=None),
        }

    def told(self, progress: Progress, limit: int) -> Outputs:
        """Return the viewer with how far an answer is, and the map of its latest word."""
        told = state_of(progress)
        told |= {"phase": told.pop("state"), "limit": limit, "seconds": round(progress.seconds, 1)}
        if progress.map is not None:
            told |= {"map": viewer.packed(progress.map.reshape(1, -1)), "grid": list(progress.map.shape)}
        return {self.viewer: gr.HTML(progress=told)}

    def unanswered(self, reason: str) -> Outputs:
        """Return the viewer with the reason why there is no new answer; the one from before stays."""
        return {self.viewer: gr.HTML(**BACK, work=None, **refusal_line(reason))}

    def shown(self, run_id: str, run: Run, facts: dict[str, Any], is_new: bool = False) -> Outputs:
        """Return the explorer with an answer, by attention, or by config's method where its maps are there.

        `facts` are what is said of how it came: {seconds, stopped, notes}. `on_need` follows a new one.
        """
        is_needed = is_new and run.without is None and run.capture.token_ids and self.around.room.loaded
        work = NEED.at(Progress()) if is_needed else None
        is_there = run.capture.token_ids and not run.missing(config.METHOD)
        method = config.METHOD if is_there else ATTENTION
        controls = Controls.of({"method": method})
        return {
            self.viewer: gr.HTML(
                sent({**explored(run, run_id, controls), "facts": facts, "pick": tested(run)}),
                pictures={"list": run.pictures_payload, "run": run_id},
                **{**NOTHING, "work": work, "notice": notice_of(run, facts["notes"])},
            ),
            self.token: gr.Dropdown(choices=choices(run)),
        }

    # Callbacks: guard, call, format

    def on_need(self, request: gr.Request, run_id: Any) -> Iterator[Outputs]:
        """Underline the words of an answer by how much they needed the picture: one pass without it."""
        run = yield from refusing(self.failed, lambda: self.around.own(request, run_id))
        if run is None or run.without is not None or not run.capture.token_ids:
            yield gr.skip()
            return

        def done(_: Any, __: float) -> Outputs:
            without = {"run": run_id, "values": without_of(run)}
            return {self.viewer: gr.HTML(without=without, work=None)}

        shown: Shown[Any] = Shown(
            begun=self.working(NEED),
            so_far=lambda _: {},
            done=done,
            stopped=self.idle,
            failed=lambda _: self.idle(),
            left=lambda _: self.idle(),
        )
        visitor, need = visitor_of(request), self.around.answering.need
        yield from self.around.jobs.run(visitor, "need", lambda job: need(run, job), shown)

    def on_default(
        self, request: gr.Request, run_id: Any, details: Any, key: Any, wanted: Any
    ) -> Iterator[Outputs]:
        """Show an answer that was just given by config's method; attention is there until then."""
        chosen = isinstance(wanted, dict) and wanted.get("method") != ATTENTION
        run = yield from refusing(self.complaint, lambda: self.around.own(request, run_id))
        is_there = run is not None and run.capture.token_ids and not self._is_asked_again(request)
        if config.METHOD == ATTENTION or chosen or not is_there:
            yield gr.skip()
            return
        yield from self.on_maps(request, run_id, details, key, {"method": config.METHOD})

    def on_maps(self, request: gr.Request, run_id: Any, _: Any, key: Any, wanted: Any) -> Iterator[Outputs]:
        """Show maps of other layers and heads, or of another method; the browser keeps its pick.

        A method that reads the answer again shows the picked word's map first, then the nearest words'; those
        of a long answer's other words come when they are picked.
        """

        def checked() -> tuple[str, Run, Controls]:
            return *self.around.asked(request, run_id, NO_ANSWER), Controls.of(wanted)

        def refused(reason: str) -> Outputs:
            return {self.viewer: gr.HTML(ended=wanted, **refusal_line(reason))}

        visitor, run, controls = yield from refusing(refused, checked)
        jobs, row = self.around.jobs, controls.row
        jobs.end(visitor, "method", by="method")

        def maps() -> Outputs:
            return {
                self.viewer: gr.HTML(
                    sent(explored(run, run_id, controls)), work=None, notice=None, ended=wanted
                )
            }

        if not row.needs_model or not run.missing(row.name):
            yield (yield from refusing(refused, maps))
            return
        work = Work.reading(row)
        first = yield from refusing(refused, lambda: pick_tokens(run, key))
        unasked = None if key == "all" else UNASKED
        known = len(run.missing(row.name))

        def so_far(progress: Progress) -> Outputs:
            nonlocal known
            left = len(run.missing(row.name))
            if left == known:
                return self.working(work, progress)
            known = left
            return {self.viewer: gr.HTML(sent(explored(run, run_id, controls)), work=work.at(progress))}

        shown: Shown[TokenMaps] = Shown(
            begun=self.working(work),
            so_far=so_far,
            done=lambda *_: maps(),
            stopped=lambda: {self.viewer: gr.HTML(work=None, ended=wanted)},
            failed=lambda reason: {self.viewer: gr.HTML(work=None, ended=wanted, **refusal_line(reason))},
            left=self.left,
        )
        yield from jobs.run(
            visitor,
            "method",
            lambda job: read_again(self.around, run, row.name, job, first, unasked=unasked),
            shown,
        )

    def on_rest(
        self, request: gr.Request, run_id: Any, details: Any, key: Any, wanted: Any
    ) -> Iterator[Outputs]:
        """Go on with the maps that are shown, where something else came between."""
        run = self.around.own(request, run_id)
        controls = Controls.of(wanted)
        is_due = run is not None and controls.row.needs_model and run.missing(controls.method)
        if not is_due or self._is_asked_again(request):
            yield gr.skip()
            return
        yield from self.on_maps(request, run_id, details, key, wanted)

    def _is_asked_again(self, request: gr.Request) -> bool:
        """Return whether the next answer is on its way already: what nobody asked for must not end it."""
        return self.around.jobs.has(visitor_of(request), "answer")

    def on_heads(self, request: gr.Request, run_id: Any, details: Any, key: Any, _: Any) -> Outputs:
        """Show every layer and head of the picked word."""
        with told():
            run = self.around.own(request, run_id)
            if run is None:
                return gr.skip()
            pick = pick_of(details.get("key") if isinstance(details, dict) else key, run.capture)
            heads = viewer.heads_payload(run.capture, pick.tokens, of_prompt=pick.of_prompt)
            return {self.viewer: gr.HTML(heads=heads)}

    def on_test(self, request: gr.Request, run_id: Any, _: Any, key: Any, wanted: Any) -> Iterator[Outputs]:
        """Hide the hottest patches of the map that is shown, and show what becomes of the word."""

        def checked() -> tuple[str, Run, Subject]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            if pick_of(key, run.capture).of_prompt:
                raise RefusedError("Pick a word of the answer first.")
            subject = on_hottest(subject_of(run, Controls.of(wanted).selection(run.capture, key)))
            return visitor, run, subject

        visitor, run, subject = yield from refusing(self.complaint, checked)
        which = subject.selection.visual

        def read(job: Job) -> MapCheck:
            def check(loaded: Loaded) -> MapCheck:
                found = check_map(
                    loaded.model,
                    loaded.processor,
                    list(run.originals),
                    run.capture,
                    subject.tokens,
                    subject.found.token_map(subject.tokens, which),
                    visual=which,
                    on_progress=job.steps,
                    stop=job.stop,
                )
                return replace(found, map_key=subject.found.key)

            return self.around.room.work(check, job, run.capture)

        def done(check: MapCheck, _: float) -> Outputs:
            self.around.answering.remember(run, check=check)
            return {self.viewer: gr.HTML(check={**check.as_dict(), "run": run_id}, work=None)}

        yield from self.running(visitor, Work("check", "Testing this map", "test", key), read, done)

    def on_compare(
        self, request: gr.Request, run_id: Any, details: Any, key: Any, _: Any
    ) -> Iterator[Outputs]:
        """Show the picked word's map by another method, beside the others."""

        def checked() -> tuple[str, Run, Pick, Selection]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            controls = Controls.of({"method": details.get("name")} if isinstance(details, dict) else {})
            return visitor, run, pick_of(key, run.capture), controls.selection(run.capture, key)

        visitor, run, pick, selection = yield from refusing(self.complaint, checked)
        row = selection.row

        def done(*_: Any) -> Outputs:
            subject = subject_of(run, selection)
            one = viewer.packed(whole_drawing(subject).values.reshape(1, -1))
            compared = {"run": run_id, "key": key, "name": row.name, "maps": one}
            return {self.viewer: gr.HTML(compared=compared, work=None)}

        if not row.needs_model or not set(pick.tokens) & set(run.missing(row.name)):
            yield (yield from refusing(self.complaint, done))
            return

        def read(job: Job) -> None:
            read_again(self.around, run, row.name, job, pick.tokens, unasked=0)

        yield from self.running(visitor, Work.reading(row), read, done)

    def on_stop(self, request: gr.Request, _: Any, details: Any, *__: Any) -> None:
        """Stop what the model does beside an answer; what is there stays."""
        part = details.get("part") if isinstance(details, dict) else None
        parts: tuple[Part, ...] = (part,) if part in STOPPABLE else ("method", "check")
        with told():
            self.around.jobs.stop(visitor_of(request), *parts)

    # What is told of work and of errors

    def running(
        self, visitor: str, work: Work, read: Callable[[Job], Any], done: Callable[[Any, float], Outputs]
    ) -> Iterator[Outputs]:
        """Have the model work for a visitor, tell how far it is, and show the result."""
        shown: Shown[Any] = Shown(
            begun=self.working(work),
            so_far=lambda progress: self.working(work, progress),
            done=done,
            stopped=self.idle,
            failed=self.failed,
            left=self.left,
        )
        yield from self.around.jobs.run(visitor, work.part, read, shown)

    def working(self, work: Work, progress: Progress | None = None) -> Outputs:
        """Return the viewer with what is being worked on."""
        return {self.viewer: gr.HTML(work=work.at(progress or Progress()), notice=None)}

    def idle(self) -> Outputs:
        """Return the viewer with nothing being worked on."""
        return {self.viewer: gr.HTML(work=None)}

    def left(self, others: set[Successor]) -> Outputs:
        """Return the viewer once other work took the place of this: idle, unless that is told here too."""
        return {} if others & set(STOPPABLE) else self.idle()

    def failed(self, reason: str) -> Outputs:
        """Return the viewer with the reason why work came to nothing."""
        return {self.viewer: gr.HTML(work=None, **refusal_line(reason))}

    def complaint(self, reason: str) -> Outputs:
        """Return the viewer with the reason why something was refused."""
        return {self.viewer: gr.HTML(**refusal_line(reason))}


def sent(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer as the viewer's element takes it: its id, and all of it in one text.

    Whenever anything of the element changes, such as with each word of the next answer, Gradio copies and
    compares its data number by number, and hears nothing else meanwhile. A text is one of them.
    """
    return {"run": answer["run"], "packed": json.dumps(answer)}


def refusal_line(reason: str) -> dict[str, Any]:
    """Return why something went wrong, as the viewer takes what it says in a line."""
    return {"notice": {"kind": "error", "text": reason}, "said": new_number()}


def pick_tokens(run: Run, key: Any) -> tuple[int, ...]:
    """Return the tokens of the answer that are picked; none for the whole answer or words of the question."""
    if not isinstance(key, str) or key == "all":
        return ()
    pick = pick_of(key, run.capture)
    return () if pick.of_prompt else pick.tokens

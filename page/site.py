"""The page: its components with their callbacks, over one model and the visitors' answers.

Goes in: what a person chooses, types and clicks. Comes out: the answer, and the viewer with the maps of its
words. What happens inside a tab or a panel stands with that part.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

import config
from page.answering import Answering, Inquiry, state_of
from page.api import Api
from page.around import Around
from page.inputs import RefusedError
from page.jobs import OF_THE_MODEL, Job, Jobs, Progress, Shown, refusing
from page.layout import Layout
from page.model_room import Loaded, ModelRoom
from page.parts import AGAIN, AT_ONCE, LATEST, LONG, Outputs, told, visitor_of
from page.selection import Controls
from page.sessions import Run, Sessions
from records.store import Store


@dataclass(frozen=True)
class Held:
    """What a browser holds when something is asked."""

    mine: Any  # the ids of its answers
    counts: Any  # (layers, heads) that the sliders stand for
    ranges: Sequence[Any]  # the sliders

    @classmethod
    def of(cls, mine: Any, counts: Any, *ranges: Any) -> "Held":
        """Return it as callbacks take it."""
        return cls(mine, counts, ranges)


class Page(Layout):
    """The page with its callbacks."""

    def __init__(self, room: ModelRoom, chosen: str, problem: str = "", store: Store | None = None) -> None:
        """Build the page. `chosen` is the model's name in the list, `problem` why it is not loaded."""
        self.room, self.chosen, self.problem_at_start = room, chosen, problem
        self.sessions, self.jobs, self.store = Sessions(), Jobs(), store or Store()
        self.answering = Answering(room, self.store)
        counts = (room.loaded.layers, room.loaded.heads) if room.loaded else (1, 1)
        super().__init__(chosen, self.status_text(), *counts, self.store)
        self.around = Around(room, self.sessions, self.jobs, self.run_id)
        with self.blocks:
            self._wire()
            Api(self.around, self.answering, [self.image, self.prompt, *self.settings], self.gradcam)
        self.blocks.queue(max_size=config.QUEUE_SIZE)

    # Which callback hears what

    def _wire(self) -> None:
        explorer, recent = self.explorer, self.recent
        answer = [*self._blanked(), self.status, self.counts, *self.ranges.all, recent.mine, recent.list]
        held = [recent.mine, self.counts, *self.ranges.all]

        opened = [self.model, self.status, self.counts, *self.ranges.all, recent.list]
        self.blocks.load(self.on_open, [recent.mine], opened, **AT_ONCE)
        self.blocks.unload(self.on_leave)
        self.load.click(self.on_load, [self.model], answer, **LONG)
        self.on_stop = self.jobs.stopper("answer")
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        written = gr.on(
            [self.generate.click, self.prompt.submit],
            self.on_generate,
            [self.image, self.prompt, *self.settings, self.reuse, *held],
            answer,
            **AGAIN,
        )
        recent.list.click(
            self.on_reopen,
            [recent.wanted, *held],
            [*answer, self.image, self.prompt],
            js="(id, ...rest) => [document.querySelector('.recent').dataset.wanted, ...rest]",
            **LATEST,
        )
        explorer.wire(self.around, self.ranges)
        written.success(**explorer.after)
        self.check.wire(self.around, explorer)
        self.share.wire(self.around, explorer)
        self.gradcam.wire(self.around, explorer, self.seed)

    def _blanked(self) -> list[Any]:
        """Return the components of `blank`."""
        explorer = self.explorer
        return [
            self.answer_state,
            self.run_id,
            explorer.token,
            explorer.viewer,
            *explorer.explained_by,
            explorer.method_line,
            explorer.method_stop,
            *self.ranges.groups,
            self.problem,
            self.stop,
            *self.gradcam.outputs,
            *self.share.outputs,
            *self.check.outputs,
        ]

    # What is shown

    def status_text(self) -> str:
        """Return what is loaded, or why nothing is."""
        loaded = self.room.loaded
        if loaded is None:
            return self.problem_at_start or f"{self.chosen} is not loaded yet: press Load."
        return f"{loaded.name} is ready: {loaded.layers} layers × {loaded.heads} heads, {loaded.place}"

    def blank(self, state: str) -> Outputs:
        """Return a page without an answer."""
        return {
            self.answer_state: {"state": state},
            self.run_id: None,
            self.problem: "",
            self.stop: gr.Button(interactive=state == "waiting"),
            **self.explorer.blank(),
            **self.gradcam.blank(),
            **self.share.blank(),
            **self.check.blank(),
        }

    def answered(self, visitor: str, run: Run, held: Held, seconds: float) -> Outputs:
        """Keep an answer for its visitor, and return what is shown of it."""
        capture, now = run.capture, (run.capture.layer_count, run.capture.attention.shape[2])
        notes = [run.note] if run.note else []
        if run.reused:
            notes.append(f"kept from before, by {capture.model_name}")
        if not capture.token_ids:
            notes.append("the model gave an empty answer")
        ranges, sliders = held.ranges, Outputs()
        if tuple(held.counts or ()) != now:  # of another model: all layers and heads
            ranges = [0, now[0] - 1, 0, now[1] - 1, ranges[-1]]
            sliders = self.spanning(*now)
        run_id = self.sessions.keep(visitor, run)
        return {
            self.answer_state: {
                "state": "stopped" if capture.stopped else "done",
                "count": len(capture.token_ids),
                "seconds": seconds,
                "note": " · ".join(notes),
            },
            self.run_id: run_id,
            self.stop: gr.Button(interactive=False),
            self.status: self.status_text(),
            **sliders,
            **self.explorer.shown(run_id, run, Controls.of(ranges)),
            **self.recent.added(held.mine, run),
        }

    def spanning(self, layers: int, heads: int) -> Outputs:
        """Return sliders that span all layers and heads of a model."""
        return {self.counts: (layers, heads), **self.ranges.spanning(layers, heads)}

    # Callbacks: guard, call, format

    def on_open(self, mine: Any) -> Outputs:
        """Show the model that is in memory now, and what this browser asked before."""
        loaded = self.room.loaded
        return {
            self.status: self.status_text(),
            self.model: loaded.name if loaded else self.chosen,
            self.recent.list: self.recent.listed(mine),
            **(self.spanning(loaded.layers, loaded.heads) if loaded else {}),
        }

    def on_leave(self, request: gr.Request) -> None:
        """Free everything of a visitor who closed or reloaded the page."""
        if request.session_hash:
            self.jobs.end(request.session_hash, by="nobody")
            self.sessions.forget(request.session_hash)

    def on_load(self, request: gr.Request, name: Any) -> Iterator[Outputs]:
        """Load a model, and start the page afresh with it."""
        visitor, name = yield from refusing(self.status, lambda: (visitor_of(request), wanted(name)))

        def done(loaded: Loaded, _: float) -> Outputs:
            self.sessions.forget(visitor)
            sliders = self.spanning(loaded.layers, loaded.heads)
            return {self.status: self.status_text(), **sliders, **self.blank("empty")}

        def failed(reason: str) -> Outputs:
            kept = self.room.loaded
            return {
                self.status: f"{reason} {f'{kept.name} is still in use.' if kept else 'No model is loaded.'}"
            }

        shown: Shown[Loaded] = Shown(
            begun={self.status: f"Loading {name} …"},
            so_far=lambda progress: {self.status: f"Loading {name} … {progress.seconds:.0f} s"},
            done=done,
            stopped=dict,
            failed=failed,
        )
        yield from self.jobs.run(visitor, "load", lambda _: self.room.load(name), shown)

    def on_generate(self, request: gr.Request, *form: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be answered; write the answer; show its maps and pick a word."""
        asked, reuse, held = form[:6], form[6] is True, Held.of(*form[7:])

        def checked() -> tuple[str, Inquiry]:
            Controls.of(held.ranges)  # no answer is written that could not be shown
            return visitor_of(request), self.answering.asked(*asked)

        visitor, question = yield from refusing(self.problem, checked)
        limit = question.settings["max_new_tokens"]

        def work(job: Job) -> Run:
            return self.answering.answer(question, job, reuse)

        def so_far(progress: Progress) -> Outputs:
            return {self.answer_state: {**state_of(progress), "limit": limit, "seconds": progress.seconds}}

        def failed(reason: str) -> Outputs:
            return {**self.blank("empty"), self.problem: reason}

        shown: Shown[Run] = Shown(
            begun=self.blank("waiting"),
            so_far=so_far,
            done=lambda run, seconds: self.answered(visitor, run, held, seconds),
            stopped=lambda: failed("Stopped before the answer began."),
            failed=failed,
        )
        yield from self.jobs.run(visitor, "answer", work, shown)

    def on_reopen(self, request: gr.Request, wanted: Any, *held: Any) -> Outputs:
        """Show an answer from before, without a model."""
        with told():
            start, visitor, here = time.monotonic(), visitor_of(request), Held.of(*held)
            run = self.recent.opened(here.mine, wanted)
            self.jobs.end(visitor, *OF_THE_MODEL, by="answer")
            return {
                **self.blank("empty"),
                **self.answered(visitor, run, here, time.monotonic() - start),
                self.image: gr.Image(run.original),
                self.prompt: run.capture.prompt,
            }


def wanted(name: Any) -> str:
    """Return the name of the model to load."""
    if not isinstance(name, str) or not name.strip():
        raise RefusedError("Choose a model first.")
    return name.strip()

"""The page: its components with their callbacks, over one model and the visitors' answers.

Goes in: what a person chooses, types and clicks. Comes out: the answer, and the viewer with the maps of its
words. What happens inside a tab or a panel stands with that part.
"""

import json
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import gradio as gr
from PIL.Image import Image

import config
import viewer
from demo.bundled import bundled_example
from page.again import Again
from page.answering import Answering, Inquiry
from page.api import Api
from page.around import Around
from page.explorer import BACK
from page.files import Files
from page.in_browser import (
    ANSWERED,
    AS_IT_STANDS,
    ASK,
    ASK_OR_EXPLAIN,
    ASKED_PROMPT,
    EXAMPLE_PROMPT,
    LISTED,
    OPENED,
    TURN,
    of_answer,
)
from page.inputs import RefusedError, refusal
from page.jobs import OF_THE_MODEL, Jobs, Progress, Shown, refusing
from page.layout import Layout
from page.model_room import Loaded, ModelRoom
from page.parts import AGAIN, AT_ONCE, IN_BROWSER, LATEST, LONG, Outputs, told, visitor_of
from page.people import People
from page.sessions import Run, Sessions
from page.shown import notes_of
from page.turns import conversation_facts
from records.entries import Kept
from records.store import Store
from records.videos import Video
from utils import alone_or_list


class Page(Layout):
    """The page with its callbacks."""

    def __init__(self, room: ModelRoom, chosen: str, problem: str = "", store: Store | None = None) -> None:
        """Build the page. `chosen` is the model's name in the list, `problem` why it is not loaded."""
        self.room, self.chosen, self.problem_at_start = room, chosen, problem
        self.is_shared = False  # whether it is for others too, who do not choose what lies on this computer
        self.people = People()
        self.sessions, self.jobs = Sessions(self.people), Jobs(self.people)
        self.files, self.store = Files(self.people), store or Store()
        self.store.tidy()
        self.answering = Answering(room, self.store)
        super().__init__(chosen, self.status_text(), self.store)
        self.around = Around(room, self.sessions, self.jobs, self.answering, self.files, self.run_id)
        with self.blocks:
            self._wire()
            Api(self.around, self.gradcam)
        self.blocks.queue(max_size=None, api_open=False)  # the guard has bounds for each person

    # Which callback hears what

    def _wire(self) -> None:
        explorer, recent, sources = self.explorer, self.recent, self.sources
        answer = [*self._blanked(), self.status, recent.mine, recent.list, recent.begun]
        asked_again = [*answer, sources.image, self.prompt, self.system]

        opened = [*asked_again, self.model, self.toys, self.suggestions, self.by_checkpoint, self.thinking]
        loaded = self.blocks.load(self.on_open, [recent.mine, recent.begun], opened, **AT_ONCE)
        loaded.then(None, None, None, js=OPENED, **IN_BROWSER)
        self.blocks.unload(self.on_leave)
        loading = [self.status, self.toys, self.suggestions, self.by_checkpoint, self.thinking]
        loading_done = self.load.click(self.on_load, [self.model], loading, **LONG)
        self.toys.click(None, None, [self.model], js=f"() => {json.dumps(config.MODEL_NAME)}", **IN_BROWSER)
        self.on_stop = self.jobs.stopper("answer")
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        self.generation.change(
            lambda chosen: gr.Column(visible=chosen == "own"), [self.generation], [self.own_values], **AT_ONCE
        )
        self.given.change(None, None, [self.generate], js=ASK_OR_EXPLAIN, **IN_BROWSER)
        written = gr.on(
            [self.generate.click, self.prompt.submit],
            self.on_generate,
            [sources.image, self.prompt, *self.settings, self.reuse, recent.mine],
            answer,
            js=ASK,
            **AGAIN,
        )
        for event, wanted in ((recent.list.click, LISTED), (explorer.viewer.turn, TURN)):
            event(self.on_reopen, [recent.wanted, recent.mine], asked_again, js=wanted, **LATEST)
        sources.wire()
        self._wire_plan(loaded, loading_done)
        sources.image.select(None, [sources.image], [self.prompt], js=EXAMPLE_PROMPT, **IN_BROWSER)
        explorer.viewer.back(None, None, [sources.image], js=ANSWERED, **IN_BROWSER)
        explorer.viewer.follow(None, None, [self.prompt], js=ASKED_PROMPT, **IN_BROWSER)
        explorer.wire(self.around)
        for event in (loaded, written):
            explorer.after(event)
        self._wire_again(asked_again)
        self.share.wire(self.around, explorer)
        self.verify.wire(self.around)
        self.gradcam.wire(self.around, explorer, self.seed)

    def _wire_again(self, shown: list[Any]) -> None:
        """Ask again with one thing changed, of the answer that is shown."""
        explorer, fields = self.explorer, (self.sources.image, self.prompt)
        self.again = Again(self.around, explorer, fields, self.chosen_for, self.written)
        of = [self.run_id, explorer.details, explorer.key, explorer.wanted]
        inputs = [*of, self.prompt, *self.settings, self.recent.mine]
        for what, callback in (("hide", self.again.on_hide), ("closer", self.again.on_closer)):
            event = getattr(explorer.viewer, what)
            explorer.after(event(callback, inputs, shown, js=of_answer(what), **AGAIN))

    def _wire_plan(self, *loaded: Any) -> None:
        """Say what the next answer would record, again whenever something else is chosen or loaded."""
        changed = [self.plan.chosen, self.prompt.blur, self.given.change]
        changed += [self.max_new_tokens.change, self.thinking.change, self.system.blur]
        for event in (*changed, *(one.then for one in loaded)):
            event(
                self.on_plan,
                [self.sources.image, self.prompt, *self.settings],
                [self.plan],
                js=AS_IT_STANDS,
                **LATEST,
            )

    def _blanked(self) -> list[Any]:
        """Return the components of `blank`."""
        return [
            self.run_id,
            self.explorer.token,
            self.explorer.viewer,
            self.generate,
            self.stop,
            *self.gradcam.outputs,
            *self.share.outputs,
        ]

    # What is shown

    def status_text(self) -> str:
        """Return what is loaded, or why nothing is."""
        if self.room.loaded is not None:
            return self.room.loaded.line
        return self.problem_at_start or f"{self.chosen} is not loaded yet: press Load."

    def blank(self) -> Outputs:
        """Return a page without an answer."""
        return {
            self.run_id: None,
            **self.asking(False),
            **self.explorer.blank(),
            **self.gradcam.blank(),
            **self.share.blank(),
        }

    def asking(self, begins: bool) -> Outputs:
        """Return Ask and Stop, one of which is there."""
        return {
            self.generate: gr.Button(visible=not begins),
            self.stop: gr.Button(visible=begins, interactive=begins),
        }

    def not_asking(self) -> Outputs:
        """Return the page with what it shows instead of the next answer."""
        return {**self.asking(False), self.explorer.viewer: gr.HTML(**BACK)}

    def unanswered(self, reason: str) -> Outputs:
        """Return the page with the reason why there is no next answer."""
        return {**self.asking(False), **self.explorer.unanswered(reason)}

    def answered(
        self,
        visitor: str,
        run: Run,
        mine: Any,
        source: Any,
        seconds: float | None = None,
        is_new: bool = True,
        follows: bool = False,
        parent: Run | None = None,
    ) -> Outputs:
        """Keep an answer for its visitor, and return what is shown; `source` is its picture as chosen.

        A new one is followed by what it needs most, one that is opened again by nothing. Of one that
        `follows` the answer that was shown, `source` is what its question added; `parent` is the answer
        that it follows or asks again.
        """
        run_id = self.sessions.keep(visitor, run)
        facts = {
            "source": source,
            "seconds": seconds,
            "stopped": run.capture.stopped,
            "notes": notes_of(run, source),
            **conversation_facts(run, self.store),
            "follows": follows,
        }
        shown = self.explorer.shown(run_id, run, facts, is_new)
        return {
            **self.gradcam.blank(),
            **self.share.blank(),
            **self.asking(False),
            self.run_id: run_id,
            self.status: self.status_text(),
            **shown,
            **self.recent.added(mine, run, parent),
        }

    def answered_before(self, visitor: str, run: Run, mine: Any, is_new: bool = True) -> Outputs:
        """Return what is shown of an answer that was not asked for now, with its picture and question."""
        source = alone_or_list([self.chosen_for(visitor, one) for one in run.originals])
        return {
            **self.answered(visitor, run, mine, source, is_new=is_new),
            self.sources.image: source,
            self.prompt: run.capture.prompt,
            self.system: run.capture.system or "",
        }

    def chosen_for(self, visitor: str, picture: Image | Video, name: str = "your picture") -> dict[str, Any]:
        """Return a picture as one that its visitor chose."""
        source = self.sources.of(picture, name)
        if source.get("path"):
            self.files.hold(self.people.of(visitor), [Path(source["path"])])
        return source

    # Callbacks: guard, call, format

    def on_open(self, request: gr.Request, mine: Any, begun: Any) -> Outputs:
        """Show the model that is in memory now, and what was cut off by a reload, or else an example."""
        loaded = self.room.loaded
        name = loaded.name if loaded else self.chosen
        found = {self.recent.begun: None, self.recent.list: self.recent.listed(mine)}
        found |= self.cut_off(request, mine, begun) or self.first(request)
        return found | {self.status: self.status_text(), self.model: name, **self.of_model(name, loaded)}

    def cut_off(self, request: gr.Request, mine: Any, begun: Any) -> Outputs:
        """Return what was written of an answer before the page was left; nothing where there is none."""
        run = self.recent.cut_off(begun)
        if run is None or not request.session_hash:
            return {}
        return self.answered_before(request.session_hash, run, mine)

    def first(self, request: gr.Request) -> Outputs:
        """Return the bundled example with its answer, which no model has to give."""
        kept = bundled_example()
        if kept is None or not request.session_hash:
            return {}
        run = Run.of(kept)
        run.pictures_payload = example_picture(kept)
        return self.answered_before(request.session_hash, run, None)

    def on_leave(self, request: gr.Request) -> None:
        """Free everything of a visitor who closed or reloaded the page."""
        if request.session_hash:
            self.jobs.end(request.session_hash, by="nobody")
            self.sessions.forget(request.session_hash)

    def on_load(self, request: gr.Request, name: Any) -> Iterator[Outputs]:
        """Load a model; the answer that is there stays."""

        def refused(reason: str) -> Outputs:
            return {self.status: reason}

        visitor, name = yield from refusing(refused, lambda: (visitor_of(request), self.loadable(name)))

        def failed(reason: str) -> Outputs:
            kept = self.room.loaded
            return {
                self.status: f"{reason} {f'{kept.name} is still in use.' if kept else 'No model is loaded.'}"
            }

        shown: Shown[Loaded] = Shown(
            begun={self.status: f"Loading {name} …"},
            so_far=lambda progress: {self.status: f"Loading {name} … {progress.seconds:.0f} s"},
            done=lambda loaded, _: {
                self.status: self.status_text(),
                **self.of_model(loaded.name, loaded),
            },
            stopped=dict,
            failed=failed,
        )
        yield from self.jobs.run(visitor, "load", lambda job: self.room.load(name, job.person), shown)

    def on_plan(self, request: gr.Request, *form: Any) -> Outputs:
        """Say what an answer to the question as it stands would record at most, before it is asked."""
        try:
            return {self.plan: self.around.put(self.answering.plan, request, form)}
        except Exception as error:
            return {self.plan: refusal(error)}

    def loadable(self, name: Any) -> str:
        """Return the name of a model that may be loaded; RefusedError for another."""
        if not isinstance(name, str) or not name.strip():
            raise RefusedError("Choose a model first.")
        if self.is_shared and name.strip() not in (*self.proposed, *config.MODELS):
            raise RefusedError(
                "This page loads what its list proposes. Whoever runs it can add more: MODELS in config.py."
            )
        return name.strip()

    def on_generate(self, request: gr.Request, *form: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be answered; write the answer; show its maps and pick a word.

        Until there is another one, and where there is none, the answer from before stays.
        """
        *asked, reuse, mine = form

        visitor, question = yield from refusing(
            self.unanswered,
            lambda: (
                visitor_of(request),
                self.around.put(self.answering.asked, request, asked),
            ),
        )
        follows = asked[3] is not None
        yield from self.written(visitor, question, asked[0], mine, reuse=reuse is True, follows=follows)

    def written(
        self,
        visitor: str,
        question: Inquiry,
        source: Any,
        mine: Any,
        *,
        reuse: bool = True,
        follows: bool = False,
    ) -> Iterator[Outputs]:
        """Have a question answered, and show the answer as it comes; `source` is as for `answered`."""
        limit, ticket = question.settings["max_new_tokens"], secrets.token_hex(16)

        def so_far(progress: Progress) -> Outputs:
            return self.explorer.told(progress, limit)

        shown: Shown[Run] = Shown(
            begun={
                **self.asking(True),
                self.recent.begun: ticket,
                self.explorer.viewer: gr.HTML(progress={"phase": "waiting"}, work=None, notice=None),
            },
            so_far=so_far,
            done=lambda run, seconds: {
                **self.answered(visitor, run, mine, source, seconds, follows=follows, parent=question.parent),
                self.recent.begun: None,
            },
            stopped=lambda: self.unanswered("Stopped before the answer began."),
            failed=self.unanswered,
            left=lambda others: {} if "answer" in others else self.not_asking(),
        )
        yield from self.jobs.run(
            visitor, "answer", lambda job: self.answering.answer(question, job, reuse, ticket), shown
        )

    def on_reopen(self, request: gr.Request, wanted: Any, mine: Any) -> Outputs:
        """Show an answer from before, without a model."""
        with told():
            visitor = visitor_of(request)
            run = self.recent.opened(mine, wanted)
            self.jobs.end(visitor, *OF_THE_MODEL, by="recent")
            return self.answered_before(visitor, run, mine, is_new=False)


@cache
def example_picture(kept: Kept) -> list[dict[str, Any]]:
    """Return an example's picture as the viewer takes it: encoded once, for all visitors."""
    return viewer.pictures_payload(kept.image)

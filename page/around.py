"""What each part of the page needs of the page around it: the model, the visitors' answers and their jobs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import gradio as gr

from page.answering import Answering
from page.files import Files
from page.inputs import RefusedError, menu_settings
from page.jobs import Jobs
from page.model_room import ModelRoom
from page.parts import visitor_of
from page.sessions import Run, RunGoneError, Sessions

NO_ANSWER = "There is no answer yet: ask something first."

Put = TypeVar("Put")


@dataclass(frozen=True)
class Around:
    """One model, the answers and files of each visitor, what they have running, and the answer at hand."""

    room: ModelRoom
    sessions: Sessions
    jobs: Jobs
    answering: Answering
    files: Files
    run_id: Any  # the component that holds the id of the answer at hand

    def asked(self, request: gr.Request, run_id: Any, otherwise: str) -> tuple[str, Run]:
        """Return the visitor and their own answer.

        Raises:
            RefusedError: saying `otherwise`, if there is no answer yet.
            RunGoneError: if it is not kept, or is another visitor's.
        """
        visitor = visitor_of(request)
        if not isinstance(run_id, str):
            raise RefusedError(otherwise)
        return visitor, self.sessions.run(visitor, run_id)

    def own(self, request: gr.Request, run_id: Any) -> Run | None:
        """Return the visitor's own answer; None where there is none yet, or another one took its place.

        Raises:
            RunGoneError: if it is not kept any more, or is another visitor's.
        """
        if not isinstance(run_id, str):
            return None
        visitor = visitor_of(request)
        try:
            return self.sessions.run(visitor, run_id)
        except RunGoneError:
            if self.sessions.is_replaced(visitor, run_id):
                return None  # what comes by itself with an answer can come when the next one is there
            raise

    def put(self, ask: Callable[..., Put], request: gr.Request, form: Sequence[Any]) -> Put:
        """Return what `ask`, of `answering`, says to the question as the page's components hold it.

        They are what is chosen, the question, an answer that was written elsewhere, the id of the answer that
        it follows, the system prompt, and the menu's settings.

        Raises:
            ValueError: one line, for what cannot be used.
            RunGoneError: if the answer that it follows is not kept any more.
        """
        upload, prompt, given, follows, system, *menu = form
        after = None if follows is None else self.asked(request, follows, NO_ANSWER)[1]
        return ask(upload, prompt, *self.menu(menu), answer=given, system=system, after=after)

    def menu(self, chosen: Sequence[Any]) -> tuple[Any, ...]:
        """Return the menu's settings as `generation_settings` takes them."""
        asks = self.room.loaded is not None and self.room.loaded.thinking == "asked"
        return menu_settings(*chosen, asks=asks)

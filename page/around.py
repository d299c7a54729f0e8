"""What each part of the page needs of the page around it: the model, the visitors' answers and their jobs."""

from dataclasses import dataclass
from typing import Any

import gradio as gr

from page.answering import Answering
from page.files import Files
from page.inputs import RefusedError
from page.jobs import Jobs
from page.model_room import ModelRoom
from page.parts import visitor_of
from page.sessions import Run, RunGoneError, Sessions


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
            if self.sessions.has(visitor):
                return None  # what comes by itself with an answer can come when the next one is there
            raise

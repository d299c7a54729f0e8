"""An answer's question asked again with one thing changed: what a word came from hidden, or looked at closer.

Goes in: the answer that is shown, the picked word, and what is changed. Comes out: what is shown of the next
answer, which knows the one that it was asked again of.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gradio as gr

from page.answering import Inquiry
from page.around import NO_ANSWER, Around
from page.explorer import Explorer
from page.hiding import hidden_name, without_half
from page.inputs import RefusedError
from page.jobs import refusing
from page.parts import Outputs
from page.selection import Controls
from page.sessions import Run
from page.shown import on_hottest, subject_of
from records.window import window_of
from report.view import Subject, whole_drawing
from utils import alone_or_list

CLOSER = "a closer look"


class Again:
    """The callbacks; the page wires them."""

    def __init__(
        self,
        around: Around,
        explorer: Explorer,
        fields: tuple[Any, Any],
        chosen_for: Callable[..., dict[str, Any]],
        written: Callable[..., Iterator[Outputs]],
    ) -> None:
        """Take what is shared: `fields` are the pictures and the question, `written` puts a question."""
        self.around, self.explorer = around, explorer
        self.image, self.prompt = fields
        self.chosen_for, self.written = chosen_for, written

    def on_hide(
        self, request: gr.Request, run_id: Any, _: Any, key: Any, wanted: Any, *form: Any
    ) -> Iterator[Outputs]:
        """Blur what the map of the picked word points at, and ask again."""
        prompt, _, _, *settings, mine = form  # an answer that was given belongs to the picture as it was

        def checked() -> tuple[str, Run, Subject]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            if run.capture.history:
                raise RefusedError(
                    "Hide and ask again takes a question that stands alone; this one follows others."
                )
            return visitor, run, on_hottest(self._subject(run, key, wanted), clips=False)

        visitor, run, subject = yield from refusing(self.explorer.complaint, checked)
        one, which = whole_drawing(subject), subject.selection.visual
        hidden = without_half(run.picture_given(which), one.values)
        sources = [self.chosen_for(visitor, picture) for picture in run.originals]
        sources[which] = self.chosen_for(visitor, hidden, hidden_name(one.text))
        sources[which]["hidden"] = f"“{one.text}”"
        source = alone_or_list(sources)

        def asked() -> Inquiry:
            question = self.around.put(
                self.around.answering.asked, request, [source, prompt, None, None, *settings]
            )
            return replace(question, parent=run)

        question = yield from refusing(self.explorer.complaint, asked)
        yield {self.image: source}
        yield from self.written(visitor, question, source, mine)

    def on_closer(
        self, request: gr.Request, run_id: Any, details: Any, key: Any, wanted: Any, *form: Any
    ) -> Iterator[Outputs]:
        """Cut a part out of a picture, and ask again with it beside the whole.

        It is the box of `details`, {visual, box: parts of the picture's sides}; without one it is the window
        that stands out most in the picked word's map.
        """
        _, _, _, _, *menu, mine = form

        def checked() -> tuple[str, Inquiry]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            visual, box = asked_part(run, details)
            if box is None:
                subject = self._subject(run, key, wanted).choosing(visual=visual)
                box = window_of(whole_drawing(subject).values, run.capture.visuals[visual].size)
            settings = self.around.menu(menu)
            return visitor, self.around.answering.closer(run, box, visual, *settings)

        visitor, question = yield from refusing(self.explorer.complaint, checked)
        source = [self.chosen_for(visitor, picture) for picture in question.shown[:-1]]
        source.append(self.chosen_for(visitor, question.shown[-1], CLOSER))
        yield {self.image: source, self.prompt: question.prompt}
        yield from self.written(visitor, question, source, mine)

    def _subject(self, run: Run, key: Any, wanted: Any) -> Subject:
        return subject_of(run, Controls.of(wanted).selection(run.capture, key))


def asked_part(run: Run, details: Any) -> tuple[int, Sequence[float] | None]:
    """Return the number of a picture and a box on it in its pixels, None where that is left to the map.

    Raises:
        RefusedError: for what is neither.
    """
    found = details if isinstance(details, dict) else {}
    visual, box = found.get("visual", 0), found.get("box")
    count = len(run.capture.visuals)
    if isinstance(visual, bool) or not isinstance(visual, int) or not 0 <= visual < count:
        raise RefusedError("Choose a picture of this answer first.")
    if box is None:
        return visual, None
    if not isinstance(box, list) or not all(isinstance(side, (int, float)) for side in box):
        raise RefusedError("Choose a part of the picture first.")
    height, width = run.capture.visuals[visual].size
    return visual, [side * length for side, length in zip(box, (width, height) * 2, strict=False)]

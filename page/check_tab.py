"""The check tab: what a map's hottest patches do to the word, and what of a word came from the picture.

Goes in: the answer at hand, the word and the map that are shown. Comes out: a curve, sentences, a table. What
is computed stands in `checks.py`.
"""

import threading
from collections.abc import Callable, Generator, Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from evaluation.charts import curve_chart
from evaluation.removal import MapCheck
from evaluation.without_picture import NOTE, PictureCheck
from methods import METHODS
from page.explorer import LOOK, PICKED, Explorer
from page.inputs import RefusedError, refusal
from page.parts import AT_ONCE, HIDDEN, Outputs, following, line, toast, told, visitor_of
from page.reading import pick_of, selection_of, subject_of
from page.runs import ModelRoom, Run, Visitors, streamed
from report.view import whole_drawing
from utils import Stopped

STOPPED = "Stopped: nothing was checked."
SHOWN = f"(run, token, look, ...rest) => [run, ({PICKED})(), ({LOOK})(), ...rest]"


class CheckTab:
    """The tab's components, and their callbacks once it is wired."""

    room: ModelRoom
    visitors: Visitors

    def __init__(self) -> None:
        """Add the components to the blocks that are being built."""
        gr.HTML(MAP_HELP, elem_classes="check_help", js_on_load=None)
        with gr.Row(elem_classes="check_go"):
            self.map_start = gr.Button("Check this map", variant="primary", elem_id="check_map")
            self.stop = gr.Button("Stop", elem_id="check_stop", interactive=False)
        self.line = line("", "check_line")
        self.curve = gr.Image(
            type="pil",
            format="png",
            interactive=False,
            show_label=False,
            container=False,
            buttons=["download"],
            visible=False,
            alt_text="The word's probability over the number of patches removed",
            elem_id="check_curve",
        )
        gr.HTML(PICTURE_HELP, elem_classes="check_help", js_on_load=None)
        self.picture_start = gr.Button("With and without the picture", elem_id="check_picture")
        self.picture_line = line("", "check_picture_line")
        self.table = gr.Dataframe(
            headers=["word", "with the picture", "without it", "it came from"],
            interactive=False,
            visible=False,
            wrap=True,
            elem_id="check_table",
        )
        self.outputs = [self.line, self.curve, self.picture_line, self.table, self.stop]

    def wire(self, room: ModelRoom, visitors: Visitors, run_id: Any, explorer: Explorer) -> None:
        """Connect the components with each other and with the page around them."""
        self.room, self.visitors = room, visitors
        asked = [run_id, explorer.token, explorer.look, *explorer.ranges.all, *explorer.explained_by]
        settings: dict[str, Any] = {"js": SHOWN, "concurrency_limit": None, **HIDDEN}
        self.map_start.click(self.on_map, asked, self.outputs, **settings)
        self.picture_start.click(self.on_picture, asked, self.outputs, **settings)
        self.stop.click(self.on_stop, None, None, **AT_ONCE)

    def blank(self) -> Outputs:
        """Return the tab without a result."""
        return {
            self.line: "",
            self.curve: gr.Image(None, visible=False),
            self.picture_line: "",
            self.table: gr.Dataframe(visible=False),
            self.stop: gr.Button(interactive=False),
        }

    def on_map(self, request: gr.Request, run_id: Any, key: Any, look: Any, *rest: Any) -> Iterator[Outputs]:
        """Remove the hottest patches of the map that is shown, and show what becomes of the word."""

        def work(run: Run, tell: Callable[[int, int], None], wait: Any, stop: threading.Event) -> MapCheck:
            pick = pick_of(key, run) if isinstance(key, str) else None
            if pick is None or pick.of_prompt:
                raise RefusedError("Pick a word of the answer first.")
            selection = selection_of(run, rest[:-2], key, "word", look, *rest[-2:])
            heat = whole_drawing(subject_of(run, selection)).values
            return self.room.check_map(run, pick.tokens, heat, tell, stop, wait)

        def done(check: MapCheck) -> Outputs:
            figure = curve_chart(check, METHODS[rest[-2]].label)
            figure.canvas.draw()
            pixels = np.asarray(figure.canvas.buffer_rgba())  # type: ignore[attr-defined]
            drawn = Image.fromarray(pixels).convert("RGB")
            text = check.sentence(check.telling)
            return {self.line: text, self.curve: gr.Image(drawn, visible=True, alt_text=text)}

        yield from self.running(request, run_id, self.line, work, done)

    def on_picture(self, request: gr.Request, run_id: Any, *rest: Any) -> Iterator[Outputs]:
        """Show each word's probability with and without the picture."""

        def work(
            run: Run, tell: Callable[[int, int], None], wait: Any, stop: threading.Event
        ) -> PictureCheck:
            return self.room.check_picture(run, tell, stop, wait)

        def done(check: PictureCheck) -> Outputs:
            return {
                self.table: gr.Dataframe(check.rows(), visible=True),
                self.picture_line: NOTE,
            }

        yield from self.running(request, run_id, self.picture_line, work, done)

    def running(
        self,
        request: gr.Request,
        run_id: Any,
        place: Any,
        work: Callable[..., Any],
        done: Callable[[Any], Outputs],
    ) -> Iterator[Outputs]:
        """Have the model work on the visitor's own answer; tell in a line how far it is; show the result."""
        try:
            visitor = visitor_of(request)
            if not isinstance(run_id, str):
                raise RefusedError("There is no answer to check yet: press Generate first.")
            run = self.visitors.run(visitor, run_id)
            stop = self.visitors.begin(visitor)
        except Exception as error:
            reason = refusal(error)
            yield {place: reason}
            raise toast(reason) from None
        ended = gr.Button(interactive=False)
        yield {place: "Waiting for the model …", self.stop: gr.Button(interactive=True)}
        try:
            found = yield from following(_told(work, run, stop), lambda changes: so_far(place, changes))
            if self.visitors.waits(visitor, stop):
                yield {self.stop: ended, **done(found)}
            else:  # the page was closed, or asked something else
                yield {place: ""}
        except Stopped:
            yield {place: STOPPED, self.stop: ended} if self.visitors.waits(visitor, stop) else {place: ""}
        except Exception as error:
            reason = refusal(error)
            yield {place: reason, self.stop: ended}
            raise toast(reason) from None
        finally:
            self.visitors.end(visitor, stop)

    def on_stop(self, request: gr.Request) -> None:
        """End the check after the passes at hand."""
        with told():
            self.visitors.stop(visitor_of(request))


def so_far(place: Any, changes: tuple[str, int, int] | None) -> Outputs:
    """Return how far a check is, in its line."""
    if changes is None:
        return gr.skip()
    kind, first, second = changes
    waiting = f"Waiting for the model: {first} ahead of you"
    return {place: waiting if kind == "ahead" else f"{first} of {second} passes …"}


def _told(
    work: Callable[..., Any], run: Run, stop: threading.Event
) -> Generator[tuple[str, int, int] | None, None, Any]:
    """Yield ("ahead", people, 0) or ("passes", done, in all); return what the work returns."""
    return streamed(
        lambda put: work(
            run,
            lambda done, count: put(("passes", done, count)),
            lambda ahead: put(("ahead", ahead, 0)),
            stop,
        )
    )


MAP_HELP = """
<h3>Does this map mean anything?</h3>
<p>The map's hottest patches are blurred, more and more of them, while the answer stays what it is. If the
word comes from there, its probability falls sooner than with random patches or those in the middle.</p>
"""
PICTURE_HELP = """
<h3>Is it there at all?</h3>
<p>Each word's probability with the picture, and to the same question as text alone: what came from the
picture, and what the words before would have led to anyway.</p>
"""

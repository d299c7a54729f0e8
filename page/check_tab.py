"""The check tab: what a map's hottest patches do to the word, and what of a word came from the picture.

Goes in: the answer at hand, the word and the map that are shown. Comes out: a curve, sentences, a table. What
is computed stands in `checks.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr
import numpy as np
from PIL import Image

from evaluation.charts import curve_chart
from evaluation.removal import MapCheck, check_map
from evaluation.without_picture import NOTE, PictureCheck, without_image
from methods import METHODS
from page.around import Around
from page.explorer import LOOK, PICKED, Explorer
from page.inputs import RefusedError
from page.jobs import Job, Shown, passes, refusing
from page.model_room import Loaded
from page.parts import AT_ONCE, LONG, Outputs, line
from page.selection import Controls, pick_of
from page.sessions import Run
from page.shown import subject_of
from report.view import whole_drawing

STOPPED = "Stopped: nothing was checked."
NO_ANSWER = "There is no answer to check yet: press Generate first."
SHOWN = f"(run, token, look, ...rest) => [run, ({PICKED})(), ({LOOK})(), ...rest]"


class CheckTab:
    """The tab's components, and their callbacks once it is wired."""

    around: Around

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

    def wire(self, around: Around, explorer: Explorer) -> None:
        """Connect the components with each other and with the page around them."""
        self.around = around
        asked = [around.run_id, explorer.token, explorer.look, *explorer.ranges.all, *explorer.explained_by]
        self.map_start.click(self.on_map, asked, self.outputs, js=SHOWN, **LONG)
        self.picture_start.click(self.on_picture, asked, self.outputs, js=SHOWN, **LONG)
        self.on_stop = around.jobs.stopper("check")
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

        def work(run: Run, job: Job) -> MapCheck:
            pick = pick_of(key, run.capture) if isinstance(key, str) else None
            if pick is None or pick.of_prompt:
                raise RefusedError("Pick a word of the answer first.")
            selection = Controls.of(rest).selection(run.capture, key, look=look)
            heat = whole_drawing(subject_of(run, selection)).values

            def check(loaded: Loaded) -> MapCheck:
                model = (loaded.model, loaded.processor)
                answer = (run.original, run.capture)
                return check_map(*model, *answer, pick.tokens, heat, on_progress=job.steps, stop=job.stop)

            return self.around.room.work(check, job, run.capture)

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

        def work(run: Run, job: Job) -> PictureCheck:
            def check(loaded: Loaded) -> PictureCheck:
                model = (loaded.model, loaded.processor)
                return without_image(*model, run.original, run.capture, on_progress=job.steps, stop=job.stop)

            return self.around.room.work(check, job, run.capture)

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
        work: Callable[[Run, Job], Any],
        done: Callable[[Any], Outputs],
    ) -> Iterator[Outputs]:
        """Have the model work on the visitor's own answer; tell in a line how far it is; show the result."""
        visitor, run = yield from refusing(place, lambda: self.around.asked(request, run_id, NO_ANSWER))
        ended = {self.stop: gr.Button(interactive=False)}
        shown: Shown[Any] = Shown(
            begun={place: "Waiting for the model …", self.stop: gr.Button(interactive=True)},
            so_far=passes(place),
            done=lambda check, _: {**ended, **done(check)},
            stopped=lambda: {place: STOPPED, **ended},
            failed=lambda reason: {place: reason, **ended},
            # Another check has the button now, and a new answer has blanked the tab.
            left=lambda parts: {place: ""} if parts & {"answer", "check"} else {place: "", **ended},
        )
        yield from self.around.jobs.run(visitor, "check", lambda job: work(run, job), shown)


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

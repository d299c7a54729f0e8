"""The Grad-CAM tab: its components in reading order, and what happens when something is clicked.

Goes in: the answer at hand and what a person chooses. Comes out: a small picture of each layer, and one of
them enlarged. What is computed and drawn stands in `page/cams.py`.
"""

import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import gradio as gr

import config
from page.cams import (
    PLACES,
    TARGETS,
    caption,
    described,
    enlarged,
    finished,
    first_layer,
    layers_of,
    style,
    target_of,
    tiles,
    typed_target,
)
from page.explorer import LOOK, Explorer
from page.inputs import MOST_SAMPLES, RefusedError, gradient_settings, refusal
from page.parts import (
    AT_ONCE,
    HIDDEN,
    LATEST,
    Outputs,
    following,
    line,
    text_of,
    toast,
    told,
    visitor_of,
)
from page.runs import ModelRoom, Run, Visitors, streamed
from records.grad_cam import GradCam
from records.layers import NAMED_LAYERS, Layers
from records.targets import Target
from report.layers import Style, layer_grid
from utils import Stopped
from visualization import Look

SHOWN = {
    "grad-cam": "Grad-CAM: where features that raise the score are",
    "gradient-norm": "gradient norm: whose features would change it",
}
STOPPED = "Stopped: there is no map."
# Layer and look are read where they are: an event that had to wait carries those of the one before it.
ENLARGED = f"""(run, layer, drawn, look) => {{
  const picked = document.querySelector('#cam .tile[aria-pressed="true"]');
  return [run, picked ? Number(picked.dataset.layer) : null, drawn, ({LOOK})()];
}}"""


@dataclass(frozen=True)
class Around:
    """What the tab needs of the page around it."""

    room: ModelRoom
    visitors: Visitors
    run_id: Any  # the components: the answer at hand, the word picked,
    token: Any
    seed: Any
    explorer: Explorer  # says how maps are drawn


class GradCamTab:
    """The tab's components, and their callbacks once it is wired."""

    around: Around

    def __init__(self) -> None:
        """Add the components to the blocks that are being built."""
        self.stopping = gr.State(None)  # the event that stops the computation which was begun last
        self.layer = gr.Number(None, visible=False)  # the layer that is enlarged; see ENLARGED
        self.drawn = gr.State(None)  # how the small pictures were drawn
        with gr.Group(elem_classes="cam_ask"):
            self._ask()
        with gr.Row(elem_id="cam_go"):
            self.start = gr.Button("Run", variant="primary", elem_id="cam_run")
            self.stop = gr.Button("Stop", elem_id="cam_stop", interactive=False)
        self.problem = line("", "cam_problem", "alert")
        self.shown = gr.HTML(
            {"state": "empty"},
            html_template=text_of("gradcam.html"),
            js_on_load=text_of("gradcam.js"),
            apply_default_css=False,
            tiles=[],
            picked=None,
            elem_id="cam",
        )
        self.overlay = gr.Image(
            type="pil",
            format="png",
            interactive=False,
            show_label=False,
            container=False,
            buttons=["download", "fullscreen"],
            alt_text="The picture under the Grad-CAM of one layer",
            elem_id="cam_overlay",
        )
        self.caption = line("", "cam_caption")
        gr.HTML(NOTE, elem_id="cam_note", elem_classes="note", js_on_load=None)
        self.pictures = [self.shown, self.drawn, self.overlay, self.caption]
        self.outputs = [*self.pictures, self.problem, self.stop, self.stopping]

    def _ask(self) -> None:
        self.target = gr.Radio(
            [(label, kind) for kind, label in TARGETS.items()],
            value="word",
            label="What is explained",
            elem_id="cam_target",
        )
        self.text = gr.Textbox(
            label="Text to explain: why would it say this?",
            placeholder="such as: A red circle.",
            max_lines=3,
            elem_id="cam_text",
        )
        self.place = gr.Radio(
            [(label, place) for place, label in PLACES.items()],
            value="answer",
            label="The text stands",
            elem_id="cam_place",
        )
        self.other = gr.Textbox(
            label="The word picked above, rather than",
            placeholder="such as: blue",
            max_lines=1,
            elem_id="cam_other",
        )
        self.method = gr.Radio(
            [(label, name) for name, label in SHOWN.items()],
            value="grad-cam",
            label="What is shown of the gradient",
            info="On the bundled model the gradient norm found the object far more often: see README.md",
            elem_id="cam_method",
        )
        with gr.Row(elem_id="cam_numbers"):
            self.layers = gr.Dropdown(
                list(NAMED_LAYERS),
                value="auto",
                allow_custom_value=True,
                label="Layers: or type 0-3,5",
                min_width=120,
                elem_id="cam_layers",
            )
            self.samples = gr.Slider(
                1,
                MOST_SAMPLES,
                config.GRADCAM_SAMPLES,
                step=1,
                label="Samples",
                min_width=120,
                elem_id="cam_samples",
            )
            self.noise = gr.Slider(
                0,
                max(1.0, config.GRADCAM_NOISE),
                config.GRADCAM_NOISE,
                step=0.05,
                label="Noise",
                min_width=120,
                elem_id="cam_noise",
            )

    # Which callback hears what

    def wire(self, around: Around) -> None:
        """Connect the components with each other and with the page around them."""
        self.around = around
        asked = [self.target, around.token, self.text, self.place, self.other, self.layers]
        asked += [self.method, self.samples, self.noise, around.seed]
        drawing = [around.run_id, self.layer, self.drawn, around.explorer.look]
        begun = gr.on(
            [self.start.click, self.text.submit, self.other.submit],
            self.on_start,
            [around.run_id, *asked],
            self.outputs,
            concurrency_limit=None,
            **HIDDEN,
        )
        computed = begun.success(
            self.on_run,
            [around.run_id, self.stopping, *asked],
            self.outputs,
            concurrency_limit=None,
            **HIDDEN,
        )
        computed.success(self.on_draw, drawing, self.pictures, js=ENLARGED, **AT_ONCE)
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        # One event for another layer and another look: what is shown is then never of two different moments.
        self.shown.click(self.on_draw, drawing, self.pictures, js=ENLARGED, **LATEST)

    def wire_api(self, button: gr.Button, picture: Any, facts: Any, drawing: Sequence[Any]) -> None:
        """Add /gradcam for `gradio_client`, about the session's own answer."""
        with gr.Group(visible=False):
            target = gr.Textbox(
                "all", label="target", info='"all", "3", "word:2", "text:a fish", "contrast:red/blue"'
            )
            at = gr.Textbox("", label="at", info="token of the answer where text: or contrast: stands")
            layers = gr.Textbox("auto", label="layers", info='"auto", "late", "all", or such as "0-3,5"')
        asked = [target, at, layers, self.method, self.samples, self.noise, self.around.seed]
        button.click(
            self.for_api,
            [*asked, *drawing, self.around.run_id],
            [picture, facts],
            api_name="gradcam",
            preprocess=False,
            concurrency_limit=None,
        )

    # Callbacks: guard, call, format

    def blank(self, state: str = "empty") -> Outputs:
        """Return the tab without a result."""
        return {
            self.shown: gr.HTML({"state": state}, tiles=[], picked=None),
            self.drawn: None,
            self.overlay: None,
            self.caption: "",
            self.problem: "",
            self.stop: gr.Button(interactive=state == "waiting"),
            self.stopping: None,
        }

    def on_start(self, request: gr.Request, run_id: Any, *asked: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be explained, before any waiting for the model."""
        try:
            visitor = visitor_of(request)
            self.question(visitor, run_id, *asked)
        except Exception as error:
            reason = refusal(error)
            yield {self.problem: reason}
            raise toast(reason) from None
        yield self.blank("waiting") | {self.stopping: self.around.visitors.begin(visitor)}

    def on_run(self, request: gr.Request, run_id: Any, stop: Any, *asked: Any) -> Iterator[Outputs]:
        """Compute the maps, and keep them with the answer."""
        visitor, visitors, start = visitor_of(request), self.around.visitors, time.monotonic()
        if not isinstance(stop, threading.Event) or not visitors.waits(visitor, stop):
            return  # the page was closed, or asked something else
        progress: dict[str, Any] = {"state": "computing", "done": 0, "count": 0}

        def so_far(changes: dict[str, Any] | None) -> Outputs:
            progress.update(changes or {})
            if not visitors.waits(visitor, stop):
                return gr.skip()  # the tab is blank again
            return {self.shown: progress | {"seconds": time.monotonic() - start}}

        try:
            run, layers, target, noise = self.question(visitor, run_id, *asked)
            run.cam = None  # also if this one is stopped: what is shown and what is kept agree
            run.cam = yield from following(self.computing(run, layers, target, noise, stop), so_far)
            if not visitors.waits(visitor, stop):
                yield gr.skip()
                return
            yield {
                self.shown: {**finished(run.cam), "seconds": time.monotonic() - start},
                self.stop: gr.Button(interactive=False),
                self.stopping: None,
            }
        except Stopped:
            # Gradio shows the last item once more at the end: it must not be that of a tab now blank.
            waits = visitors.waits(visitor, stop)
            yield {**self.blank(), self.problem: STOPPED} if waits else gr.skip()
        except Exception as error:
            reason = refusal(error)
            yield {**self.blank(), self.problem: reason}
            raise toast(reason) from None
        finally:
            visitors.end(visitor, stop)

    def on_stop(self, request: gr.Request) -> None:
        """End the computation after the passes at hand."""
        with told():
            self.around.visitors.stop(visitor_of(request))

    def on_draw(self, request: gr.Request, run_id: Any, layer: Any, drawn: Any, look: Any) -> Outputs:
        """Enlarge a layer; draw the small pictures too where they are not drawn like this yet."""
        with told():
            run = self.shown_run(request, run_id)
            if run is None or run.cam is None:
                return gr.skip()
            layer = layer if isinstance(layer, int) else first_layer(run.cam)
            drawing = style(look)
            outputs = self.picture(run, layer, drawing)
            if drawn != drawing:
                outputs[self.shown] = gr.HTML(tiles=tiles(run, drawing), picked=layer)
                outputs[self.drawn] = drawing
            return outputs

    def shown_run(self, request: gr.Request, run_id: Any) -> Run | None:
        """Return the visitor's answer if there is one with a Grad-CAM."""
        if not isinstance(run_id, str):
            return None
        run = self.around.visitors.run(visitor_of(request), run_id)
        return run if run.cam is not None else None

    def picture(self, run: Run, layer: int, drawing: Style) -> Outputs:
        """Return one layer enlarged, and the line beneath it."""
        assert run.cam is not None
        alt = f"The picture under the Grad-CAM of layer {layer}, explaining {run.cam.target}"
        return {
            self.overlay: gr.Image(enlarged(run, layer, drawing), alt_text=alt),
            self.caption: caption(run.cam, layer),
        }

    def question(
        self,
        visitor: str,
        run_id: Any,
        kind: Any,
        key: Any,
        text: Any,
        place: Any,
        other: Any,
        layers: Any,
        *settings: Any,
    ) -> tuple[Run, Layers, Target, dict[str, Any]]:
        """Return the answer, and what is asked about it, checked as far as it goes without the model."""
        if not isinstance(run_id, str):
            raise RefusedError("There is no answer to explain yet: press Generate first.")
        run = self.around.visitors.run(visitor, run_id)
        chosen = layers_of(run, layers)
        return run, chosen, target_of(run, kind, key, text, place, other), gradient_settings(*settings)

    def computing(
        self, run: Run, layers: Layers, target: Target, settings: dict[str, Any], stop: threading.Event
    ) -> Generator[dict[str, Any] | None, None, GradCam]:
        """Yield how far it is: people ahead, or passes done and passes in all; return the maps."""

        def work(put: Callable[[dict[str, Any]], None]) -> GradCam:
            def tell(done: int, count: int) -> None:
                put({"state": "computing", "done": done, "count": count})

            def wait(ahead: int) -> None:
                put({"state": "waiting", "ahead": ahead})

            return self.around.room.grad_cam(run, layers, target, settings, tell, stop, wait)

        return streamed(work)

    # The API

    def for_api(
        self,
        request: gr.Request,
        target: str,
        at: str,
        layers: str,
        method: str,
        samples: float,
        noise: float,
        seed: float,
        colormap: str,
        alpha: float,
        view: str,
        cells: str,
        scale: str,
        run_id: Any,
    ) -> Iterator[tuple[Any, Any]]:
        """Explain the session's answer: its layers in one picture, and the maps (layer, h, w)."""
        with told(plain=True):
            visitor, visitors = visitor_of(request), self.around.visitors
            if not isinstance(run_id, str):
                raise RefusedError("Call /generate first, with the same client.")
            run, drawing = (
                visitors.run(visitor, run_id),
                Style(Look(colormap, alpha, view, cells == "smooth"), scale),
            )
            asked = (layers_of(run, layers), typed_target(run, str(target), str(at)))
            settings = gradient_settings(method, samples, noise, seed)
            stop = visitors.begin(visitor)
            try:
                cam = yield from following(
                    self.computing(run, *asked, settings, stop),
                    lambda changes: (gr.skip(), {**changes, "finished": False} if changes else gr.skip()),
                )
                yield layer_grid(cam, run.picture, "grid", drawing.look_at(cam)), described(cam)
            except Stopped:
                raise RefusedError(STOPPED) from None
            finally:
                visitors.end(visitor, stop)


NOTE = """
<details open>
<summary>How to read this, and what it does not prove</summary>
<ul>
<li>Each small picture is one layer. The score is the sum of the logits of what is explained, or for two words
their difference.</li>
<li>Grad-CAM lights visual tokens with features that raise the score on average, wherever they are: for one
blue thing often all blue things. What lowers it is cut off. The gradient norm lights visual tokens whose own
features would change the score most, up or down.</li>
<li>The numbers have no unit and can differ a lot between layers. With a scale of its own even a very weak map
shows all colours: look at the range below each, or choose one scale for all.</li>
<li>The vision tower has mixed the picture before the first layer: a cell can carry what stands
elsewhere.</li>
<li>Layers can disagree, and the map is a first-order estimate. A bright cell is a hint to check, for instance
by covering that part of the picture, and no proof.</li>
<li>The last layer has no map: nothing reads its features of the picture.</li>
</ul>
</details>
"""

"""The Grad-CAM tab: its components in reading order, and what happens when something is clicked.

Goes in: the answer at hand and what a person chooses. Comes out: a small picture of each layer, and one of
them enlarged. What is computed and drawn stands in `page/cams.py`.
"""

from collections.abc import Iterator
from typing import Any

import gradio as gr

import config
from page.around import Around
from page.cams import (
    PLACES,
    TARGETS,
    Asked,
    asked_of,
    caption,
    enlarged,
    finished,
    first_layer,
    shown_part,
    state_of,
    style,
    tiles,
)
from page.explorer import Explorer
from page.in_browser import LOOK, STATE
from page.inputs import MOST_SAMPLES
from page.jobs import Job, Shown, refusing
from page.parts import AGAIN, AT_ONCE, LATEST, Outputs, line, text_of, told, visitor_of
from page.sessions import Run
from records.grad_cam import GradCam
from records.layers import NAMED_LAYERS

SHOWN = {
    "grad-cam": "Grad-CAM: where features that raise the score are",
    "gradient-norm": "gradient norm: whose features would change it",
}
STOPPED = "Stopped: there is no map."
NO_ANSWER = "There is no answer to explain yet: ask something first."
# Layer and look are read where they are: an event that had to wait carries those of the one before it.
ENLARGED = f"""(run, layer, drawn, look) => {{
  const picked = document.querySelector('#cam .tile[aria-pressed="true"]');
  const shown = {{ ...({LOOK})(), plane: {STATE}?.plane }};
  return [run, picked ? Number(picked.dataset.layer) : null, drawn, shown];
}}"""


class GradCamTab:
    """The tab's components, and their callbacks once it is wired."""

    around: Around
    seed: Any  # the component of the generation settings

    def __init__(self) -> None:
        """Add the components to the blocks that are being built."""
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
        self.outputs = [*self.pictures, self.problem, self.stop]

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

    def wire(self, around: Around, explorer: Explorer, seed: Any) -> None:
        """Connect the components with each other and with the page around them."""
        self.around, self.seed = around, seed
        asked = [self.target, explorer.token, self.text, self.place, self.other, self.layers]
        asked += [self.method, self.samples, self.noise, seed]
        drawing = [around.run_id, self.layer, self.drawn, explorer.look]
        computed = gr.on(
            [self.start.click, self.text.submit, self.other.submit],
            self.on_run,
            [around.run_id, *asked],
            self.outputs,
            **AGAIN,
        )
        computed.success(self.on_draw, drawing, self.pictures, js=ENLARGED, **AT_ONCE)
        self.on_stop = around.jobs.stopper("grad-cam")
        self.stop.click(self.on_stop, None, None, **AT_ONCE)
        # One event for another layer and another look: what is shown is then never of two different moments.
        self.shown.click(self.on_draw, drawing, self.pictures, js=ENLARGED, **LATEST)

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
        }

    def on_run(self, request: gr.Request, run_id: Any, *form: Any) -> Iterator[Outputs]:
        """Refuse at once what cannot be explained; compute the maps, and keep them with the answer."""

        def checked() -> tuple[str, Run, Asked]:
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            return visitor, run, asked_of(run, form)

        visitor, run, asked = yield from refusing(lambda reason: {self.problem: reason}, checked)

        def work(job: Job) -> GradCam:
            run.cam = None  # also if this one is stopped: what is shown and what is kept agree
            return asked.computed(self.around.room, run, job)

        def done(cam: GradCam, seconds: float) -> Outputs:
            run.cam = cam
            return {
                self.shown: {**finished(cam), "seconds": seconds},
                self.stop: gr.Button(interactive=False),
            }

        shown = Shown(
            begun=self.blank("waiting"),
            so_far=lambda progress: {self.shown: {**state_of(progress), "seconds": progress.seconds}},
            done=done,
            stopped=lambda: {**self.blank(), self.problem: STOPPED},
            failed=lambda reason: {**self.blank(), self.problem: reason},
            left=lambda parts: {} if parts & {"answer", "grad-cam"} else self.blank(),
        )
        yield from self.around.jobs.run(visitor, "grad-cam", work, shown)

    def on_draw(self, request: gr.Request, run_id: Any, layer: Any, drawn: Any, look: Any) -> Outputs:
        """Enlarge a layer; draw the small pictures too where they are not drawn like this yet."""
        with told():
            run = self.around.own(request, run_id)
            if run is None or run.cam is None:
                return gr.skip()
            layer = layer if isinstance(layer, int) else first_layer(run.cam)
            drawing = style(look)
            cam, picture = shown_part(run, run.cam, look.get("plane") if isinstance(look, dict) else None)
            large = self.around.files.drawn(visitor_of(request), enlarged(cam, picture, layer, drawing))
            alt = f"The picture under the Grad-CAM of layer {layer}, explaining {cam.target}"
            outputs = {self.overlay: gr.Image(large, alt_text=alt), self.caption: caption(cam, layer)}
            if drawn != (drawing, cam.target):
                outputs[self.shown] = gr.HTML(tiles=tiles(cam, picture, drawing), picked=layer)
                outputs[self.drawn] = drawing, cam.target
            return outputs


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

"""What the page looks like: its components in reading order, its texts, colours and fonts.

Goes in: the model that is chosen, with its layers and heads. Comes out: Gradio blocks whose components are
attributes by name. Knows nothing of what happens when something is clicked.
"""

import json
from typing import Any

import gradio as gr

import config
import visualization
from drawing.colours import colormaps
from model import DEMO
from page.check_tab import CheckTab
from page.explorer import Explorer, Ranges
from page.gradcam_tab import GradCamTab
from page.inputs import MOST_NEW_TOKENS
from page.parts import HERE, heading, line, text_of
from page.reading import SCALE_LABELS
from page.recent import Recent
from page.share import Share
from page.ways import measured, table
from records.store import Store

EXAMPLES = HERE.parent / "demo" / "examples"
SIBLINGS = ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-32B-Instruct", "Qwen/Qwen2.5-VL-72B-Instruct")


class Layout:
    """The components of the page."""

    def __init__(self, chosen: str, status: str, layers: int, heads: int, store: Store) -> None:
        """Build the blocks for the model `chosen`; `status` is the line beside it."""
        with gr.Blocks(
            title="Where each word looks",
            fill_width=True,
            analytics_enabled=False,
            delete_cache=(3600, 86400),
        ) as self.blocks:
            self.run_id = gr.State(None)
            self.counts = gr.State(None)  # (layers, heads) that the sliders stand for
            gr.HTML(HEAD, elem_id="head", js_on_load=None)
            self._model_bar(chosen, status)
            self.explorer = Explorer()
            self.recent = Recent(store)
            with gr.Row(elem_id="bench"):
                with gr.Column(elem_id="ask"):
                    self._ask()
                    with gr.Accordion("Recent answers", open=False, elem_id="recent_panel"):
                        self.recent.add_list()
                with gr.Column(elem_id="show"):
                    self._show()
                with gr.Column(elem_id="look"):
                    heading("Shown")
                    self.explorer.add_list()
                    self.ranges = Ranges.made(layers, heads)
                    heading("Share")
                    self.share = Share()
            with gr.Group(visible=False):
                self._for_api()
        self.settings: list[Any] = [self.max_new_tokens, self.temperature, self.top_p, self.seed]
        self.looks: list[Any] = [
            self.api_aggregation,
            self.api_colormap,
            self.api_alpha,
            self.api_view,
            self.api_cells,
            self.api_scale,
        ]

    def _model_bar(self, chosen: str, status: str) -> None:
        names = dict.fromkeys([chosen, DEMO, config.MODEL_NAME, *SIBLINGS])
        with gr.Row(elem_id="model_bar"):
            heading("1 · Model")
            self.model = gr.Dropdown(
                [("demo (bundled, tiny)" if name == DEMO else name, name) for name in names],
                value=chosen,
                allow_custom_value=True,
                label="Model: a name from the list, any Qwen2.5-VL on the Hugging Face hub, or a folder",
                container=False,
                elem_id="model",
            )
            self.load = gr.Button("Load", elem_id="load", size="md")
            self.status = line(status, "status")

    def _ask(self) -> None:
        heading("2 · Picture and question")
        self.image = gr.Image(
            type="filepath",
            image_mode=None,
            sources=["upload", "clipboard"],
            label="Picture",
            buttons=[],
            elem_id="image",
            height=260,
        )
        self.prompt = gr.Textbox(
            "Describe this image.",
            label="Question",
            lines=2,
            max_lines=6,
            max_length=None,
            elem_id="prompt",
        )
        with gr.Row(elem_id="go"):
            self.generate = gr.Button("Generate", variant="primary", elem_id="generate")
            self.stop = gr.Button("Stop", elem_id="stop", interactive=False)
        self.problem = line("", "problem", "alert")
        self._examples()
        with gr.Accordion("Generation settings", open=False, elem_id="generation"):
            self.max_new_tokens = gr.Slider(
                1,
                MOST_NEW_TOKENS,
                config.MAX_NEW_TOKENS,
                step=1,
                label="Max new tokens",
                elem_id="max_new_tokens",
            )
            self.temperature = gr.Slider(
                0,
                max(2.0, config.TEMPERATURE),
                config.TEMPERATURE,
                step=0.05,
                label="Temperature",
                info="0 always takes the likeliest token",
                elem_id="temperature",
            )
            self.top_p = gr.Slider(0.05, 1, config.TOP_P, step=0.05, label="Top-p", elem_id="top_p")
            self.seed = gr.Number(config.SEED, precision=0, minimum=0, label="Seed", elem_id="seed")
            self.reuse = gr.Checkbox(
                True,
                label="Answer at once what was asked before",
                info="from cache/; without it the model answers again",
                elem_id="reuse",
            )

    def _examples(self) -> None:
        shown = examples()
        if shown:
            gr.Examples(
                [[path, prompt] for path, prompt in shown],
                [self.image, self.prompt],
                label="Or start from one of these, with its question",
                elem_id="examples",
                visible_columns=[0],
                cache_examples=False,
                api_visibility="private",
            )

    def _show(self) -> None:
        heading("3 · Answer")
        self.reading = gr.HTML(
            {"state": "empty"},
            html_template=text_of("reading.html"),
            js_on_load=text_of("reading.js"),
            apply_default_css=False,
            elem_id="reading",
        )
        with gr.Tabs(elem_id="ways"):
            with gr.Tab("Words", elem_id="attention_tab", render_children=True):
                self.explorer.add_viewer()
                gr.HTML(NOTE, elem_id="note", elem_classes="note", js_on_load=None)
            with gr.Tab("Grad-CAM by layer", elem_id="gradcam_tab", render_children=True):
                self.gradcam = GradCamTab()
            with gr.Tab("Check", elem_id="check_tab", render_children=True):
                self.check = CheckTab()
                if measured():
                    gr.HTML(f"{MEASURED_HELP}{table()}", elem_id="measured", js_on_load=None)

    def _for_api(self) -> None:
        """Add what calls from outside have and the page has not."""
        self.api_token = gr.Textbox("0", label="token", info='"3", "0-2,5", "all"; of the question "p0"')
        self.api_layers = gr.Textbox("all", label="layers", info='"all" or such as "0-3,-1"')
        self.api_heads = gr.Textbox("all", label="heads", info='"all" or such as "0-3"')
        self.api_aggregation = gr.Radio(list(SCALE_LABELS), value=config.AGGREGATION)
        self.api_colormap = gr.Dropdown(colormaps(), value=config.HEATMAP_COLORMAP)
        self.api_alpha = gr.Slider(0, 1, config.HEATMAP_ALPHA)
        self.api_view = gr.Radio(list(visualization.VIEWS), value=config.HEATMAP_VIEW)
        self.api_cells = gr.Radio(["cells", "smooth"], value="smooth" if config.HEATMAP_SMOOTH else "cells")
        self.api_scale = gr.Radio(["own", "shared"], value=config.HEATMAP_SCALE)
        self.api_facts = gr.JSON(label="facts")
        self.api_picture = gr.Image(type="pil", format="png", label="picture")
        self.api_button = gr.Button()


# --- Small things ---


def examples() -> list[list[str]]:
    """Return [picture, prompt] of each bundled example that is there."""
    listed = EXAMPLES / "examples.json"
    if not listed.is_file():
        return []
    entries = json.loads(listed.read_text(encoding="utf-8"))
    return [[str(EXAMPLES / entry["image"]), entry["prompt"]] for entry in entries]


FONTS = ["system-ui", "-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace"]


def theme() -> gr.themes.Base:
    """Return the page's colours and fonts: fonts of the system only, and texts that can be read."""
    plain = gr.themes.Default(primary_hue="teal", neutral_hue="slate", font=FONTS, font_mono=MONO)
    return plain.set(
        body_text_color_subdued="*neutral_500",
        body_text_color_subdued_dark="*neutral_400",
        block_info_text_color="*neutral_500",
        block_info_text_color_dark="*neutral_400",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
    )


HEAD = """
<h1>Where each word looks</h1>
<p>Ask Qwen2.5-VL about a picture, then pick a word of its answer: the map shows where in the picture
the model's attention was when it wrote that word.</p>
"""

MEASURED_HELP = """
<h3>Which method?</h3>
<p>How often each found the thing that a word names, on scenes of the bundled model whose things are known
(measured by <code>python cli.py evaluate</code>; README.md says more). Centre prior, random and uniform know
nothing of the answer: a figure means little without them.</p>
"""

NOTE = """
<details>
<summary>How to read this, and what it does not prove</summary>
<ul>
<li>One cell is one visual token. Its colour is the share of attention that went there when the word was about
to be written, over the layers and heads chosen. The numbers are on the colour bar: with a scale of its own,
even a nearly flat map shows all colours.</li>
<li>Much of the attention goes elsewhere: the line under the picture says how much was on it at all.</li>
<li>Corners and borders often light up whatever the word is. Such cells soak up attention and say little.</li>
<li>Attention shows where the model read from, not why it wrote the word. A bright cell is a hint to check,
for instance by covering that part of the picture, and no proof.</li>
</ul>
</details>
"""

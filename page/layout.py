"""What the page looks like: its components in reading order, its texts, colours and fonts.

Goes in: the model that is chosen, with its layers and heads. Comes out: Gradio blocks whose components are
attributes by name. Knows nothing of what happens when something is clicked.
"""

import json
from html import escape
from typing import Any

import gradio as gr

import config
from evaluation.measured import figure_text, measured, ranked
from model import DEMO
from page.check_tab import CheckTab
from page.explorer import Explorer, Ranges
from page.gradcam_tab import GradCamTab
from page.inputs import MOST_NEW_TOKENS
from page.parts import HERE, heading, line, text_of
from page.recent import Recent
from page.share import Share
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
        self.settings: list[Any] = [self.max_new_tokens, self.temperature, self.top_p, self.seed]

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
        self.answer_state = gr.HTML(
            {"state": "empty"},
            html_template=text_of("answering.html"),
            js_on_load=text_of("answering.js"),
            apply_default_css=False,
            elem_id="answering",
        )
        with gr.Tabs(elem_id="tabs"):
            with gr.Tab("Words", elem_id="attention_tab", render_children=True):
                self.explorer.add_viewer()
                gr.HTML(NOTE, elem_id="note", elem_classes="note", js_on_load=None)
            with gr.Tab("Grad-CAM by layer", elem_id="gradcam_tab", render_children=True):
                self.gradcam = GradCamTab()
            with gr.Tab("Check", elem_id="check_tab", render_children=True):
                self.check = CheckTab()
                if measured():
                    gr.HTML(f"{MEASURED_HELP}{measured_table()}", elem_id="measured", js_on_load=None)


# --- Small things ---


def examples() -> list[list[str]]:
    """Return [picture, prompt] of each bundled example that is there."""
    listed = EXAMPLES / "examples.json"
    if not listed.is_file():
        return []
    entries = json.loads(listed.read_text(encoding="utf-8"))
    return [[str(EXAMPLES / entry["image"]), entry["prompt"]] for entry in entries]


def measured_table() -> str:
    """Return the measured figures as an HTML table, the best at the pointing game first."""
    known = [name for name in COLUMNS if all(name in figures for figures in measured().values())]
    head = "".join(f"<th>{escape(COLUMNS[name])}</th>" for name in known)
    rows = ""
    for label, figures in ranked():
        cells = "".join(f"<td>{figure_text(name, figures[name])}</td>" for name in known)
        rows += f"<tr><td>{escape(label)}</td>{cells}</tr>"
    return f"<table><thead><tr><th>map</th>{head}</tr></thead><tbody>{rows}</tbody></table>"


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


COLUMNS = {
    "pointing": "hottest cell on the object",
    "energy": "of the map on the object",
    "f1_iou": "F1-IoU",
    "deletion": "deletion AUC (low is good)",
    "forward": "forward passes",
    "backward": "backward passes",
    "seconds": "seconds",
}

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

"""What the page looks like: its components in reading order, its texts, colours and fonts.

Goes in: the model that is chosen. Comes out: Gradio blocks whose components are attributes by name. Knows
nothing of what happens when something is clicked.

The viewer has room for some of these components: `explorer.js` puts them there.
"""

from typing import Any

import gradio as gr

import config
from model import DEMO, FAMILIES
from model.families import known_families
from page.calls import Calls
from page.explorer import Explorer
from page.gradcam_tab import GradCamTab
from page.inputs import MOST_NEW_TOKENS
from page.model_room import Loaded
from page.parts import heading, line, text_of
from page.recent import Recent
from page.share import Share
from page.sources import Sources
from page.verify import Verify
from records.store import Store

SIBLINGS = ("Qwen/Qwen2.5-VL-7B-Instruct", "Qwen/Qwen2.5-VL-32B-Instruct", "Qwen/Qwen2.5-VL-72B-Instruct")
TOY_QUESTIONS = ("What color is the fish?", "Where is the boat?", "How many things are there?")
QUESTIONS = ("What stands out?", "What is written there?", "What is in the background?")


class Layout:
    """The components of the page."""

    def of_model(self, name: str, loaded: Loaded | None) -> dict[Any, Any]:
        """Return what is said and offered for a model: the bundled one knows toy scenes and nothing else."""
        is_demo = name == DEMO
        thinking = loaded.thinking if loaded else "never"
        by_checkpoint = f"This checkpoint: {loaded.generation}." if loaded else ""
        if thinking == "always":
            by_checkpoint += " It always thinks aloud before it answers."
        return {
            self.by_checkpoint: by_checkpoint,
            self.thinking: gr.Checkbox(visible=thinking == "asked"),
            self.toys: gr.HTML(visible=is_demo),
            self.suggestions: list(TOY_QUESTIONS if is_demo else QUESTIONS),
        }

    def __init__(self, chosen: str, status: str, store: Store) -> None:
        """Build the blocks for the model `chosen`; `status` is the line beside it."""
        with Calls(
            title="Where each word looks",
            fill_width=True,
            fill_height=True,
            analytics_enabled=False,
            delete_cache=(3600, 86400),
        ) as self.blocks:
            self.run_id = gr.State(None)
            self.follows = gr.JSON(visible=False)  # the id of the answer that the question follows
            self.explorer = Explorer()
            self.recent = Recent(store)
            with gr.Row(elem_id="strip"):
                self._strip(chosen, status)
            self._menus()
            self.explorer.add_viewer()
            with gr.Column(elem_id="ask"):
                self._ask()
            self.explorer.add_list()
            with gr.Column(elem_id="gradcam_box"):
                heading("Grad-CAM, layer by layer")
                self.gradcam = GradCamTab()
        own = [self.temperature, self.top_p, self.top_k, self.repetition_penalty]
        self.settings: list[Any] = [
            self.given,
            self.follows,
            self.system,
            self.max_new_tokens,
            self.seed,
            self.generation,
            self.thinking,
            *own,
        ]

    def _strip(self, chosen: str, status: str) -> None:
        gr.HTML(LOGO, elem_id="logo", js_on_load=None)
        published = [family.example for family in FAMILIES.values()]
        names = dict.fromkeys([chosen, DEMO, config.MODEL_NAME, *SIBLINGS, *published])
        self.proposed = tuple(names)
        self.model = gr.Dropdown(
            [("demo (tiny: toy scenes only)" if name == DEMO else name, name) for name in names],
            value=chosen,
            allow_custom_value=True,
            label=f"Model: a name from the list, any {known_families()} on the Hugging Face hub, a folder, "
            "or base + adapter for a LoRA",
            show_label=False,
            container=False,
            elem_id="model",
        )
        self.load = gr.Button("Load", elem_id="load", size="sm")
        self.status = line(status, "status")
        gr.HTML(
            text_of("strip.html"), js_on_load=text_of("strip.js"), elem_id="menu_bar", apply_default_css=False
        )

    def _menus(self) -> None:
        with gr.Column(elem_id="recent_menu", elem_classes="menu"):
            heading("Recent answers")
            self.recent.add_list()
        with gr.Column(elem_id="share_menu", elem_classes="menu"):
            heading("Take it away as a file")
            self.share = Share()
        with gr.Column(elem_id="help_menu", elem_classes="menu"):
            gr.HTML(HELP, elem_id="note", js_on_load=None)
            self.verify = Verify()
        with gr.Column(elem_id="settings_menu", elem_classes="menu"):
            self._generation()

    def _ask(self) -> None:
        self.sources = Sources()
        self.toys = gr.HTML(TOYS, elem_id="toys", apply_default_css=False)
        with gr.Row(elem_id="question"):
            self.prompt = gr.Textbox(
                "Describe this image.",
                label="Question",
                show_label=False,
                container=False,
                placeholder="Ask about the picture",
                lines=1,
                max_lines=3,
                max_length=None,
                elem_id="prompt",
            )
            gr.HTML(SETTINGS_BUTTON, elem_id="settings_button", js_on_load=None)
            self.generate = gr.Button("Ask ↵", variant="primary", elem_id="generate")
            self.stop = gr.Button("Stop", elem_id="stop", interactive=False, visible=False)
        self.suggestions = gr.HTML(
            list(QUESTIONS),
            html_template=text_of("suggestions.html"),
            js_on_load=text_of("suggestions.js"),
            apply_default_css=False,
            elem_id="suggestions",
        )
        self.plan = gr.HTML(
            "",
            html_template='<p class="text" role="note"></p>',
            js_on_load=f"{text_of('line.js')}\n{text_of('plan.js')}",
            apply_default_css=False,
            elem_id="plan",
        )

    def _generation(self) -> None:
        heading("How it answers")
        self.generation = gr.Radio(
            [(label, name) for name, label in GENERATION_LABELS.items()],
            value=config.GENERATION,
            label="Chooses its words",
            elem_id="generation",
        )
        self.by_checkpoint = line("", "by_checkpoint", role="note")
        self.thinking = gr.Checkbox(
            config.THINKING,
            label="Think aloud first",
            info="its thoughts are part of the answer, folded; they need many more new tokens",
            visible=False,
            elem_id="thinking",
        )
        with gr.Column(elem_id="own_values", visible=config.GENERATION == "own") as self.own_values:
            self._own_values()
        self.max_new_tokens = gr.Slider(
            1,
            MOST_NEW_TOKENS,
            config.MAX_NEW_TOKENS,
            step=1,
            label="Max new tokens",
            elem_id="max_new_tokens",
        )
        self.seed = gr.Number(
            config.SEED, precision=0, minimum=0, label="Seed", info="of the draw", elem_id="seed"
        )
        self.reuse = gr.Checkbox(
            True,
            label="Answer at once what was asked before",
            info="from cache/; without it the model answers again",
            elem_id="reuse",
        )
        self.system = gr.Textbox(
            "",
            label="System prompt",
            info="what the model is told before the question; empty: what its chat template has",
            lines=2,
            max_lines=6,
            max_length=None,
            elem_id="system",
        )
        self.given = gr.Textbox(
            "",
            label="Explain this answer instead",
            info="one that was written elsewhere: the model reads it and writes none",
            lines=2,
            max_lines=6,
            elem_id="given",
        )

    def _own_values(self) -> None:
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
        self.top_k = gr.Number(
            config.TOP_K, precision=0, minimum=0, label="Top-k", info="0: of all tokens", elem_id="top_k"
        )
        self.repetition_penalty = gr.Slider(
            1,
            max(2.0, config.REPETITION_PENALTY),
            config.REPETITION_PENALTY,
            step=0.01,
            label="Repetition penalty",
            info="1 changes nothing",
            elem_id="repetition_penalty",
        )


# --- Small things ---

GENERATION_LABELS = {
    "checkpoint": "as the checkpoint says",
    "greedy": "the likeliest each time",
    "own": "by my own values",
}


FONTS = ["-apple-system", "Segoe UI", "Roboto", "Helvetica Neue", "Arial", "sans-serif"]
MONO = ["ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "Liberation Mono", "monospace"]


def theme() -> gr.themes.Base:
    """Return the page's colours and fonts: fonts of the system only, and texts that can be read."""
    plain = gr.themes.Default(primary_hue="orange", neutral_hue="zinc", font=FONTS, font_mono=MONO)
    return plain.set(
        body_text_color="#17181c",
        body_text_color_dark="#f3f3f0",
        body_text_color_subdued="#5a5d66",
        body_text_color_subdued_dark="#a2a4ad",
        block_info_text_color="#5a5d66",
        block_info_text_color_dark="#a2a4ad",
        body_background_fill="#ffffff",
        body_background_fill_dark="#17171b",
        block_background_fill="#ffffff",
        block_background_fill_dark="#17171b",
        border_color_primary="#dcddd7",
        border_color_primary_dark="#34343c",
        input_background_fill="#ffffff",
        input_background_fill_dark="#17171b",
        button_primary_background_fill="#17181c",
        button_primary_background_fill_hover="#33353c",
        button_primary_background_fill_dark="#f3f3f0",
        button_primary_background_fill_hover_dark="#d8d8d4",
        button_primary_text_color="#ffffff",
        button_primary_text_color_dark="#17181c",
        slider_color="#fa7b0a",
        slider_color_dark="#ff8a1f",
    )


LOGO = '<div class="logo"><span aria-hidden="true"></span><h1>Where each word looks</h1></div>'

SETTINGS_BUTTON = (
    '<button type="button" class="settings-button" data-menu="settings_menu" aria-haspopup="true" '
    'aria-expanded="false" aria-label="How it answers" title="How it answers">'
    '<svg viewBox="0 0 20 20" aria-hidden="true"><path d="M3 6h14M3 14h14"/>'
    '<circle cx="12.5" cy="6" r="2.4"/><circle cx="7.5" cy="14" r="2.4"/></svg></button>'
)

TOYS = (
    '<p class="toys">This small model knows <strong>toy scenes like these</strong> and nothing else. '
    'For photos, <button type="button">load Qwen2.5-VL 3B</button>.</p>'
)

HELP = """
<h2>How to read this, and what it does not prove</h2>
<ul>
<li><b>Ember</b> means <i>from the picture</i>, grey-blue <i>from language</i>.</li>
<li>The picture glows where the map of the picked word is strong. An even share or less is clear. The outline
holds half of the map, whatever the colours.</li>
<li>A word is underlined by how much likelier it was with the picture than without it, after the words that
were really said before it.</li>
<li>One patch is one piece of what the model is given. The picture is mixed before the first layer, so a
patch can carry what stands elsewhere; corners and borders often light up whatever the word is.</li>
<li>A map shows where a word <i>may</i> come from and is no proof. <b>Test it</b>: if hiding its hottest
patches does no more than hiding others, it says little.</li>
</ul>
<h2>Keys</h2>
<ul class="keys">
<li><kbd>←</kbd> <kbd>→</kbd> another word, with <kbd>Shift</kbd> several,
<kbd>Esc</kbd> the whole answer</li>
<li><kbd>[</kbd> <kbd>]</kbd> another picture or moment, <kbd>Shift</kbd>+<kbd>1</kbd>–<kbd>9</kbd> a picture,
<kbd>Space</kbd> plays a clip</li>
<li><kbd>T</kbd> test the map · <kbd>1</kbd>–<kbd>4</kbd> view ·
<kbd>F</kbd> <kbd>B</kbd> <kbd>C</kbd> Fast, Best, Causal</li>
<li><kbd>/</kbd> to the question · <kbd>Enter</kbd> or <kbd>Ctrl</kbd>+<kbd>Enter</kbd> asks,
<kbd>Shift</kbd>+<kbd>Enter</kbd> begins a new line</li>
</ul>
"""

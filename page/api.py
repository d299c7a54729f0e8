"""/generate, /heatmap and /gradcam, for `gradio_client`: each client asks about its own answer.

Goes in: what a program sends. Comes out: pictures, and facts as JSON; errors are one line. The names of the
callbacks' parameters are the API's.
"""

from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import gradio as gr

import config
from drawing.colours import colormaps
from methods import METHODS
from page import cams
from page.answering import described, state_of
from page.around import Around
from page.cams import Asked, layers_of, typed_target
from page.gradcam_tab import STOPPED, GradCamTab
from page.inputs import RefusedError, gradient_settings, whole_within
from page.jobs import Job, Part, Progress, changes
from page.layout import GENERATION_LABELS
from page.parts import told, visitor_of
from page.reading_again import read_again
from page.selection import ATTENTION, method_asked
from page.sessions import Run
from page.shown import SCALE_LABELS, caption, drawn, subject_of
from records.look import VIEWS, Look
from records.selection import parsed_selection
from report.layers import Style, layer_grid
from report.view import Subject, whole_drawing
from utils import Stopped, shown

NO_ANSWER = "Call /generate first, with the same client."

Result = TypeVar("Result")


class Api:
    """What calls from outside have and the page has not, and what answers them."""

    def __init__(self, around: Around, gradcam: GradCamTab) -> None:
        """Add the three to the blocks that are being built."""
        self.around = around
        with gr.Group(visible=False):
            button = gr.Button()
            question = [
                gr.Image(label="image"),
                gr.Textbox("Describe this image.", label="prompt"),
                *_generation(),
            ]
            facts, picture = gr.JSON(label="facts"), gr.Image(type="pil", format="png", label="picture")
            chosen, looks, method, explained = _chosen(), _looks(), _method(), _explained()
        run_id, noise = around.run_id, [gradcam.method, gradcam.samples, gradcam.noise, gradcam.seed]
        for callback, inputs, outputs in (
            (self.generate, [*question, run_id], [facts, run_id]),
            (self.heatmap, [*chosen, *looks, *method, run_id], [picture, facts]),
            (self.gradcam, [*explained, *noise, *looks[1:], run_id], [picture, facts]),
        ):
            name = callback.__name__
            button.click(callback, inputs, outputs, api_name=name, preprocess=False, concurrency_limit=None)

    def generate(
        self,
        request: gr.Request,
        image: Any,
        prompt: str,
        max_new_tokens: float = config.MAX_NEW_TOKENS,
        temperature: float | None = None,
        top_p: float | None = None,
        seed: float = config.SEED,
        generation: str | None = None,
        top_k: float | None = None,
        repetition_penalty: float | None = None,
        answer: str | None = None,
        thinking: bool | None = None,
        system: str | None = None,
        follow: bool = False,
        run_id: Any = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Answer a question about a picture and keep the answer for /heatmap; the last result is complete.

        `answer` is one that was written elsewhere: it is explained, and none is generated. With `thinking`
        the model thinks aloud first; "thoughts" in the result are these tokens. `system` is a system turn.
        With `follow` it is a question after the client's last answer, and `image`, if there is one, a further
        picture.
        """
        how = (max_new_tokens, temperature, top_p, seed, generation, top_k, repetition_penalty, thinking)
        with told(plain=True):
            visitor = visitor_of(request)
            after = self.around.asked(request, run_id, NO_ANSWER)[1] if follow else None
            named = {"answer": answer, "system": system, "after": after}
            question = self.around.answering.asked(image, prompt, *how, **named)
            run = yield from self.followed(
                visitor,
                "answer",
                lambda job: self.around.answering.answer(question, job),
                lambda progress: ({**state_of(progress), "finished": False}, gr.skip()),
                "Stopped before the answer began.",
            )
            yield described(run), self.around.sessions.keep(visitor, run)

    def heatmap(
        self,
        request: gr.Request,
        token: str,
        layers: str,
        heads: str,
        aggregation: str,
        colormap: str | None = None,
        alpha: float | None = None,
        view: str | None = None,
        cells: str | None = None,
        scale: str = config.HEATMAP_SCALE,
        method: str = ATTENTION,
        no_sinks: bool = False,
        visual: float = 0,
        run_id: Any = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Draw a token of the session's answer: the picture, and the map (h, w) with its line.

        Of a conversation with several pictures it is that numbered `visual`, from 0.
        A method that reads the answer again waits for the model like everyone else; its maps are kept with
        the answer.
        """
        with told(plain=True):
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            row = method_asked(method)
            selection = parsed_selection(
                run.capture,
                str(token),
                str(layers),
                str(heads),
                aggregation=aggregation,
                method=method,
                no_sinks=no_sinks is True,
                look=look_said(colormap, alpha, view, cells),
                scale=scale,
            )
            if row.needs_model and run.missing(method):
                yield from self.followed(
                    visitor,
                    "method",
                    lambda job: read_again(self.around, run, method, job),
                    lambda progress: (gr.skip(), {**cams.state_of(progress), "finished": False}),
                    STOPPED,
                )
            number = whole_within(visual, "visual", 0, len(run.capture.visuals) - 1)
            subject = subject_of(run, selection).choosing(visual=number)
            picture = self.around.files.drawn(visitor, drawn(run, subject))
            yield picture, heatmap_facts(run, subject)

    def gradcam(
        self,
        request: gr.Request,
        target: str,
        at: str,
        layers: str,
        method: str,
        samples: float,
        noise: float,
        seed: float,
        colormap: str | None = None,
        alpha: float | None = None,
        view: str | None = None,
        cells: str | None = None,
        scale: str = config.HEATMAP_SCALE,
        run_id: Any = None,
    ) -> Iterator[tuple[Any, Any]]:
        """Explain the session's answer: its layers in one picture, and the maps (layer, h, w).

        Of several pictures the maps are (layer, patch), and it is the picture that most of them lies on.
        """
        with told(plain=True):
            visitor, run = self.around.asked(request, run_id, NO_ANSWER)
            drawing = Style(look_said(colormap, alpha, view, cells), scale)
            asked = Asked(
                layers_of(run, layers),
                typed_target(run, str(target), str(at)),
                gradient_settings(method, samples, noise, seed),
            )
            cam = yield from self.followed(
                visitor,
                "grad-cam",
                lambda job: asked.computed(self.around.room, run, job),
                lambda progress: (gr.skip(), {**cams.state_of(progress), "finished": False}),
                STOPPED,
            )
            part, picture = cams.shown_part(run, cam)
            picture = layer_grid(part, picture, "grid", drawing.looks_at(part))
            yield self.around.files.drawn(visitor, picture), cams.described(cam)

    def followed(
        self,
        visitor: str,
        part: Part,
        work: Callable[[Job], Result],
        so_far: Callable[[Progress], tuple[Any, Any]],
        stopped: str,
    ) -> Generator[tuple[Any, Any], None, Result]:
        """Yield how far a job is, and return its result; RefusedError saying `stopped` if there is none."""
        with self.around.jobs.started(visitor, part) as job:
            try:
                return (yield from changes(job.follow(work), so_far))
            except Stopped:
                raise RefusedError(stopped) from None


def heatmap_facts(run: Run, subject: Subject) -> dict[str, Any]:
    """Return a map as /heatmap gives it."""
    selection = subject.selection
    return {
        "caption": caption(run, subject),
        "tokens": list(subject.tokens),
        "layers": list(selection.layers),
        "heads": None if selection.heads is None else list(selection.heads),
        "method": selection.method,
        "removed": list(subject.found.removed or ()),
        "map": whole_drawing(subject).values.tolist(),
    }


def _generation() -> list[Any]:
    """Add how /generate answers. A value of one's own (temperature, …) means generation "own"."""
    own = "of generation own"
    return [
        gr.Number(config.MAX_NEW_TOKENS, precision=0, label="max_new_tokens"),
        gr.Number(None, label="temperature", info=own),
        gr.Number(None, label="top_p", info=own),
        gr.Number(config.SEED, precision=0, label="seed"),
        gr.Radio(
            list(GENERATION_LABELS), value=None, label="generation", info=f"default {config.GENERATION}"
        ),
        gr.Number(None, precision=0, label="top_k", info=own),
        gr.Number(None, label="repetition_penalty", info=own),
        gr.Textbox(None, label="answer", info="one that was written elsewhere, to be explained"),
        gr.Radio([True, False], value=None, label="thinking", info="where the chat template asks"),
        gr.Textbox(None, label="system", info="a system turn before the question"),
        gr.Checkbox(False, label="follow", info="a question after the client's last answer"),
    ]


def _chosen() -> list[Any]:
    """Add what /heatmap is asked about."""
    return [
        gr.Textbox("0", label="token", info='"3", "0-2,5", "all", "answer"; of the question "p0"'),
        gr.Textbox("all", label="layers", info='"all" or such as "0-3,-1"'),
        gr.Textbox("all", label="heads", info='"all" or such as "0-3"'),
    ]


def look_said(colormap: Any, alpha: Any, view: Any, cells: Any) -> Look:
    """Return how a client wants a map drawn; what is None is `Look`'s own."""
    if cells not in (None, "cells", "smooth"):
        raise RefusedError(f'cells must be "cells" or "smooth"; got {shown(cells)}')
    smooth: Any = None if cells is None else cells == "smooth"
    return Look(colormap, alpha, view, smooth)


def _looks() -> list[Any]:
    """Add how maps are folded and drawn. What is None depends on the colours: see `Look`."""
    return [
        gr.Radio(list(SCALE_LABELS), value=config.AGGREGATION, label="aggregation"),
        gr.Dropdown(colormaps(), value=None, label="colormap", info=f"by default {config.HEATMAP_COLORMAP}"),
        gr.Number(None, label="alpha", info="0 to 1; without a colormap that of viridis"),
        gr.Radio(list(VIEWS), value=None, label="view", info=f"by default {config.HEATMAP_VIEW}"),
        gr.Radio(["cells", "smooth"], value=None, label="cells", info="glow is smooth by default"),
        gr.Radio(["own", "shared"], value=config.HEATMAP_SCALE, label="scale"),
    ]


def _method() -> list[Any]:
    """Add by what /heatmap explains."""
    return [
        gr.Dropdown(list(METHODS), value=ATTENTION, label="method", info="of the list above"),
        gr.Checkbox(False, label="no_sinks", info="leave out sinks, of attention"),
        gr.Number(0, precision=0, label="visual", info="which picture of a conversation, from 0"),
    ]


def _explained() -> list[Any]:
    """Add what /gradcam is asked about."""
    return [
        gr.Textbox("all", label="target", info='"all", "3", "word:2", "text:a fish", "contrast:red/blue"'),
        gr.Textbox("", label="at", info="token of the answer where text: or contrast: stands"),
        gr.Textbox("auto", label="layers", info='"auto", "late", "all", or such as "0-3,5"'),
    ]

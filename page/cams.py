"""The Grad-CAM of an answer: what a person asks for, and what they see of the result.

Goes in: a `Run`, what was chosen in the tab, a `GradCam`. Comes out: targets and layers, plain data, texts
and pictures. Knows nothing of Gradio.
"""

import base64
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from PIL import Image

import config
import visualization
from drawing.colour_bar import number_labels
from methods.grad_cam import Noise, smooth_grad_cam
from page.inputs import RefusedError, gradient_settings
from page.jobs import Job, Progress
from page.model_room import Loaded, ModelRoom
from page.selection import Pick, look_of, pick_of
from page.sessions import Run
from page.shown import DASH
from records.grad_cam import LABELS, GradCam
from records.layers import NAMED_LAYERS, Layers, chosen_layers
from records.selection import parsed_tokens
from records.targets import Contrast, Target, Text, target_choice
from records.visuals import is_picture, plane_at
from report.layers import Style, method
from report.places import place_of
from utils import as_ranges, numbers_of

TARGETS = {
    "all": "the whole answer",
    "word": "the word picked above",
    "text": "a text of my own",
    "contrast": "one word rather than another",
}
PLACES = {"answer": "in place of the answer", "word": "at the place of the word picked above"}


# --- What is asked for --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Asked:
    """What of an answer is explained, at which layers, and how."""

    layers: Layers
    target: Target
    settings: dict[str, Any]  # method, num_samples, noise_std, seed

    def computed(self, room: ModelRoom, run: Run, job: Job) -> GradCam:
        """Return the maps, by the model that gave the answer.

        Raises:
            Stopped: if the job was stopped.
            ModelError: if the model in memory is not the one that gave the answer.
            ValueError: for layers or a target that cannot be explained.
            FullError: if too many wait for the model already.
        """

        def compute(loaded: Loaded) -> GradCam:
            return smooth_grad_cam(
                loaded.model,
                loaded.processor,
                list(run.originals),
                run.capture.prompt,
                self.layers,
                self.target,
                **self.settings,
                answer=run.capture,
                on_progress=job.steps,
                stop=job.stop,
            )

        return room.work(compute, job, run.capture)


def layers_of(run: Run, text: Any) -> Layers:
    """Return layers as they were chosen or typed: "auto", "late", "0-3,5".

    Raises:
        ValueError: one line, for layers that are not there and for the last one, with the reason.
    """
    if not isinstance(text, str) or not text.strip():
        raise RefusedError(f"Choose layers: {', '.join(NAMED_LAYERS)}, or numbers such as 3 or 0-2,5.")
    count = run.capture.layer_count
    layers = text.strip() if text.strip() in NAMED_LAYERS else numbers_of(text, count, "layer")
    chosen_layers(count, layers)
    return layers


def asked_of(run: Run, form: Sequence[Any]) -> Asked:
    """Return what the tab asks, checked as far as it goes without the model; ValueError for the rest."""
    kind, key, text, place, other, layers, *settings = form
    chosen = layers_of(run, layers)
    return Asked(chosen, target_of(run, kind, key, text, place, other), gradient_settings(*settings))


def target_of(run: Run, kind: Any, key: Any, text: Any, place: Any, other: Any) -> Target:
    """Return what is to be explained, as it was chosen in the tab.

    `kind` is one of TARGETS, `key` the picked word's, `text` and `place` (one of PLACES) belong to a text of
    one's own, `other` is the word that the picked one is compared with.

    Raises:
        ValueError: one line, for what cannot be explained.
    """
    if kind == "all":
        return None
    if kind == "text":
        own = _typed(text, "Type the text to explain.")
        return Text(own, 0 if place == "answer" else _picked(run, key).tokens[0])
    pick = _picked(run, key)
    if kind == "word":
        return pick.tokens
    if kind == "contrast":
        return contrast(run, pick, _typed(other, "Type the word that the picked one is compared with."))
    raise RefusedError(f"What is explained must be one of {', '.join(TARGETS)}.")


def contrast(run: Run, pick: Pick, other: str) -> Contrast:
    """Return why the picked word rather than another, compared where the picked one stands."""
    tokens, capture = pick.tokens, run.capture
    if len(tokens) == 1:
        return Contrast(capture.token_ids[tokens[0]], other, tokens[0])
    start, end = capture.token_spans[tokens[0]][0], capture.token_spans[tokens[-1]][1]
    return Contrast(capture.text[start:end].strip(), other, tokens[0])


def _picked(run: Run, key: Any) -> Pick:
    if not isinstance(key, str):
        raise RefusedError("Pick a word of the answer first.")
    pick = pick_of(key, run.capture)
    if pick.of_prompt:
        raise RefusedError("The word picked above is one of your question: pick one of the answer.")
    return pick


def _typed(text: Any, otherwise: str) -> str:
    if not isinstance(text, str) or not text.strip():
        raise RefusedError(otherwise)
    if len(text) > config.MAX_PROMPT_CHARACTERS:
        limit = config.MAX_PROMPT_CHARACTERS
        raise RefusedError(f"The text has {len(text):,} characters; at most {limit:,} are allowed.")
    return text.strip()


def typed_target(run: Run, text: str, at: str) -> Target:
    """Return what is to be explained, as typed: "all", "2-5", "word:2", "text:a fish", "contrast:red/blue".

    `at` is the token of the answer at which a text or contrast stands, or empty.

    Raises:
        ValueError: one line, for anything else.
    """
    kind, value = target_choice(text)
    count = len(run.capture.token_ids)
    if at.strip() and kind not in ("text", "contrast"):
        raise RefusedError("at belongs to a target text:… or contrast:…")
    place = numbers_of(at, count, "token")[0] if at.strip() else None
    if kind == "all":
        return None
    if kind == "answer":
        return parsed_tokens(run.capture, kind)[0]
    if kind == "text":
        return Text(_typed(value, "Type the text to explain."), place or 0)
    if kind == "contrast":
        return Contrast(value[0], value[1], place)
    if kind == "tokens":
        return numbers_of(value, count, "token")
    words = run.processor.words()
    return words[numbers_of(str(value), len(words), "word")[0]].tokens


# --- What is seen of it -------------------------------------------------------------------------------------


def style(look: Any) -> Style:
    """Return how maps are drawn, as the viewer says it."""
    return Style(*look_of(look))


def state_of(progress: Progress) -> dict[str, Any]:
    """Return how far it is: people ahead, or passes done and in all."""
    ahead = {"ahead": progress.ahead} if progress.ahead else {}
    state = "computing" if progress.begun else "waiting"
    return {"state": state, "done": progress.done, "count": progress.count, **ahead}


def finished(cam: GradCam) -> dict[str, Any]:
    """Return what is said once it is computed: of what, in how many passes, and what to know about it."""
    passes = Noise(cam.settings["num_samples"], cam.settings["noise_std"]).different_samples
    return {"state": "done", "target": cam.target, "count": passes, "notes": cam.notes}


def shown_part(run: Run, cam: GradCam, plane: Any = None) -> tuple[GradCam, Image.Image]:
    """Return what of the maps lies on one picture or moment, and that picture as it is shown.

    `plane` is the viewer's number of it; for what is none it is the one that most of the maps lies on.
    """
    visuals = run.capture.visuals
    if is_picture(visuals):
        return cam, run.picture
    count = sum(visual.grid[0] for visual in visuals)
    is_one = isinstance(plane, int) and not isinstance(plane, bool) and 0 <= plane < count
    visual, step = plane_at(visuals, plane) if is_one else cam.hottest
    picture = run.moment_of(visual, step)
    return cam.on(picture, visual, step, place_of(visuals, visual, step)), picture


def tiles(cam: GradCam, picture: Image.Image, drawing: Style) -> list[dict[str, Any]]:
    """Return a small picture of each layer, ascending: its number, its map's range, and the picture."""
    small = visualization.thumbnails(picture, list(cam.maps), drawing.looks_at(cam))
    return [
        {"layer": layer, "range": range_text(one), "src": _inline(drawn)}
        for layer, one, drawn in zip(cam.layers, cam.maps, small, strict=True)
    ]


def range_text(values: np.ndarray) -> str:
    """Return the lowest and the highest value of a map: "0 to 1.25"."""
    low, high = float(values.min()), float(values.max())
    return " to ".join(number_labels([low, high], "")) if high > low else f"{low:g} everywhere"


def _inline(picture: Image.Image) -> str:
    """Return a small picture as an address that carries it. JPEG: tens of them go to the page at once."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=90, subsampling=0)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode("ascii")


def enlarged(cam: GradCam, picture: Image.Image, layer: int, drawing: Style) -> Image.Image:
    """Return the picture under the map of one layer, with its colour bar."""
    values = cam.layer_map(layer)
    settings = asdict(drawing.looks_at(cam)[cam.layers.index(layer)])
    return visualization.visualize_attention_on_image(
        picture, values, **settings, scale_label=LABELS[cam.settings["method"]], unit=""
    )


def first_layer(cam: GradCam) -> int:
    """Return the layer that is enlarged first: the one in the middle."""
    return cam.layers[len(cam.layers) // 2]


def caption(cam: GradCam, layer: int) -> str:
    """Return the line beneath the enlarged picture: what is explained, where, how, and the score."""
    mean, spread = float(cam.scores.mean()), float(cam.scores.std())
    score = f"score {mean:.2f}" + (f" ± {spread:.2f}" if spread else "")
    return f"{cam.target} · layer {layer} of 0–{cam.layer_count - 1} · {method(cam)} · {score}"


def described(cam: GradCam) -> dict[str, Any]:
    """Return a result as /gradcam gives it."""
    return {
        "finished": True,
        "target": cam.target,
        "target_tokens": cam.target_tokens,
        "text": cam.text,
        "tokens": cam.tokens,
        "layers": cam.layers,
        "maps": cam.maps.tolist(),  # (layer, h, w), of several pictures (layer, patch)
        "scores": cam.scores.tolist(),
        "settings": cam.settings,
        "notes": cam.notes,
        "caption": f"{cam.target} · layers {as_ranges(cam.layers, DASH)} · {method(cam)}",
    }

"""Does this map mean anything, here? What its hottest patches do to the word, and what the picture does.

Goes in: a `Capture`, its model, processor and picture, some tokens, and a map. Comes out: a `MapCheck`, the
word's probability while patches are removed; and a `PictureCheck`, probabilities with and without the
picture. The answer is never generated again: the model reads what it said (teacher forcing). Knows nothing of
files and pages.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from model import model_device

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, fontManager
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers.processing_utils import ProcessorMixin

import visualization
from attention_extractor import Capture
from attention_processor import AttentionProcessor, chosen_indices
from gradcam import OnProgress, Watch, lent
from methods import Question, covered, covering
from methods.occlusion import Fill
from methods.reading import within_memory
from utils import one_line

Cells = NDArray[np.bool_]  # (h, w)
NOTE = "Each word stands after the words that were really said before it, which the picture had a part in."
BLUE, GREY, ORANGE = "#0072B2", "#767676", "#D55E00"  # told apart without colour vision (Okabe and Ito)

# --- Orders of cells ----------------------------------------------------------------------------------------


def hottest_first(heat: NDArray[np.floating], rng: np.random.Generator) -> NDArray[np.intp]:
    """Return the cells of a map (h, w), row * w + col, the hottest first; equally hot ones in random order.

    Otherwise a flat map would be the top of the picture.
    """
    return np.lexsort((rng.permutation(heat.size), -heat.reshape(-1)))


def central(grid: tuple[int, int]) -> NDArray[np.float64]:
    """Return a map (h, w) that is hottest in the middle: a Gaussian, σ a fifth of each side."""
    rows, cols = ((np.arange(n) + 0.5) / n - 0.5 for n in grid)
    return np.exp(-(rows[:, None] ** 2 + cols**2) / (2 * 0.2**2))


def doubling(most: int) -> tuple[int, ...]:
    """Return 0, 1, 2, 4, 8, … up to `most`."""
    return (0, *(2**power for power in range(most.bit_length())))


def first_cells(order: NDArray[np.intp], count: int, grid: tuple[int, int]) -> Cells:
    """Return which cells (h, w) are among the first so many of an order."""
    cells = np.zeros(len(order), dtype=bool)
    cells[order[:count]] = True
    return cells.reshape(grid)


def logprobs_without(
    question: Question, removed: Iterable[Cells], filling: Fill = "blur"
) -> NDArray[np.float32]:
    """Return log p of each token of the question with these cells of the picture covered (picture, token).

    Each different picture is read once, and serves all tokens.
    """
    reading, cover = question.reading, covering(question.reading, filling)
    places: dict[bytes, int] = {}
    pictures: list[Callable[[], Tensor]] = []
    indices = []
    for cells in removed:
        key = cells.tobytes()
        if key not in places:
            places[key] = len(pictures)
            pictures.append(partial(covered, reading, cells, cover))
        indices.append(places[key])
    return reading.logprobs(pictures, question.watch).numpy()[indices]


# --- Check this map -----------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class MapCheck:
    """The probability of a word while patches of the picture are removed."""

    text: str
    tokens: tuple[int, ...]
    counts: tuple[int, ...]  # patches removed, ascending, from 0
    hottest: NDArray[np.float64]  # (count,): the word's probability without the map's hottest patches
    random: NDArray[np.float64]  # (repeat, count): without random ones
    central: NDArray[np.float64]  # (count,): without the most central ones
    patches: int  # of the picture
    filling: Fill
    seed: int

    def at(self, count: int) -> int:
        """Return the place of a number of patches among those that were removed; ValueError if it is not."""
        if count not in self.counts:
            raise ValueError(f"{count} patches were not removed; removed were {self.counts}")
        return self.counts.index(count)

    def sentence(self, count: int) -> str:
        """Return in a sentence what removing so many patches does."""
        at = self.at(count)
        drawn = self.random[:, at]
        these = "this patch" if count == 1 else f"these {count} patches"
        return (
            f"Removing {these} takes “{self.text}” from {_shown(self.hottest[0])} to "
            f"{_shown(self.hottest[at])}; random {count}: {_shown(drawn.mean())} "
            f"({_shown(drawn.min())} to {_shown(drawn.max())} in {len(drawn)} draws); "
            f"centre {count}: {_shown(self.central[at])}."
        )

    @property
    def telling(self) -> int:
        """The number of patches at which hottest and random ones differ most."""
        apart = self.random.mean(axis=0) - self.hottest
        return self.counts[int(np.argmax(np.abs(apart)))] or self.counts[-1]

    def csv_text(self) -> str:
        """Return the curve as CSV, a line for each number of patches."""
        mean, std = self.random.mean(axis=0), self.random.std(axis=0)
        rows = zip(self.counts, self.hottest, mean, std, self.central, strict=True)
        lines = [",".join(f"{value:.6g}" for value in row) for row in rows]
        return "\n".join(["patches,hottest,random_mean,random_std,centre", *lines, ""])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        return {
            "text": self.text,
            "tokens": list(self.tokens),
            "patches": list(self.counts),
            "patches_in_all": self.patches,
            "hottest": self.hottest.tolist(),
            "random_mean": self.random.mean(axis=0).tolist(),
            "random_std": self.random.std(axis=0).tolist(),
            "random": self.random.tolist(),
            "centre": self.central.tolist(),
            "filling": self.filling,
            "seed": self.seed,
        }


def _shown(probability: float) -> str:
    """Return a probability to read; small ones as such, not as 0."""
    return f"{probability:.2f}" if probability >= 0.005 or probability == 0 else f"{probability:.0e}"


def check_map(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    capture: Capture,
    tokens: int | Sequence[int],
    heat: NDArray[np.floating],
    *,
    patches: int | Sequence[int] | None = None,
    repeats: int = 8,
    filling: Fill = "blur",
    seed: int = 0,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> MapCheck:
    """Return how the probability of a word falls while the hottest patches of its map (h, w) are removed.

    Beside it: as many random patches, the first of `repeats` random orders, and as many central ones.
    Removing is covering, by a blur of the picture or by its mean colour. `patches` are the numbers that are
    removed, by default 1, 2, 4, 8, … up to half of all. The probability of a word of several tokens is the
    product of theirs, each after those that were really said.

    Raises:
        ValueError: for a token, a number of patches or a map that does not fit the capture.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    chosen = tuple(sorted(set(chosen_indices(tokens, len(capture.token_ids), "token"))))
    if heat.shape != capture.grid or not np.isfinite(heat).all():
        raise ValueError(f"expected a map of finite values (h, w)={capture.grid}; got shape {heat.shape}")
    if isinstance(repeats, bool) or not isinstance(repeats, int) or repeats < 1:
        raise ValueError(f"repeats must be a whole number of at least 1; got {repeats!r}")
    counts = _counts(patches, heat.size)
    rng = np.random.default_rng(seed)
    orders = [hottest_first(heat, rng), hottest_first(central(capture.grid), rng)]
    orders += [rng.permutation(heat.size) for _ in range(repeats)]
    removed = [first_cells(order, count, capture.grid) for order in orders for count in counts]
    question = Question(capture, chosen, model, processor, image, Watch(on_progress, stop))
    found = np.exp(logprobs_without(question, removed, filling).astype(np.float64).sum(axis=1))
    hottest, centre, *drawn = found.reshape(len(orders), len(counts))
    return MapCheck(
        text=said(capture, chosen),
        tokens=chosen,
        counts=counts,
        hottest=hottest,
        random=np.stack(drawn),
        central=centre,
        patches=heat.size,
        filling=filling,
        seed=seed,
    )


def _counts(patches: int | Sequence[int] | None, count: int) -> tuple[int, ...]:
    """Return the numbers of patches to remove, ascending, from 0."""
    if patches is None:
        return doubling(count // 2)
    asked = {patches} if isinstance(patches, int) else set(patches)
    for number in asked:
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= count:
            raise ValueError(f"a number of patches must be 0 to {count}; got {number!r}")
    if not asked - {0}:
        raise ValueError("choose at least one number of patches above 0")
    return tuple(sorted({0, *asked}))


def said(capture: Capture, tokens: Sequence[int]) -> str:
    """Return what some tokens say: the part of the answer that they span."""
    spans = [capture.token_spans[token] for token in tokens]
    text = capture.text[spans[0][0] : spans[-1][1]].strip()
    return text or " ".join(capture.tokens[token] for token in tokens)


def curve_chart(check: MapCheck, label: str) -> Figure:
    """Return a plot of the word's probability over the number of patches removed; `label` names the map."""
    drawing = Figure(figsize=(6.4, 4), layout="constrained")
    FigureCanvasAgg(drawing)
    panel = drawing.subplots()
    places = range(len(check.counts))
    low, high = check.random.min(axis=0), check.random.max(axis=0)
    panel.fill_between(places, low, high, color=GREY, alpha=0.25, linewidth=0)
    panel.plot(places, check.random.mean(axis=0), "s-", color=GREY, label="random patches (mean, range)")
    panel.plot(places, check.central, "^--", color=ORANGE, label="central patches")
    panel.plot(places, check.hottest, "o-", color=BLUE, label=f"hottest patches: {label}")
    panel.set_xticks(places, list(map(str, check.counts)))
    panel.set_xlabel(f"patches removed, of {check.patches}")
    panel.set_ylabel("probability of the word")
    panel.set_ylim(-0.03, 1.03)
    title = visualization.drawable(f"“{one_line(check.text, 60)}”")
    fonts = _fonts(tuple(visualization.font_files(title)))
    panel.set_title(title, fontsize=10, family=fonts, parse_math=False)
    panel.legend(fontsize=8)
    panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    return drawing


@cache
def _fonts(files: tuple[str, ...]) -> list[str]:
    """Return the names of fonts by which matplotlib finds them."""
    for file in files:
        fontManager.addfont(file)
    return [FontProperties(fname=file).get_name() for file in files]


# --- Is it there at all? ------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class PictureCheck:
    """How likely each token of an answer is with the picture, and to the same question without one."""

    texts: tuple[str, ...]  # of each token
    with_picture: NDArray[np.float64]  # (token,): log p
    without: NDArray[np.float64]  # (token,): log p
    words: tuple[tuple[str, tuple[int, ...]], ...]  # text and tokens of each

    def of(self, tokens: Sequence[int]) -> tuple[float, float]:
        """Return the probability of a word, with the picture and without: the product over its tokens."""
        chosen = list(tokens)
        return float(np.exp(self.with_picture[chosen].sum())), float(np.exp(self.without[chosen].sum()))

    def sentence(self, tokens: Sequence[int], text: str) -> str:
        """Return in a sentence what of a word came from the picture, and what from language alone."""
        seen, unseen = self.of(tokens)
        return (
            f"“{text}” has probability {_shown(seen)} with the picture and {_shown(unseen)} without it: "
            f"it came from {_source(seen, unseen)}."
        )

    def rows(self) -> list[list[str]]:
        """Return for each word: its text, probability with and without the picture, where it came from."""
        found = []
        for text, tokens in self.words:
            seen, unseen = self.of(tokens)
            found.append([text, _shown(seen), _shown(unseen), _source(seen, unseen)])
        return found

    def table(self) -> str:
        """Return the words with their probabilities, as a Markdown table."""
        lines = ["| word | with the picture | without it | it came from |", "|---|---|---|---|"]
        for text, *cells in self.rows():
            lines.append(" | ".join(["| " + text.replace("|", "\\|"), *cells]) + " |")
        return "\n".join([*lines, "", NOTE])

    def as_dict(self) -> dict[str, Any]:
        """Return all of it, JSON-ready."""
        each = [(text, tokens, *self.of(tokens)) for text, tokens in self.words]
        return {
            "tokens": [
                {"text": text, "with_picture": float(np.exp(seen)), "without": float(np.exp(unseen))}
                for text, seen, unseen in zip(self.texts, self.with_picture, self.without, strict=True)
            ],
            "words": [
                {"text": text, "tokens": list(tokens), "with_picture": seen, "without": unseen}
                for text, tokens, seen, unseen in each
            ],
        }


def _source(seen: float, unseen: float) -> str:
    """Return where a word's probability came from, in words."""
    if unseen > 2 * seen:
        return "language, against the picture"
    if unseen >= seen / 2:
        return "language alone"
    return "both" if unseen >= seen / 10 else "the picture"


def without_image(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    capture: Capture,
    *,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> PictureCheck:
    """Return each token's probability with the picture, and to the same question without one.

    "Without" is the checkpoint's chat template for a question of text alone: no visual token, and nothing
    else in their place. The answer is kept, so a later word is judged after the same words. A grey picture
    would be no such thing: it is a picture too, and says that nothing is there, which is much to say about a
    question such as "Is there a cat?".

    Raises:
        ValueError: for an empty answer; for a capture that is not of this model, picture and prompt.
        Stopped: if `stop` was set.
        MemoryError: if one pass alone does not fit.
        RuntimeError: if the model is at work for something else.
    """
    if not capture.token_ids:
        raise ValueError("the model gave an empty answer: there is nothing to check")
    watch = Watch(on_progress, stop)
    reading = Question(capture, tuple(range(len(capture.token_ids))), model, processor, image).reading
    watch.tell(0, 2)
    seen = reading.logprobs([lambda: reading.pixels])[0].numpy()
    watch.tell(1, 2)
    unseen = _text_logprobs(model, processor, capture)
    watch.tell(2, 2)
    words = tuple((word.text, word.tokens) for word in AttentionProcessor(capture).words())
    return PictureCheck(capture.tokens, seen.astype(np.float64), unseen.astype(np.float64), words)


def _text_logprobs(model: Any, processor: ProcessorMixin, capture: Capture) -> NDArray[np.float32]:
    """Return log p of each token of the answer (token,) after the prompt alone."""
    turn = {"role": "user", "content": [{"type": "text", "text": capture.prompt}]}
    rendered = processor.apply_chat_template([turn], tokenize=False, add_generation_prompt=True)
    asked = processor.tokenizer(rendered, add_special_tokens=False)["input_ids"]
    ids = torch.tensor([[*asked, *capture.token_ids[:-1]]], device=model_device(model))
    rows = torch.arange(len(asked) - 1, ids.shape[1])
    with lent(model), torch.no_grad():
        logits = within_memory(
            partial(
                model,
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                mm_token_type_ids=torch.zeros_like(ids),
                use_cache=False,
                logits_to_keep=rows,
            )
        ).logits[0]
    logprobs = logits.float().log_softmax(dim=1).cpu()
    return logprobs[torch.arange(len(rows)), torch.tensor(capture.token_ids)].numpy()

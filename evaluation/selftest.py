"""Is what this tool says of a checkpoint right, here? Each claim is tried, against an independent way.

Goes in: a model with its processor. Comes out: a `Verification`, a finding for each claim with its figure.
Knows nothing of files and pages. A new claim is one row in CLAIMS.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
import transformers
from PIL import Image
from torch import Tensor, nn
from transformers.utils import is_flash_attn_2_available

from attention_extractor import AttentionExtractor
from evaluation.memory import measured
from internals.exclusive import lent
from internals.gradients import LayerGradients
from internals.hooks import hooked
from internals.teacher_forcing import teacher_forced_inputs
from model import Encoded, Processor, decoder_config, decoder_layers, encode, refused
from records.capture import Capture
from records.targets import Explained, Score, Term
from records.verification import Finding, Verification
from utils import Watch, one_line

PROMPT = "Describe this image."
TOKENS = 8  # of the answer
PLANTED = (1, 3)  # the cell that another picture has in another colour


class Precision(NamedTuple):
    """The largest differences that rounding explains."""

    rows: float  # of an attention weight
    logprobs: float
    slope: float  # in parts of it
    step: float  # of finite differences, in parts of the features' length: large enough to be seen


PRECISIONS = {
    "float32": Precision(1e-4, 1e-3, 0.05, 1e-3),
    "float16": Precision(5e-3, 0.1, 0.2, 1e-2),
    "bfloat16": Precision(3e-2, 0.5, 0.5, 5e-2),
}


class Measured(NamedTuple):
    """What came of one try."""

    passed: bool
    figure: str


class Claim(NamedTuple):
    """One thing that this tool promises of every checkpoint."""

    name: str
    tried: str
    measure: Callable[[Bench], Measured]
    remedy: str


@dataclass(eq=False)
class Bench:
    """A checkpoint with a small picture, and what several tries need of them."""

    model: Any
    processor: Processor

    @cached_property
    def cell(self) -> int:
        """The side of a visual token in pixels."""
        images = self.processor.image_processor
        return int(images.patch_size * images.merge_size)

    @cached_property
    def grid(self) -> tuple[int, int]:
        """The visual tokens (h, w) of a small picture that the checkpoint's bounds leave as it is."""
        lowest = self.processor.image_processor.size["shortest_edge"]
        h = next(h for h in count(3) if h * (h + 2) * self.cell**2 >= lowest)
        return h, h + 2

    @cached_property
    def image(self) -> Image.Image:
        """Noise that is not resized."""
        h, w = self.grid
        pixels = np.random.default_rng(0).integers(0, 256, (h * self.cell, w * self.cell, 3), dtype=np.uint8)
        return Image.fromarray(pixels)

    @cached_property
    def encoded(self) -> Encoded:
        """The picture and the prompt as the model reads them."""
        return encode(self.model, self.processor, self.image, PROMPT)

    @cached_property
    def how(self) -> str:
        """How the answer is generated: as the checkpoint says, where that can be recorded."""
        return "greedy" if refused(self.model.generation_config) else "checkpoint"

    @cached_property
    def written(self) -> Capture:
        """A short answer."""
        extractor = AttentionExtractor(self.model, self.processor, float16=False, keep="all")
        written = extractor.generate(self.image, PROMPT, TOKENS, generation=self.how, seed=0)
        # An empty answer has no rows: another word will do.
        return written if written.token_ids else extractor.read(self.image, PROMPT, "A picture.")

    @property
    def precision(self) -> Precision:
        """How far rows, log-probabilities and slopes may be off."""
        return PRECISIONS.get(str(self.model.dtype).removeprefix("torch."), PRECISIONS["bfloat16"])


def self_test(
    model: Any,
    processor: Processor,
    watch: Watch | None = None,
    tell: Callable[[Finding], None] | None = None,
) -> Verification:
    """Return what came of every claim; `tell` hears of each as soon as it is tried.

    A claim that raises has failed, with its reason. The model is put back as it was.

    Raises:
        Stopped: if the watch was told to stop, between two claims.
    """
    bench, watch, findings = Bench(model, processor), watch or Watch(), []
    for number, claim in enumerate(CLAIMS):
        watch.tell(number, len(CLAIMS))
        watch.check()
        finding = tried(bench, claim)
        findings.append(finding)
        if tell is not None:
            tell(finding)
    watch.tell(len(CLAIMS), len(CLAIMS))
    backend = decoder_config(model)._attn_implementation
    dtype = str(model.dtype).removeprefix("torch.")
    return Verification(str(model.name_or_path), dtype, backend, tuple(findings))


def tried(bench: Bench, claim: Claim) -> Finding:
    """Return what came of one claim, with its time and memory."""

    def attempt() -> Measured:
        try:
            return claim.measure(bench)
        except Exception as error:  # whatever a checkpoint does is a finding
            return Measured(False, one_line(error, 200) or type(error).__name__)

    begun = time.monotonic()
    found, taken = measured(bench.model, attempt)
    seconds = time.monotonic() - begun
    return Finding(claim.name, claim.tried, found.passed, found.figure, seconds, taken, claim.remedy)


def environment() -> dict[str, str]:
    """Return what the computer offers, as (name: text)."""
    cards = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    memory = psutil.virtual_memory()
    return {
        "Python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "CUDA": f"{torch.version.cuda}: {', '.join(cards)}" if cards else "no device",
        "flash-attn": "installed" if is_flash_attn_2_available() else "not installed; it is not needed",
        "memory": f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GB free",
    }


# --- Claims -------------------------------------------------------------------------------------------------


def template(bench: Bench) -> Measured:
    """Try that the prompt is found again between picture and answer, and every visual token."""
    encoded, tokenizer = bench.encoded, bench.processor.tokenizer
    read = tokenizer.decode(encoded.input_ids[encoded.prompt_positions].tolist())
    ids = encoded.input_ids == bench.model.config.image_token_id
    seen, expected = int(ids.sum()), bench.grid[0] * bench.grid[1]
    passed = read == PROMPT and encoded.grid == bench.grid and seen == expected
    told = f"{seen} of {expected} visual tokens"
    return Measured(passed, told if read == PROMPT else f"the prompt is read as {one_line(read, 60)!r}")


def planted_cell(bench: Bench) -> Measured:
    """Try that a cell of the picture is the visual token of its row and column, and no other."""
    h, w = bench.grid
    row, col = PLANTED
    plain = np.full((h * bench.cell, w * bench.cell, 3), 128, np.uint8)
    marked = plain.copy()
    marked[row * bench.cell : (row + 1) * bench.cell, col * bench.cell : (col + 1) * bench.cell] = 255
    read = [
        encode(bench.model, bench.processor, Image.fromarray(pixels), PROMPT).inputs["pixel_values"]
        for pixels in (plain, marked)
    ]
    changed = (read[0] != read[1]).any(dim=1).nonzero()[:, 0]  # patches, four of which are a visual token
    merged = bench.processor.image_processor.merge_size**2
    found = sorted({int(patch) // merged for patch in changed})
    wanted = [row * w + col]
    return Measured(found == wanted, f"cell {found} of {h} × {w}, planted in {wanted}")


def token_ids(bench: Bench) -> Measured:
    """Try that the answer is the one of a plain `generate`."""
    capture, model = bench.written, bench.model
    settings: dict[str, Any] = (
        {} if bench.how == "checkpoint" else {"do_sample": False, "num_beams": 1, "repetition_penalty": 1.0}
    )
    cards = range(torch.cuda.device_count())
    with lent(model), torch.no_grad(), torch.random.fork_rng(cards):
        torch.manual_seed(0)
        sequence = model.generate(
            **bench.encoded.inputs, max_new_tokens=TOKENS, tokenizer=bench.processor.tokenizer, **settings
        )
    plain = tuple(sequence[0, bench.encoded.prompt_length :].tolist())
    same = plain[: len(capture.token_ids)] == capture.token_ids and len(plain) - len(capture.token_ids) <= 1
    equal = sum(one == other for one, other in zip(plain, capture.token_ids, strict=False))
    return Measured(same, f"{equal} of {len(capture.token_ids)} equal")


def rows(bench: Bench) -> Measured:
    """Try that captured rows equal those of eager attention, which holds every weight."""
    capture, limit = bench.written, bench.precision.rows
    encoded, ids = bench.encoded, bench.written.token_ids
    layers = decoder_layers(bench.model)
    modules: list[Any] = [layers[layer].self_attn for layer in capture.layers]
    start, far = encoded.prompt_length - 1, 0.0
    truth: dict[int, Tensor] = {}

    def keep(index: int, module: nn.Module, args: Any, output: tuple[Tensor, Tensor]) -> None:
        truth[index] = output[1][0, :, start:].float().cpu()  # (head, token, key)

    inputs = teacher_forced_inputs(encoded, ids[:-1], [encoded.inputs["pixel_values"]])
    with lent(bench.model), torch.no_grad(), eager(bench.model), hooked(modules, keep):
        bench.model.model(**inputs, use_cache=False)
    for index in range(len(modules)):
        image = truth[index][..., encoded.image_positions.cpu()].transpose(0, 1)
        far = max(far, float((capture.attention[:, index].float().cpu() - image).abs().max()))
    return Measured(far <= limit, f"{far:.0e} (at most {limit:.0e})")


def logprobs(bench: Bench) -> Measured:
    """Try that an answer read at once is predicted as when it was written, token by token."""
    limit, capture = bench.precision.logprobs, bench.written
    extractor = AttentionExtractor(bench.model, bench.processor, layers=[capture.layers[-1]], keep="all")
    read = extractor.read(bench.image, PROMPT, capture.token_ids)
    far = float((read.logprobs - capture.logprobs).abs().max())
    return Measured(far <= limit, f"{far:.0e} (at most {limit:.0e})")


def slope(bench: Bench) -> Measured:
    """Try that the gradient at a layer is how fast the word's logit rises when its features move that way."""
    encoded, ids, limit = bench.encoded, bench.written.token_ids, bench.precision.slope
    layer = max(0, len(decoder_layers(bench.model)) // 2 - 1)
    kept: list[tuple[Tensor, Tensor]] = []

    def both(features: Tensor, gradient: Tensor) -> Tensor:
        kept.append((features, gradient))
        return gradient.sum(dim=-1)

    score = Score((Term(0, ids[0]),), "the first token")
    passes = LayerGradients(
        bench.model,
        encoded,
        Explained(ids, (score,)),
        (layer,),
        1,
        lambda _: encoded.inputs["pixel_values"],
        both,
    )
    with lent(bench.model):
        passes.run(range(1), lambda: None)
    features, gradient = kept[0][0][0], kept[0][1][0]  # (patch, channel)
    length = float(gradient.norm())
    if length == 0:
        return Measured(False, "the gradient is zero")
    step = float(bench.precision.step * features.norm()) * gradient / length
    ends = [nudged_score(passes, layer, sign * step) for sign in (1, -1)]
    measured_slope = (ends[0] - ends[1]) / (2 * float(step.norm()))
    far = abs(measured_slope - length) / length
    return Measured(far <= limit, f"off by {100 * far:.1f} % (at most {100 * limit:.0f} %)")


def nudged_score(passes: LayerGradients, layer: int, step: Tensor) -> float:
    """Return the score with the layer's features at the visual tokens moved by a step (patch, channel)."""
    patches = passes.encoded.image_positions

    def nudge(index: int, module: nn.Module, args: Any, output: Tensor) -> Tensor:
        moved = output.clone()
        moved[0, patches.to(output.device)] += step.to(output)
        return moved

    with lent(passes.model), torch.no_grad(), hooked([decoder_layers(passes.model)[layer]], nudge):
        logits = passes.model(
            **passes.inputs(range(1)), use_cache=False, logits_to_keep=torch.tensor(passes.rows)
        ).logits
    return float(passes.score(passes.explained.scores[0], logits))


@contextmanager
def eager(model: Any) -> Iterator[None]:
    """Have the decoder compute its attention in the open meanwhile."""
    before = decoder_config(model)._attn_implementation
    with ExitStack() as held:
        held.callback(model.set_attn_implementation, {"text_config": before})
        model.set_attn_implementation({"text_config": "eager"})
        yield


REPORT = "Please report it with this output; until then, trust no map of this checkpoint."
CLAIMS = (
    Claim("template", "the prompt is found between picture and answer", template, REPORT),
    Claim("grid", "a planted patch is the visual token of its row and column", planted_cell, REPORT),
    Claim("ids", "the answer is that of a plain generate", token_ids, REPORT),
    Claim(
        "rows",
        "attention against eager attention",
        rows,
        'Set DTYPE = "float32" and try again: what is left then is no rounding. ' + REPORT,
    ),
    Claim(
        "log-probabilities",
        "an answer read at once against one written token by token",
        logprobs,
        "Maps that read the answer again explain a slightly different model. Quantised to 8 bits this is "
        "known: choose 4 bits, or none.",
    ),
    Claim(
        "Grad-CAM",
        "the gradient against finite differences",
        slope,
        'Set DTYPE = "float32" and try again; do not trust gradients until it passes.',
    ),
)

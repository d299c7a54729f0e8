"""Smooth Grad-CAM: where the picture's features raise a score of the answer, for many decoder layers at once.

Goes in: a model, its processor, an image, a prompt, and what is to be explained. Comes out: a `GradCam`, a
plain record, and pictures and files of it. Knows nothing of attention maps and pages.

Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391) on a decoder layer: F are the features (patch, channel) of
the visual tokens at the layer's output, as the next layer gets them; s is a score; α_c is the mean over
patches of ∂s/∂F_pc; the map is ReLU(Σ_c α_c F_pc). The gradient norm, from the same pass, is ‖∂s/∂F_p‖: how
much the score would change with a patch's features (a saliency map, Simonyan et al. 2014, arXiv 1312.6034, of
features in the place of pixels). SmoothGrad (Smilkov et al. 2017, arXiv 1706.03825): the mean of the raw maps
of several noisy copies of the picture. The answer stays the same for all of them.

The answer is generated once. Each noisy copy then costs one forward pass over prompt and answer and one
backward pass, whatever the number of layers: no gradient is computed for parameters, below the lowest layer
asked for, or in the vision tower, and logits only where the score needs them.
"""

from __future__ import annotations

import gc
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property, partial
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypedDict, TypeVar, Unpack, get_args

from model import Encoded, decoder_layers, encode, free_memory, model_layer_count

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint
from transformers.processing_utils import ProcessorMixin

import config
import visualization
from attention_extractor import (
    AttentionExtractor,
    Capture,
    alone,
    decoder_layer_numbers,
    hooked,
    in_eval_mode,
    spelled,
)
from methods.catalog import LAYERED, METHODS
from targets import (
    Explained,
    Score,
    Target,
    Words,
    explanation,
    needs_answer,
    token_explanations,
)
from utils import OnProgress, Stopped, Watch, described_arrays, image_hash, one_line, save_arrays
from visualization import Look, isolated, save_image

Layers = str | int | Sequence[int]
Result = TypeVar("Result")

WHY_NOT_LAST = (
    "no later layer reads its features at the visual tokens, so they reach no logit of an answer and its map "
    "is zero everywhere"
)
Method = Literal["grad-cam", "gradient-norm"]
LABELS = {name: METHODS[name].scale_label for name in LAYERED}  # as people write them in a line of text
NAMED_LAYERS = ("auto", "early", "middle", "late", "all")
REPRESENTATIVE = 6  # layers that "auto" takes


# --- Layers -------------------------------------------------------------------------------------------------


def layer_thirds(count: int) -> dict[str, tuple[int, ...]]:
    """Return the layers below the last of a model with so many, in thirds: early, middle, late."""
    ends = [round((count - 1) * third / 3) for third in range(4)]
    return {name: tuple(range(*pair)) for name, pair in zip(NAMED_LAYERS[1:4], pairwise(ends), strict=True)}


def spread(layers: Sequence[int], count: int) -> tuple[int, ...]:
    """Return so many of the layers at even distances, first and last among them; all if there are fewer."""
    if len(layers) <= count:
        return tuple(layers)
    if count == 1:
        return (layers[len(layers) // 2],)
    return tuple(layers[round(index * (len(layers) - 1) / (count - 1))] for index in range(count))


def chosen_layers(count: int, layers: Layers) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the decoder layers asked for, ascending, and notes about them for the person.

    "auto" is six layers at even distances, "early", "middle" and "late" a third each, "all" every one: of the
    layers below the last, which is left out. Numbers may be negative, counted from the last.

    Raises:
        ValueError: for the last layer, with the reason; for one beyond the model, naming its layer count.
    """
    last = count - 1
    if isinstance(layers, str):
        return _named_layers(count, layers), (f"Layer {last}, the last, is left out: {WHY_NOT_LAST}.",)
    numbers = decoder_layer_numbers(count, [layers] if isinstance(layers, int) else list(layers))
    if last in numbers:
        raise ValueError(f"layer {last} is the last one and has no Grad-CAM: {WHY_NOT_LAST}")
    return numbers, ()


def _named_layers(count: int, name: str) -> tuple[int, ...]:
    below = range(count - 1)
    if name not in NAMED_LAYERS:
        raise ValueError(f"layers must be numbers or one of {', '.join(NAMED_LAYERS)}; got {name!r}")
    if name == "all":
        layers = tuple(below)
    else:
        layers = spread(below, REPRESENTATIVE) if name == "auto" else layer_thirds(count)[name]
    if not layers:
        raise ValueError(f"{name!r} is no layer of a model with {count} layers, of which the last has no map")
    return layers


# --- The record ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class GradCam:
    """Smooth Grad-CAM of one score, at some decoder layers, with all that is needed to draw it again."""

    maps: NDArray[np.float32]  # (layer, h, w): mean over the samples of raw maps, 0 or above, not normalised
    layers: tuple[int, ...]  # decoder layer of each index of axis 0, ascending
    layer_count: int  # decoder layers of the model
    grid: tuple[int, int]  # (h, w) in merged patches
    scores: NDArray[np.float32]  # (sample,): a sum of raw logits, or their difference
    target: str  # what is explained, for people: "token 3 “red”"
    target_tokens: tuple[int, ...]  # the tokens of the answer that the score speaks of

    token_ids: tuple[int, ...]  # the answer that was explained: the model's, or the person's
    tokens: tuple[str, ...]  # display text of each
    text: str

    prompt: str
    image_size: tuple[int, int]  # (h, w) of the picture given, in its own pixels
    image_hash: str
    model_name: str
    settings: dict[str, Any] = field(default_factory=dict)  # samples, noise, …; JSON-ready
    notes: tuple[str, ...] = ()  # what a person should know, in sentences

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        expected = (len(self.layers), *self.grid)
        if self.maps.shape != expected or self.maps.size == 0:
            raise ValueError(
                f"expected maps of shape (layer, h, w)={expected}, at least one cell; got {self.maps.shape}"
            )
        if list(self.layers) != sorted(set(self.layers)) or self.layers[0] < 0:
            raise ValueError(f"expected layers ascending, each once, from 0; got {self.layers}")
        if self.layers[-1] >= self.layer_count - 1:
            raise ValueError(f"layer {self.layers[-1]} of {self.layer_count} has no Grad-CAM: {WHY_NOT_LAST}")
        if not (np.isfinite(self.maps).all() and np.isfinite(self.scores).all()):
            raise ValueError("the maps or scores have NaN or infinite values; bfloat16 or float32 may help")
        if float(self.maps.min()) < 0:
            raise ValueError(f"expected maps of 0 or above; got {self.maps.min():g}")
        if self.scores.ndim != 1 or len(self.scores) == 0:
            raise ValueError(f"expected a score for each sample; got shape {self.scores.shape}")
        if len(self.tokens) != len(self.token_ids):
            raise ValueError(f"{len(self.token_ids)} token ids, but {len(self.tokens)} display texts")
        if not self.target_tokens or not 0 <= min(self.target_tokens) <= max(self.target_tokens) < len(
            self.token_ids
        ):
            raise ValueError(f"target tokens {self.target_tokens} of an answer of {len(self.token_ids)}")

    def layer_map(self, layer: int) -> NDArray[np.float32]:
        """Return the map (h, w) of one decoder layer, negative ones counted from the last; raw."""
        number = layer + self.layer_count if layer < 0 else layer
        if number not in self.layers:
            raise ValueError(f"layer {layer} is not among those computed: {', '.join(map(str, self.layers))}")
        return self.maps[self.layers.index(number)]


# --- Noise --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Noise:
    """The noise of SmoothGrad: how many samples, σ in normalised pixels, and the seed."""

    num_samples: int = 10
    noise_std: float = 0.15
    seed: int = 0

    def __post_init__(self) -> None:
        for name, lowest in (("num_samples", 1), ("seed", 0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < lowest:
                raise ValueError(f"{name} must be a whole number of at least {lowest}; got {value!r}")
        number = isinstance(self.noise_std, (int, float)) and not isinstance(self.noise_std, bool)
        if not number or not 0 <= self.noise_std < math.inf:
            raise ValueError(f"noise_std must be a number of 0 or above; got {self.noise_std!r}")

    @property
    def different_samples(self) -> int:
        """The number of samples that differ: without noise they are all the same."""
        return self.num_samples if self.noise_std else 1

    def noisy(self, pixels: Tensor, index: int, channels: int, copies: int) -> Tensor:
        """Return pixels (patch, value) with one sample's noise, the same in each temporal copy of a patch.

        The values of a patch are (channel, temporal copy, row, col). Sample `index` depends on seed and index
        alone: not on the number of samples, how they are batched, or the device.
        """
        if not self.noise_std:
            return pixels
        state = np.random.SeedSequence([self.seed, index]).generate_state(1, np.uint64)[0]
        generator = torch.Generator("cpu").manual_seed(int(state) >> 1)
        patches, values = pixels.shape
        shape = (patches, channels, 1, values // channels // copies)
        noise = torch.randn(shape, generator=generator).expand(-1, -1, copies, -1).reshape(patches, values)
        return pixels + float(self.noise_std) * noise.to(pixels.device, pixels.dtype)


# --- Reading an answer that was given -----------------------------------------------------------------------

# What the processor returns for each token, and what stands there for a token of the answer.
_OF_TOKENS = {"attention_mask": 1, "mm_token_type_ids": 0}


def teacher_forced(encoded: Encoded, said: Sequence[int], pictures: Sequence[Tensor]) -> dict[str, Tensor]:
    """Return what the model reads: the prompt and the tokens said, once with each picture, in one batch.

    A picture is `pixel_values` (patch, value) of the prompt's own grid. Every key of the processor is passed
    on.
    """
    batch = {}
    for name, value in encoded.inputs.items():
        if name == "pixel_values":
            batch[name] = torch.cat(list(pictures))
            continue
        if name in ("input_ids", *_OF_TOKENS):
            answer = list(said) if name == "input_ids" else [_OF_TOKENS[name]] * len(said)
            value = torch.cat([value, value.new_tensor([answer])], dim=1)
        batch[name] = torch.cat([value] * len(pictures))
    return batch


def check_belongs(capture: Capture, encoded: Encoded, model: Any) -> None:
    """Raise ValueError unless the capture is of this picture, prompt and model."""
    asked = tuple(encoded.input_ids[encoded.prompt_positions].tolist())
    here = (encoded.image_hash, asked, str(model.name_or_path))
    if (capture.image_hash, capture.prompt_token_ids, capture.model_name) != here:
        raise ValueError("the answer was given to another picture or prompt, or by another model")


# --- One pass: several noisy copies, forward and backward ---------------------------------------------------


@dataclass(frozen=True, eq=False)
class _Passes:
    """What all passes of one explanation share."""

    model: Any
    encoded: Encoded
    explained: Explained
    layers: tuple[int, ...]
    noise: Noise
    method: Method

    @cached_property
    def rows(self) -> list[int]:
        """The positions of the sequence that predict the scores' tokens, ascending."""
        places = {place for score in self.explained.scores for place in score.tokens}
        return [self.encoded.prompt_length + place - 1 for place in sorted(places)]

    @property
    def read(self) -> int:
        """The number of tokens that the model reads: up to the last row, as nothing after it counts."""
        return self.rows[-1] + 1

    def inputs(self, samples: range) -> dict[str, Tensor]:
        """Return what the model reads, each sample a row of the batch."""
        vision, pixels = self.model.config.vision_config, self.encoded.inputs["pixel_values"]
        of_patch = (vision.in_channels, vision.temporal_patch_size)
        noisy = [self.noise.noisy(pixels, index, *of_patch) for index in samples]
        said = self.explained.token_ids[: self.read - self.encoded.prompt_length]
        return teacher_forced(self.encoded, said, noisy)

    def forward(self, samples: range) -> tuple[list[Tensor], Tensor]:
        """Return each layer's features (sample, token, channel), and logits (sample, row, vocabulary)."""
        features: list[Tensor] = []

        def keep(index: int, module: nn.Module, args: Any, output: Tensor) -> None:
            if not output.requires_grad:  # the lowest layer: what can be differentiated begins here
                output.requires_grad_()
            features.append(output)

        layers = decoder_layers(self.model)
        with hooked([layers[layer] for layer in self.layers], keep):
            output = self.model(
                **self.inputs(samples), use_cache=False, logits_to_keep=torch.tensor(self.rows)
            )
        return features, output.logits

    def run(self, samples: range, check: Callable[[], None]) -> tuple[Tensor, Tensor]:
        """Return raw maps (sample, score, layer, patch) and scores (sample, score), float32 on the CPU.

        `check` is called before each backward pass, and may raise.
        """
        features, logits = self.forward(samples)
        scores = [self.score(one, logits) for one in self.explained.scores]
        maps = []
        for score in scores:
            check()
            gradients = torch.autograd.grad(score.sum(), features, retain_graph=score is not scores[-1])
            # The samples do not see each other: the gradient of their sum is that of each.
            pairs = zip(features, gradients, strict=True)
            maps.append(torch.stack([self.cam(*pair).cpu() for pair in pairs], dim=1))
        return torch.stack(maps, dim=1), torch.stack(scores, dim=1).detach().cpu()

    def score(self, score: Score, logits: Tensor) -> Tensor:
        """Return the score of each sample (sample,)."""
        rows = [self.rows.index(self.encoded.prompt_length + term.place - 1) for term in score.terms]
        each = logits[:, rows, [term.token_id for term in score.terms]].float()  # (sample, term)
        return (each * each.new_tensor([term.sign for term in score.terms])).sum(dim=1)

    def cam(self, features: Tensor, gradient: Tensor) -> Tensor:
        """Return ReLU(Σ_c α_c F_pc), α_c the mean over p of ∂s/∂F_pc, or ‖∂s/∂F_p‖: (sample, patch)."""
        patches = self.encoded.image_positions.to(features.device)
        gradient = gradient.index_select(1, patches).float()  # (sample, patch, channel)
        if self.method == "gradient-norm":
            return gradient.norm(dim=2)
        visual = features.detach().index_select(1, patches).float()
        return torch.relu(torch.einsum("spc,sc->sp", visual, gradient.mean(dim=1)))


def text_config(model: Any) -> Any:
    """Return the configuration that the decoder's layers share, which is what a capture switches too."""
    first: Any = decoder_layers(model)[0]
    return first.self_attn.config


@contextmanager
def lent(model: Any) -> Iterator[None]:
    """Have the model alone, in eval mode, its parameters without gradients; put everything back on exit."""
    with alone(text_config(model)), in_eval_mode(model), torch.inference_mode(False), torch.enable_grad():
        trained = [weight for weight in model.parameters() if weight.requires_grad]
        position_offset = model.model.rope_deltas
        try:
            for weight in trained:
                weight.requires_grad_(False)
            yield
        finally:
            for weight in trained:
                weight.requires_grad_(True)
            model.model.rope_deltas = position_offset


@contextmanager
def recomputed(layers: Iterable[Any], wanted: bool) -> Iterator[None]:
    """Keep only each layer's input, and compute its inside again in the backward pass.

    transformers does this where a layer has these attributes (gradient checkpointing). That the layer itself
    is in training mode decides nothing else.
    """
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    names = {"gradient_checkpointing": True, "_gradient_checkpointing_func": again, "training": True}
    layers = list(layers) if wanted else []
    before = [{name: vars(layer)[name] for name in names if name in vars(layer)} for layer in layers]
    try:
        for layer in layers:
            vars(layer).update(names)
        yield
    finally:
        for layer, values in zip(layers, before, strict=True):
            for name in names:
                vars(layer).pop(name, None)
            vars(layer).update(values)


# --- As many samples at once as memory allows ---------------------------------------------------------------

# Beyond so many tokens at once a batch is no faster: the processor is busy anyway.
_TOKENS_AT_ONCE = {"cpu": 1024, "cuda": 16_384, "mps": 4096}
USABLE = 0.7  # of the free memory; the estimates are rough, and Linux ends a process that takes too much


@dataclass(frozen=True)
class _Plan:
    """How many samples go into one batch, and whether layers are computed again to save memory."""

    at_once: int
    recompute: bool = False

    def smaller(self) -> _Plan:
        """Return the next plan that needs less memory; MemoryError where there is none."""
        if self.at_once > 1:
            return _Plan(self.at_once // 2)
        if not self.recompute:
            return _Plan(1, recompute=True)
        raise MemoryError(
            "there is not enough memory for the gradients of one sample; "
            "a smaller picture (MAX_PIXELS), later layers or an earlier token need less"
        )


def pass_bytes(model: Any, tokens: int, rows: int, layers: Sequence[int], recompute: bool = False) -> int:
    """Return about how many bytes one sample's forward and backward pass needs beside the weights.

    `tokens` are those that the model reads, `rows` those whose logits are computed. Measured against what
    autograd keeps: 16 bytes a channel of a layer, and its keys, values and three feed-forward activations.
    """
    text, vision = model.config.get_text_config(), model.config.vision_config
    size, wide, inner = model.dtype.itemsize, text.hidden_size, text.intermediate_size
    keys = wide // text.num_attention_heads * text.num_key_value_heads
    of_layer = tokens * (16 * wide + size * (3 * inner + 2 * keys))
    if text._attn_implementation == "eager":
        of_layer += tokens * tokens * text.num_attention_heads * (size + 4)
    kept = text.num_hidden_layers - 1 - layers[0]
    graph = kept * tokens * wide * size + of_layer if recompute else kept * of_layer
    backward = tokens * size * (4 * inner + 6 * wide) + len(layers) * tokens * wide * size
    tower = 4 * tokens * size * (8 * vision.hidden_size + 3 * vision.intermediate_size)
    return graph + backward + tower + 3 * rows * text.vocab_size * max(size, 4)


def _plan(passes: _Passes) -> _Plan:
    """Return how to begin: batches that fit into the free memory, and are worth it."""
    free = free_bytes(passes.model)
    needed = partial(pass_bytes, passes.model, passes.read, len(passes.rows), passes.layers)
    if needed() > USABLE * free:
        sparing = _Plan(1, recompute=True)
        return sparing if needed(recompute=True) <= free else sparing.smaller()
    useful = tokens_at_once(passes.model) // passes.read
    fitting = int(USABLE * free / needed())
    return _Plan(max(1, min(fitting, useful, passes.noise.different_samples)))


def free_bytes(model: Any) -> int:
    """Return the bytes that tensors can still take on the model's devices, all together."""
    return sum(map(_free_bytes, _devices(model)))


def tokens_at_once(model: Any) -> int:
    """Return beyond how many tokens a larger batch is no faster on the model's devices."""
    return min(_TOKENS_AT_ONCE.get(device.type, 1024) for device in _devices(model))


def _devices(model: Any) -> set[torch.device]:
    devices = {weight.device for weight in model.parameters() if weight.device.type != "meta"}
    return devices or {torch.device("cpu")}


def _free_bytes(device: torch.device) -> int:
    """Return the bytes that tensors can still take on a device."""
    if device.type != "cuda":
        return free_memory("cpu")
    cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(torch.cuda.mem_get_info(device)[0]) + cached


def _out_of_memory(error: BaseException) -> bool:
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    said = ("not enough memory", "can't allocate memory", "out of memory")  # CPU on Windows, on Linux; others
    return isinstance(error, RuntimeError) and any(words in str(error) for words in said)


def attempt(compute: Callable[[], Result]) -> Result | None:
    """Return what is computed, or None if memory did not suffice; what it took is free again then."""
    try:
        return compute()
    except Exception as error:
        if not _out_of_memory(error):
            raise
    gc.collect()  # only here: the error held on to the graph
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return None


def _tried(
    passes: _Passes, samples: range, plan: _Plan, check: Callable[[], None]
) -> tuple[Tensor, Tensor] | None:
    """Return a pass's maps and scores, or None if memory did not suffice."""

    def compute() -> tuple[Tensor, Tensor]:
        with recomputed(decoder_layers(passes.model), plan.recompute):
            return passes.run(samples, check)

    return attempt(compute)


def _averages(passes: _Passes, watch: Watch) -> tuple[Tensor, Tensor]:
    """Return the mean raw maps (score, layer, patch) over all samples, and the scores (sample, score)."""
    count, done, scores = passes.noise.different_samples, 0, []
    total, plan = torch.zeros(()), _plan(passes)
    watch.tell(0, count)
    while done < count:
        samples = range(done, min(done + plan.at_once, count))
        found = _tried(passes, samples, plan, watch.check)
        if found is None:
            plan = plan.smaller()
            continue
        for one in found[0]:  # one after the other: the sum does not depend on the batches
            total = total + one
        scores.append(found[1])
        done = samples.stop
        watch.tell(done, count)
    return total / count, torch.cat(scores)


# --- Smooth Grad-CAM ----------------------------------------------------------------------------------------


def smooth_grad_cam(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    layers: Layers = "auto",
    target: Target = None,
    num_samples: int = 10,
    noise_std: float = 0.15,
    seed: int = 0,
    max_new_tokens: int | None = None,
    *,
    method: Method = "grad-cam",
    answer: Capture | Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> GradCam:
    """Return the Smooth Grad-CAM of one score at the layers asked for.

    `target` is None (the whole answer), a token of it or several (negative ones count from the last), a
    `Text` or a `Contrast`; `layers` as for `chosen_layers`. `noise_std` is σ in normalised pixels; without it
    all samples are the same, whatever `num_samples`. Sample i's noise depends on `seed` and i alone. `method`
    is "grad-cam" or "gradient-norm".

    `answer` is an answer given before, to this picture and prompt: a capture, or its token ids. Without one
    the model answers here, taking the likeliest token each time. A target that begins at token 0 needs none.

    `on_progress(samples done, samples in all)` is called before the first and after each batch; setting
    `stop` ends the computation there. The model is put back as it was, also after an error.

    Raises:
        ValueError: for an image, prompt, layer, target or setting that cannot be used.
        Stopped: if `stop` was set.
        MemoryError: if one sample alone does not fit.
        RuntimeError: if the model is at work for a capture or another Grad-CAM.
    """
    run = _Run(model, processor, image, prompt, layers, Noise(num_samples, noise_std, seed), method)
    ids = run.answer(answer, max_new_tokens, stop) if needs_answer(target) or answer is not None else ()
    return run.cams(explanation(run.words, target, ids), Watch(on_progress, stop))[0]


def token_grad_cams(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    layers: Layers = "auto",
    tokens: int | Sequence[int] | None = None,
    num_samples: int = 10,
    noise_std: float = 0.15,
    seed: int = 0,
    max_new_tokens: int | None = None,
    *,
    method: Method = "grad-cam",
    answer: Capture | Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
) -> tuple[GradCam, ...]:
    """Return a Smooth Grad-CAM for each of the answer's tokens, all of them by default.

    All tokens share the forward passes; each costs one backward pass a sample. Otherwise as
    `smooth_grad_cam`.
    """
    run = _Run(model, processor, image, prompt, layers, Noise(num_samples, noise_std, seed), method)
    explained = token_explanations(run.words, tokens, run.answer(answer, max_new_tokens, stop))
    return run.cams(explained, Watch(on_progress, stop))


class _Run:
    """One question to one model, from the arguments to the records."""

    def __init__(
        self,
        model: Any,
        processor: ProcessorMixin,
        image: Image.Image,
        prompt: str,
        layers: Layers,
        noise: Noise,
        method: Method,
    ) -> None:
        if method not in LAYERED:
            raise ValueError(f"method must be one of {', '.join(LAYERED)}; got {method!r}")
        self.method = method
        self.model, self.processor, self.image, self.prompt, self.noise = (
            model,
            processor,
            image,
            prompt,
            noise,
        )
        self.layers, self.notes = chosen_layers(model_layer_count(model), layers)
        self.encoded = encode(model, processor, image, prompt)
        self.words = Words(processor.tokenizer)

    def answer(
        self, given: Capture | Sequence[int] | None, max_new_tokens: int | None, stop: threading.Event | None
    ) -> tuple[int, ...]:
        """Return the token ids of the answer: the given one, checked, or the model's."""
        if given is None:
            extractor = AttentionExtractor(self.model, self.processor, layers=[0])
            capture = extractor.generate(self.image, self.prompt, max_new_tokens, temperature=0.0, stop=stop)
            if capture.stopped:
                raise Stopped
            return capture.token_ids
        if isinstance(given, Capture):
            check_belongs(given, self.encoded, self.model)
            return given.token_ids
        ids = tuple(int(token) for token in given)
        images = (self.model.config.image_token_id, self.model.config.video_token_id)
        for token in ids:
            if not 0 <= token < self.model.config.get_text_config().vocab_size or token in images:
                raise ValueError(f"an answer cannot have the token id {token}")
        return ids

    def cams(self, explained: Explained, watch: Watch) -> tuple[GradCam, ...]:
        """Return the record of each score."""
        with lent(self.model):
            passes = _Passes(self.model, self.encoded, explained, self.layers, self.noise, self.method)
            maps, scores = _averages(passes, watch)
        shape = (len(explained.scores), len(self.layers), *self.encoded.grid)
        maps = maps.reshape(shape)
        scores = scores.expand(self.noise.num_samples, -1)  # without noise all samples have the same
        return tuple(
            self.record(explained, index, maps[index].numpy(), scores[:, index].numpy().copy())
            for index in range(len(explained.scores))
        )

    def record(
        self, explained: Explained, index: int, maps: NDArray[np.float32], scores: NDArray[np.float32]
    ) -> GradCam:
        """Return the record of one score."""
        score, vocabulary = explained.scores[index], self.words.vocabulary
        pieces = [vocabulary.piece(token) for token in explained.token_ids]
        return GradCam(
            maps=maps,
            layers=self.layers,
            layer_count=model_layer_count(self.model),
            grid=self.encoded.grid,
            scores=scores,
            target=score.name,
            target_tokens=score.tokens,
            token_ids=explained.token_ids,
            tokens=tuple(map(vocabulary.shown, explained.token_ids)),
            text=spelled(pieces)[0],
            prompt=self.prompt,
            image_size=self.encoded.image_size,
            image_hash=self.encoded.image_hash,
            model_name=str(self.model.name_or_path),
            settings={
                "method": self.method,
                **asdict(self.noise),
                "dtype": str(self.model.dtype).removeprefix("torch."),
                "attention_backend": text_config(self.model)._attn_implementation,
            },
            notes=(*self.notes, *_zero_notes(self.layers, maps)),
        )


def _zero_notes(layers: Sequence[int], maps: NDArray[np.float32]) -> list[str]:
    """Return a sentence for each layer whose map is zero everywhere."""
    return [
        f"Layer {layer}'s map is zero everywhere: no visual token's features raise the score there."
        for layer, one in zip(layers, maps, strict=True)
        if not one.any()
    ]


# --- Pictures and files -------------------------------------------------------------------------------------

Mode = Literal["single", "grid", "multi", "comparative"]
MODES: tuple[str, ...] = get_args(Mode)
GRID_FILE = "layer_grid.png"
DRAWN_FILES = r"layer_(\d+_(heatmap|superimposed)|grid)\.png"  # names of the pictures written below
_EACH_THIRD = 3  # layers that "comparative" takes of early, middle and late


class LayerCam(NamedTuple):
    """What is returned of a layer: the map over the picture, and the map."""

    superimposed: Image.Image  # RGB, of the picture's size
    heatmap: NDArray[np.float32]  # (h, w), raw


@dataclass(frozen=True)
class Style:
    """How maps are drawn: look (its view is not read), and whether all layers share one range of values."""

    look: Look = field(default_factory=Look)
    scale: str = field(default_factory=lambda: config.HEATMAP_SCALE)

    def __post_init__(self) -> None:
        if self.scale not in ("own", "shared"):
            raise ValueError(f"scale must be 'own' or 'shared'; got {self.scale!r}")

    def look_at(self, cam: GradCam) -> Look:
        """Return the look, with the range of all layers if they share it."""
        if self.scale == "own":
            return self.look
        low, high = visualization.shared_range(cam.maps)
        return replace(self.look, vmin=low, vmax=high)


def comparative_layers(count: int) -> tuple[int, ...]:
    """Return layers of a model with so many: as many early as middle as late ones, at most three of each."""
    thirds = [third for third in layer_thirds(count).values() if third]
    each = min(_EACH_THIRD, *map(len, thirds)) if thirds else 0
    return tuple(layer for third in thirds for layer in spread(third, each))


def save_layers(
    cam: GradCam,
    image: Image.Image,
    save_dir: str | Path,
    mode: str = "grid",
    style: Style | None = None,
    on_progress: OnProgress | None = None,
) -> dict[int, LayerCam]:
    """Write the pictures of all layers into a folder, each file whole or not at all; return them by layer.

    `layer_N_heatmap.png` and `layer_N_superimposed.png` for each layer, `original.png`, `maps.npz` (raw maps
    and what they were made from, read without pickle), and but for mode "single" `layer_grid.png`: all layers
    in order ("grid"), each beside its heatmap ("multi"), or in rows early, middle and late ("comparative").
    `on_progress(layers drawn, layers in all)` is called after each.

    Raises:
        ValueError: for another picture than the one that was explained, or an unknown mode.
    """
    if mode not in MODES:
        raise ValueError(f"mode must be one of {', '.join(MODES)}; got {mode!r}")
    if image_hash(image) != cam.image_hash:
        raise ValueError("this is not the picture that was explained")
    folder, style = Path(save_dir), style or Style()
    look = style.look_at(cam)
    files = ["original.png", "maps.npz", *([GRID_FILE] if mode != "single" else [])]
    drawn = {}
    for done, layer in enumerate(cam.layers, start=1):
        files += _save_layer(cam, image, layer, look, folder)
        drawn[layer] = LayerCam(superimposed(image, cam.layer_map(layer), look), cam.layer_map(layer))
        if on_progress is not None:
            on_progress(done, len(cam.layers))
    if mode != "single":
        save_image(layer_grid(cam, image, mode, look), folder / GRID_FILE)
    save_image(visualization.as_rgb(image), folder / "original.png")
    drawing = {**asdict(look), "scale": style.scale, "mode": mode, "files": sorted(files)}
    save_arrays(folder / "maps.npz", arrays_of(cam, drawing))
    return drawn


def superimposed(image: Image.Image, heatmap: NDArray[np.float32], look: Look | None = None) -> Image.Image:
    """Return the map over the picture, without a colour bar."""
    return visualization.overlay(image, heatmap, replace(look or Look(), view="overlay"))


def _save_layer(cam: GradCam, image: Image.Image, layer: int, look: Look, folder: Path) -> list[str]:
    """Write the two pictures of a layer, with title and colour bar; return their names."""
    names = {view: f"layer_{layer}_{name}.png" for view, name in _VIEWS.items()}
    for view, name in names.items():
        picture = visualization.visualize_attention_on_image(
            image,
            cam.layer_map(layer),
            **{**asdict(look), "view": view},
            title=f"layer {layer} of 0 to {cam.layer_count - 1}",
            subtitle=f"{isolated(cam.target)} · {method(cam)}",
            scale_label=LABELS[cam.settings["method"]],
            unit="",
            min_side=visualization.MIN_SIDE,
            max_side=visualization.MAX_SIDE,
        )
        save_image(picture, folder / name)
    return list(names.values())


_VIEWS = {"heatmap": "heatmap", "overlay": "superimposed"}


def method(cam: GradCam) -> str:
    """Return how the maps were made, for people."""
    samples, noise = cam.settings["num_samples"], cam.settings["noise_std"]
    name = LABELS[cam.settings["method"]]
    return f"Smooth {name}, {samples} samples, noise {noise:g}" if noise else name[0].upper() + name[1:]


def layer_grid(cam: GradCam, image: Image.Image, mode: str, look: Look) -> Image.Image:
    """Return all layers in one picture, in order, arranged as the mode says."""
    maps, labels = list(cam.maps), [f"layer {layer}" for layer in cam.layers]
    pictures, columns = visualization.thumbnails(image, maps, replace(look, view="overlay")), None
    if mode == "multi":
        alone_ = visualization.thumbnails(image, maps, replace(look, view="heatmap"))
        pictures = [picture for pair in zip(pictures, alone_, strict=True) for picture in pair]
        maps, labels = ([one for one in both for _ in range(2)] for both in (maps, labels))
        columns = 2 * math.ceil(len(cam.layers) / 6)
    if mode == "comparative":
        thirds = layer_thirds(cam.layer_count)
        of = {layer: name for name, third in thirds.items() for layer in third}
        labels = [f"{of[layer]}: layer {layer}" for layer in cam.layers]
        columns = max(1, len(cam.layers) // len({of[layer] for layer in cam.layers}))
    subtitle = f"{isolated(cam.target)} · {method(cam)} · {cam.layer_count} layers"
    title = one_line(cam.text) or cam.target
    words = {"title": title, "subtitle": subtitle, "scale_label": LABELS[cam.settings["method"]]}
    return visualization.map_grid(pictures, maps, labels, look, columns, **words, unit="")


def arrays_of(cam: GradCam, drawing: Mapping[str, Any] | None = None) -> dict[str, NDArray[Any]]:
    """Return the record as arrays for an NPZ; `axes` and `settings` are JSON."""
    named: dict[str, tuple[NDArray[Any], str]] = {
        "maps": (cam.maps, "layer,h,w"),
        "layers": (np.array(cam.layers), "layer"),
        "scores": (cam.scores, "sample"),
        "token_ids": (np.array(cam.token_ids), "token"),
        "tokens": (np.array(cam.tokens), "token"),
        "target_tokens": (np.array(cam.target_tokens), "target token"),
    }
    facts = {
        "grid": cam.grid,  # (h, w)
        "image_size": cam.image_size,  # (h, w)
        "image_hash": cam.image_hash,
        "model": cam.model_name,
        "layer_count": cam.layer_count,
        "prompt": cam.prompt,
        "answer": cam.text,
        "target": cam.target,
        "notes": " ".join(cam.notes),
    }
    return described_arrays(named, facts, {"gradcam": cam.settings, "drawing": dict(drawing or {})})


# --- Under the names that people know -----------------------------------------------------------------------


class Options(TypedDict, total=False):
    """What every function below also takes: as `smooth_grad_cam` does, and a style for the pictures."""

    target: Target
    seed: int
    method: Method
    max_new_tokens: int | None
    answer: Capture | Sequence[int] | None
    on_progress: OnProgress | None
    stop: threading.Event | None


class SmoothQwenGradCAM:
    """Smooth Grad-CAM of one decoder layer. Nothing stays registered on the model between calls."""

    def __init__(
        self,
        model: Any,
        processor: ProcessorMixin,
        target_layer: int | nn.Module,
        num_samples: int = 10,
        noise_std: float = 0.1,
    ) -> None:
        """Choose the layer: one of `get_model_layers(model)[0]`, or its number.

        Raises:
            ValueError: for the last layer, with the reason, and for what is no layer of the model.
        """
        self.model, self.processor = model, processor
        self.noise = Noise(num_samples, noise_std)
        (self.layer,), _ = chosen_layers(model_layer_count(model), _layer_number(model, target_layer))

    def generate_cam(
        self, image: Image.Image, prompt: str, use_smooth: bool = True, **options: Unpack[Options]
    ) -> LayerCam:
        """Return (superimposed, heatmap): the map over the picture, and the raw map (h, w), un-normalised.

        Without `use_smooth` it is plain Grad-CAM: one sample and no noise.
        """
        samples, noise = (self.noise.num_samples, self.noise.noise_std) if use_smooth else (1, 0.0)
        cam = smooth_grad_cam(
            self.model,
            self.processor,
            image,
            prompt,
            self.layer,
            num_samples=samples,
            noise_std=noise,
            **options,
        )
        return LayerCam(superimposed(image, cam.maps[0]), cam.maps[0])


def _layer_number(model: Any, layer: int | nn.Module) -> int:
    if not isinstance(layer, nn.Module):
        return layer
    for number, module in enumerate(decoder_layers(model)):
        if module is layer:
            return number
    raise ValueError("the target layer is no decoder layer of this model; see get_model_layers(model)")


def get_model_layers(model: Any) -> tuple[list[nn.Module], int]:
    """Return the decoder layers, first to last, and how many there are. The last has no Grad-CAM."""
    layers = list(decoder_layers(model))
    return layers, len(layers)


def single_layer_visualization(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    layer_idx: int = -2,
    num_samples: int = 10,
    noise_std: float = 0.15,
    save_dir: str | Path = "results/single",
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return one layer's map, by layer, and write its pictures into `save_dir` (see `save_layers`)."""
    cam = smooth_grad_cam(
        model, processor, image, prompt, layer_idx, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "single", style)


def create_layer_comparison_grid(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    layer_range: Layers = "auto",
    save_dir: str | Path = "results/grid",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps by layer, and write them and a grid of them; `layer_range` as for `chosen_layers`."""
    cam = smooth_grad_cam(
        model, processor, image, prompt, layer_range, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "grid", style)


def visualize_multiple_layers(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    layer_indices: Layers = "auto",
    save_dir: str | Path = "results/multilayer",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps by layer, and write them and a grid with each layer's overlay beside its heatmap."""
    cam = smooth_grad_cam(
        model,
        processor,
        image,
        prompt,
        layer_indices,
        num_samples=num_samples,
        noise_std=noise_std,
        **options,
    )
    return save_layers(cam, image, save_dir, "multi", style)


def create_comparative_analysis(
    model: Any,
    processor: ProcessorMixin,
    image: Image.Image,
    prompt: str,
    save_dir: str | Path = "results/comparative",
    num_samples: int = 10,
    noise_std: float = 0.15,
    style: Style | None = None,
    **options: Unpack[Options],
) -> dict[int, LayerCam]:
    """Return maps of early, middle and late layers, and write them and a grid with a row of each."""
    layers = comparative_layers(model_layer_count(model))
    cam = smooth_grad_cam(
        model, processor, image, prompt, layers, num_samples=num_samples, noise_std=noise_std, **options
    )
    return save_layers(cam, image, save_dir, "comparative", style)

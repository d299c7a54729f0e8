"""Grad-CAM, Smooth Grad-CAM and the gradient norm, of many decoder layers at once.

Goes in: a model, its processor, an image, a prompt, and what is to be explained. Comes out: a `GradCam`, a
plain record. Knows nothing of attention maps, files and pages.

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

import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from attention_extractor import AttentionExtractor
from internals.exclusive import lent
from internals.gradients import LayerGradients, averages
from internals.teacher_forcing import check_belongs
from model import (
    Pictures,
    Processor,
    attention_layers,
    chosen_thinking,
    decoder_config,
    encode,
    model_layer_count,
)
from records.capture import Capture
from records.grad_cam import LABELS, GradCam
from records.layers import Layers, chosen_layers
from records.targets import Explained, Target, Words, explanation, needs_answer, token_explanations
from records.tokens import spelled
from records.visuals import shape_of_map
from utils import OnProgress, Stopped, Watch

EXPERTS = "Each noisy copy may be read by other experts of the model: the mean is over more than the noise."


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


def _weighted_features(features: Tensor, gradient: Tensor) -> Tensor:
    """Return ReLU(Σ_c α_c F_pc), α_c the mean over p of ∂s/∂F_pc: (sample, patch)."""
    return torch.relu(torch.einsum("spc,sc->sp", features, gradient.mean(dim=1)))


def _gradient_length(features: Tensor, gradient: Tensor) -> Tensor:
    """Return ‖∂s/∂F_p‖: (sample, patch)."""
    return gradient.norm(dim=2)


_KEPT: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "grad-cam": _weighted_features,
    "gradient-norm": _gradient_length,
}


def smooth_grad_cam(
    model: Any,
    processor: Processor,
    image: Pictures,
    prompt: str,
    layers: Layers = "auto",
    target: Target = None,
    num_samples: int = 10,
    noise_std: float = 0.15,
    seed: int = 0,
    max_new_tokens: int | None = None,
    *,
    method: str = "grad-cam",
    answer: Capture | Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    thinking: bool | None = None,
    system: str | None = None,
) -> GradCam:
    """Return the Smooth Grad-CAM of one score at the layers asked for; `image` is a picture, or several.

    `target` is None (the whole answer), a token of it or several (negative ones count from the last), a
    `Text` or a `Contrast`; `layers` as for `chosen_layers`. `noise_std` is σ in normalised pixels; without it
    all samples are the same, whatever `num_samples`. Sample i's noise depends on `seed` and i alone. `method`
    is "grad-cam" or "gradient-norm".

    `answer` is an answer given before, to this picture and prompt: a capture, or its token ids. Without one
    the model answers here, as `config` says; `thinking` and `system` are as for
    `AttentionExtractor.generate`; a capture brings its own. A target that begins at token 0 needs none.

    `on_progress(samples done, samples in all)` is called before the first and after each batch; setting
    `stop` ends the computation there. The model is put back as it was, also after an error.

    Raises:
        ValueError: for an image, prompt, layer, target or setting that cannot be used.
        Stopped: if `stop` was set.
        MemoryError: if one sample alone does not fit.
        RuntimeError: if the model is at work for a capture or another Grad-CAM.
    """
    noise = Noise(num_samples, noise_std, seed)
    chat = _chat(processor, answer, thinking, system)
    run = _Run(model, processor, image, prompt, layers, noise, method, chat)
    ids = run.answer(answer, max_new_tokens, stop) if needs_answer(target) or answer is not None else ()
    return run.cams(explanation(run.words, target, ids), Watch(on_progress, stop))[0]


def token_grad_cams(
    model: Any,
    processor: Processor,
    image: Pictures,
    prompt: str,
    layers: Layers = "auto",
    tokens: int | Sequence[int] | None = None,
    num_samples: int = 10,
    noise_std: float = 0.15,
    seed: int = 0,
    max_new_tokens: int | None = None,
    *,
    method: str = "grad-cam",
    answer: Capture | Sequence[int] | None = None,
    on_progress: OnProgress | None = None,
    stop: threading.Event | None = None,
    thinking: bool | None = None,
) -> tuple[GradCam, ...]:
    """Return a Smooth Grad-CAM for each of the answer's tokens, all of them by default.

    All tokens share the forward passes; each costs one backward pass a sample. Otherwise as
    `smooth_grad_cam`.
    """
    noise = Noise(num_samples, noise_std, seed)
    run = _Run(model, processor, image, prompt, layers, noise, method, _chat(processor, answer, thinking))
    explained = token_explanations(run.words, tokens, run.answer(answer, max_new_tokens, stop))
    return run.cams(explained, Watch(on_progress, stop))


def _chat(
    processor: Processor,
    answer: Capture | Sequence[int] | None,
    thinking: bool | None,
    system: str | None = None,
) -> dict[str, Any]:
    """Return what stands around the question in its chat: as the capture says, else as chosen."""
    if not isinstance(answer, Capture):
        return {"thinking": chosen_thinking(processor, thinking), "system": system}
    return {"thinking": answer.thinking, "system": answer.system, "history": answer.history}


class _Run:
    """One question to one model, from the arguments to the records."""

    def __init__(
        self,
        model: Any,
        processor: Processor,
        image: Pictures,
        prompt: str,
        layers: Layers,
        noise: Noise,
        method: str,
        chat: Mapping[str, Any],
    ) -> None:
        if method not in LABELS:
            raise ValueError(f"method must be one of {', '.join(LABELS)}; got {method!r}")
        self.method, self.thinking = method, chat["thinking"]
        self.model, self.processor, self.image, self.prompt, self.noise = (
            model,
            processor,
            image,
            prompt,
            noise,
        )
        self.layers, self.notes = chosen_layers(model_layer_count(model), layers)
        self.encoded = encode(model, processor, image, prompt, **chat)
        self.words = Words(processor.tokenizer)

    def answer(
        self, given: Capture | Sequence[int] | None, max_new_tokens: int | None, stop: threading.Event | None
    ) -> tuple[int, ...]:
        """Return the token ids of the answer: the given one, checked, or the model's."""
        if given is None:
            one_layer = attention_layers(self.model)[:1]
            extractor = AttentionExtractor(self.model, self.processor, layers=one_layer, keep="head-mean")
            capture = extractor.generate(
                self.image, self.prompt, max_new_tokens, stop=stop, thinking=self.thinking
            )
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

    def picture(self, sample: int) -> Tensor:
        """Return the picture (patch, value) of one sample, as the model reads it."""
        vision = self.model.config.vision_config
        pixels = self.encoded.pixels
        return self.noise.noisy(pixels, sample, vision.in_channels, vision.temporal_patch_size)

    def cams(self, explained: Explained, watch: Watch) -> tuple[GradCam, ...]:
        """Return the record of each score."""
        passes = LayerGradients(
            self.model,
            self.encoded,
            explained,
            self.layers,
            self.noise.different_samples,
            self.picture,
            _KEPT[self.method],
        )
        with lent(self.model):
            maps, scores = averages(passes, watch)
        shape = (len(explained.scores), len(self.layers), *shape_of_map(self.encoded.visuals))
        maps = maps.reshape(shape)
        scores = scores.expand(self.noise.num_samples, -1)  # without noise all samples have the same
        return tuple(
            self.record(explained, index, maps[index].numpy(), scores[:, index].numpy().copy())
            for index in range(len(explained.scores))
        )

    def noise_notes(self) -> list[str]:
        """Return what noise does beside blurring: in a model with experts it can choose others."""
        text = self.model.config.get_text_config()
        switches = self.noise.noise_std and getattr(text, "num_experts_per_tok", None)
        return [EXPERTS] if switches else []

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
            visuals=self.encoded.visuals,
            scores=scores,
            target=score.name,
            target_tokens=score.tokens,
            token_ids=explained.token_ids,
            tokens=tuple(map(vocabulary.shown, explained.token_ids)),
            text=spelled(pieces)[0],
            prompt=self.prompt,
            model_name=str(self.model.name_or_path),
            settings={
                "method": self.method,
                **asdict(self.noise),
                "dtype": str(self.model.dtype).removeprefix("torch."),
                "attention_backend": decoder_config(self.model)._attn_implementation,
            },
            notes=(*self.notes, *self.noise_notes(), *_zero_notes(self.layers, maps)),
        )


def _zero_notes(layers: Sequence[int], maps: NDArray[np.float32]) -> list[str]:
    """Return a sentence for each layer whose map is zero everywhere."""
    return [
        f"Layer {layer}'s map is zero everywhere: no visual token's features raise the score there."
        for layer, one in zip(layers, maps, strict=True)
        if not one.any()
    ]

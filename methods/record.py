"""What a method is, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from attention_processor import chosen_indices


@dataclass(frozen=True)
class Method:
    """One way to explain a token, for people; and the options that it takes, each with its default."""

    name: str
    label: str
    what: str  # one sentence: what a cell's value is
    paper: str
    unit: str  # of the values as they are; "" for numbers without one
    scale_label: str  # for a colour bar
    needs_model: bool  # False: the capture is enough
    caveat: str  # one sentence: how it misleads
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))


@dataclass(frozen=True)
class Cost:
    """What a computation took. A pass is one reading of prompt and answer, however many share a batch."""

    forward: int = 0
    backward: int = 0
    seconds: float = 0.0


@dataclass(frozen=True, eq=False)
class TokenMaps:
    """A map of each token, with all that is needed to say how it was made."""

    method: str
    tokens: tuple[int, ...]  # of the answer, ascending, each once
    maps: NDArray[np.float32]  # (token, h, w), raw and un-normalised
    cost: Cost = Cost()
    settings: dict[str, Any] = field(default_factory=dict)  # JSON-ready
    notes: tuple[str, ...] = ()  # what a person should know, in sentences

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        if self.method not in METHODS:
            raise ValueError(f"method must be one of {', '.join(METHODS)}; got {self.method!r}")
        if not self.tokens or list(self.tokens) != sorted(set(self.tokens)) or self.tokens[0] < 0:
            raise ValueError(f"expected tokens ascending, each once, from 0; got {self.tokens}")
        if self.maps.ndim != 3 or len(self.maps) != len(self.tokens) or self.maps.size == 0:
            raise ValueError(
                f"expected maps of shape (token, h, w)=({len(self.tokens)}, h, w), at least one cell each; "
                f"got {self.maps.shape}"
            )
        if self.maps.dtype != np.float32:
            raise ValueError(f"expected maps in float32; got {self.maps.dtype}")
        if not np.isfinite(self.maps).all():
            raise ValueError("the maps have NaN or infinite values; bfloat16 or float32 may help")

    def token_map(self, tokens: int | Sequence[int]) -> NDArray[np.float32]:
        """Return the map (h, w) of a token, or of several: the mean of their maps."""
        last = self.tokens[-1] + 1
        places = []
        for token in chosen_indices(tokens, last, "token"):
            if token not in self.tokens:
                raise ValueError(
                    f"token {token} is not among those computed: {', '.join(map(str, self.tokens))}"
                )
            places.append(self.tokens.index(token))
        return self.maps[places].mean(axis=0)


_OF_ROWS: Mapping[str, Any] = {"layers": None, "heads": None, "aggregation": "mean", "pairs": None}
_OF_NOISE: Mapping[str, Any] = {"num_samples": 10, "noise_std": 0.15, "seed": 0}

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        method.name: method
        for method in (
            Method(
                name="attention",
                label="Attention",
                what="How much of the token's attention went to each patch, in the chosen layers and heads.",
                paper="Vaswani et al. 2017, arXiv 1706.03762",
                unit="share of attention",
                scale_label="attention",
                needs_model=False,
                caveat="A patch can be looked at and not used, and sinks are looked at whatever the word.",
                options=_OF_ROWS,
            ),
            Method(
                name="relative",
                label="Relative attention",
                what="How many times more the token looks at a patch than a general question does.",
                paper="Zhang et al. 2025, arXiv 2502.17422",
                unit="times",
                scale_label="attention relative to a general question",
                needs_model=True,
                caveat="Patches that nothing looks at can come out high: a small share over a smaller one.",
                options={**_OF_ROWS, "epsilon": None},
            ),
            Method(
                name="rollout",
                label="Attention rollout",
                what="How much of each patch reaches the token if all layers only mix by their attention.",
                paper="Abnar and Zuidema 2020, arXiv 2005.00928",
                unit="share",
                scale_label="rolled-out attention",
                needs_model=True,
                caveat="It knows how much is mixed, not what; after many layers all patches look alike.",
                options={"layers": None, "heads": None},
            ),
            Method(
                name="gradient-attention",
                label="Gradient × attention",
                what="Attention of the chosen layers, where more of it would raise the token's logit, "
                "chained from layer to layer.",
                paper="Chefer et al. 2021, arXiv 2103.15679",
                unit="",
                scale_label="gradient × attention",
                needs_model=True,
                caveat="Gradients describe small changes: a patch that many others repeat can come out low.",
                options={"layers": None, "heads": None},
            ),
            Method(
                name="grad-cam",
                label="Grad-CAM",
                what="How much the features of each patch raise the token's logit, "
                "the mean over the chosen layers.",
                paper="Selvaraju et al. 2017, arXiv 1610.02391",
                unit="",
                scale_label="Grad-CAM",
                needs_model=True,
                caveat="It has one weight a channel for all patches: made for convolutions, often off here.",
                options={"layers": None},
            ),
            Method(
                name="smooth-grad-cam",
                label="Smooth Grad-CAM",
                what="Grad-CAM, the mean over noisy copies of the picture.",
                paper="Smilkov et al. 2017, arXiv 1706.03825",
                unit="",
                scale_label="Smooth Grad-CAM",
                needs_model=True,
                caveat="As Grad-CAM; strong noise explains an answer that the model would no longer give.",
                options={"layers": None, **_OF_NOISE},
            ),
            Method(
                name="gradient-norm",
                label="Gradient norm",
                what="How strongly the token's logit reacts to the features of each patch, up or down, "
                "the mean over the chosen layers.",
                paper="Simonyan et al. 2014, arXiv 1312.6034",
                unit="",
                scale_label="gradient norm",
                needs_model=True,
                caveat="It says that a patch matters, not whether it speaks for the word or against it.",
                options={"layers": None, **_OF_NOISE, "num_samples": 1, "noise_std": 0.0},
            ),
            Method(
                name="tam",
                label="Token activation map",
                what="How strongly each patch's own features suggest the token, "
                "less what earlier words suggest there.",
                paper="Li et al. 2025, arXiv 2506.23270",
                unit="logit",
                scale_label="token activation",
                needs_model=True,
                caveat="It reads the patch's features, not what the answer took from them.",
            ),
            Method(
                name="occlusion",
                label="Occlusion",
                what="How far the token's log-probability falls when a region of the picture is covered.",
                paper="Zeiler and Fergus 2014, arXiv 1311.2901",
                unit="nats",
                scale_label="fall in log-probability",
                needs_model=True,
                caveat="Larger things are only partly covered, and covered pictures are new to the model.",
                options={"size": None, "stride": None, "fill": "mean"},
            ),
        )
    }
)

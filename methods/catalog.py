"""The catalogue of methods: one row for each, read by everything that offers or checks one.

Goes in: nothing. Comes out: `METHODS`, what each method is for people, and where its function stands. Knows
nothing of torch, pictures and pages: only the standard library is imported, so that config and the shell's
help can read it at once. A method's function is imported when it first runs.
"""

from __future__ import annotations

import reprlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

# What helps where heads were not kept that something needs.
ASK_AGAIN = 'set KEEP = "all" in config.py (in the shell: --keep all) and ask again'


class FromConfig(NamedTuple):
    """The default of an option that is config's setting of this name, as it is when the method runs."""

    setting: str


class Kind(Protocol):
    """What decides which methods answers have: of a model, which a family's row says; and of a capture."""

    @property
    def hybrid(self) -> bool:
        """Whether some of its layers mix positions without attention."""

    @property
    def gated(self) -> bool:
        """Whether a gate follows the attention of each of its heads."""

    @property
    def keep(self) -> object:
        """What was kept of the heads: "all", "head-mean", or pairs; "all" where nothing is kept yet."""


class Need(NamedTuple):
    """What a method needs of a model beyond a decoder with attention, or of what was kept of an answer."""

    met: Callable[[Kind], bool]
    only: str  # what has it: "only for …"; "" for every model
    reason: str  # why others have no maps, and what to do


@dataclass(frozen=True)
class Method:
    """One way to explain a token, for people; the options that it takes, each with its default."""

    name: str
    label: str
    short: str  # two words or so, for a button
    sentence: str  # what its maps are, in plain words: what stands after "this is"
    cost: str  # what an answer's maps take, in a few words
    what: str  # one sentence: what a cell's value is
    paper: str  # authors, year, arXiv id
    unit: str  # of the values as they are; "" for numbers without one
    scale_label: str  # what one number is, for a colour bar
    needs_model: bool  # False: the capture is enough
    caveat: str  # one sentence: how it misleads, or what it does not prove
    function: str  # "module:function", of a `Question` and the options
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    fixed: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))  # options nobody chooses
    folds: bool = False  # whoever looks at it chooses layers, heads and how they are folded into one map
    sinks: bool = False  # sinks can be left out
    of_prompt: bool = False  # tokens of the prompt have maps too
    needs: Need | None = None  # of the model; None: every model has it
    record: Need | None = None  # of what was kept of the answer's attention

    @property
    def shown_unit(self) -> str:
        """The unit beside its numbers: "%" for shares, which are shown times 100."""
        return "%" if self.unit.startswith("share") else self.unit

    def refusal(self, kind: Kind) -> str:
        """Return why answers of such a model have no maps by this method, in one line; "" where they have."""
        for need in (self.needs, self.record):
            if need is not None and not need.met(kind):
                return f"{self.label}: {need.reason}"
        return ""


_ATTENTION_IN_ALL_LAYERS = Need(
    lambda kind: not kind.hybrid,
    "models with attention in every layer",
    "not for this model, where layers without attention mix positions too: take gradient-attention",
)
_GATES = Need(
    lambda kind: kind.gated,
    "models with gates behind their attention",
    "not for this model, which has no gates behind its attention: take attention",
)
_EVERY_HEAD = Need(
    lambda kind: kind.keep == "all",
    "",
    f"it looks among all heads, which were not kept with this answer: {ASK_AGAIN}",
)
_EACH_HEAD = Need(
    lambda kind: kind.keep != "head-mean",
    "",
    f"it takes each head by itself, and only their mean was kept with this answer: {ASK_AGAIN}",
)
_OF_ROWS: Mapping[str, Any] = {"layers": None, "heads": None, "aggregation": "mean", "pairs": None}


def _local_heads(count: int) -> Method:
    """Return the row of attention in so many of the most local heads."""
    return Method(
        name=f"heads-{count}",
        label=f"Attention, {count} most local heads",
        short=f"{count} local heads",
        sentence=f"attention of the {count} heads that look at one place most",
        cost="free",
        what=f"The mean attention of the {count} heads whose maps are the most local: a high share on the "
        "image, in few pieces.",
        paper="Kang et al. 2025, arXiv 2503.06287",
        unit="share of attention",
        scale_label="share of attention",
        needs_model=False,
        caveat="Which heads these are is found for this answer alone; what they look at need not be used.",
        function="methods.heads:local_attention",
        fixed={"count": count},
        record=_EVERY_HEAD,
    )


_ROWS = (
    Method(
        name="attention",
        label="Attention",
        short="Fast",
        sentence="where this word's attention went; free",
        cost="free",
        what="How much of the token's attention went to each patch, in the chosen layers and heads.",
        paper="Vaswani et al. 2017, arXiv 1706.03762",
        unit="share of attention",
        scale_label="share of attention",
        needs_model=False,
        caveat="Attention shows where the model looked, not why it chose a word: the word might be the same "
        "without that part of the picture, and some cells draw attention whatever the word.",
        function="methods.attended:attention",
        options=_OF_ROWS,
        folds=True,
        sinks=True,
        of_prompt=True,
    ),
    *map(_local_heads, (3, 5, 8)),
    Method(
        name="relative",
        label="Relative attention",
        short="Relative",
        sentence="how many times more this word looks at a part than a general question does",
        cost="one reading",
        what="How many times more the token looks at a patch than a general question does.",
        paper="Zhang et al. 2025, arXiv 2502.17422",
        unit="times",
        scale_label="attention relative to a general question",
        needs_model=True,
        caveat="Patches that nothing looks at can come out high: a small share over a smaller one.",
        function="methods.attended:relative",
        options={**_OF_ROWS, "epsilon": None},
        record=_EACH_HEAD,
    ),
    Method(
        name="rollout",
        label="Attention rollout",
        short="Rollout",
        sentence="how much of each part can reach this word, going by attention alone",
        cost="one reading",
        what="How much of each patch reaches the token if all layers only mix by their attention.",
        paper="Abnar and Zuidema 2020, arXiv 2005.00928",
        unit="share",
        scale_label="rolled-out attention",
        needs_model=True,
        caveat="It knows how much is mixed, not what; after many layers all patches look alike.",
        function="methods.flow:rollout",
        options={"layers": None, "heads": None},
        needs=_ATTENTION_IN_ALL_LAYERS,
    ),
    Method(
        name="gradient-attention",
        label="Gradient × attention",
        short="Grad × attn",
        sentence="attention that pushed this word up",
        cost="one reading, and one pass back for each token",
        what="Attention of the chosen layers, where more of it would raise the token's logit, "
        "chained from layer to layer.",
        paper="Chefer et al. 2021, arXiv 2103.15679",
        unit="",
        scale_label="gradient × attention",
        needs_model=True,
        caveat="Gradients describe small changes: a patch that many others repeat can come out low.",
        function="methods.flow:gradient_attention",
        options={"layers": None, "heads": None},
    ),
    Method(
        name="grad-cam",
        label="Grad-CAM",
        short="Grad-CAM",
        sentence="parts whose features push this word up",
        cost="one reading, and one pass back for each token",
        what="How much the features of each patch raise the token's logit, the mean over the chosen layers.",
        paper="Selvaraju et al. 2017, arXiv 1610.02391",
        unit="",
        scale_label="Grad-CAM",
        needs_model=True,
        caveat="It has one weight a channel for all patches: made for convolutions, often off here.",
        function="methods.cams:grad_cam",
        options={"layers": None},
    ),
    Method(
        name="smooth-grad-cam",
        label="Smooth Grad-CAM",
        short="Smooth CAM",
        sentence="Grad-CAM, averaged over noisy copies of the picture; slow",
        cost="as Grad-CAM, for each noisy copy",
        what="Grad-CAM, the mean over noisy copies of the picture.",
        paper="Smilkov et al. 2017, arXiv 1706.03825",
        unit="",
        scale_label="Smooth Grad-CAM",
        needs_model=True,
        caveat="As Grad-CAM; strong noise explains an answer that the model would no longer give.",
        function="methods.cams:grad_cam",
        options={
            "layers": None,
            "num_samples": FromConfig("GRADCAM_SAMPLES"),
            "noise_std": FromConfig("GRADCAM_NOISE"),
            "seed": 0,
        },
    ),
    Method(
        name="gradient-norm",
        label="Gradient norm",
        short="Grad norm",
        sentence="parts whose small changes would move this word most, up or down",
        cost="one reading, and one pass back for each token",
        what="How strongly the token's logit reacts to the features of each patch, up or down, "
        "the mean over the chosen layers.",
        paper="Simonyan et al. 2014, arXiv 1312.6034",
        unit="",
        scale_label="gradient norm",
        needs_model=True,
        caveat="It says that a patch matters, not whether it speaks for the word or against it.",
        function="methods.cams:grad_cam",
        options={"layers": None, "num_samples": 1, "noise_std": 0.0, "seed": 0},
        fixed={"method": "gradient-norm"},
    ),
    Method(
        name="tam",
        label="Token activation map",
        short="Token act.",
        sentence="parts that suggest this word by themselves, less what earlier words suggest there",
        cost="one reading",
        what="How strongly each patch's own features suggest the token, "
        "less what earlier words suggest there.",
        paper="Li et al. 2025, arXiv 2506.23270",
        unit="logit",
        scale_label="token activation",
        needs_model=True,
        caveat="It reads the patch's features, not what the answer took from them.",
        function="methods.activation:token_activation",
    ),
    Method(
        name="occlusion",
        label="Occlusion",
        short="Causal",
        sentence="what the word loses when each part is hidden; slow",
        cost="one reading for each part",
        what="How far the token's log-probability falls when a region of the picture is covered.",
        paper="Zeiler and Fergus 2014, arXiv 1311.2901",
        unit="nats",
        scale_label="fall in log-probability",
        needs_model=True,
        caveat="Larger things are only partly covered, and covered pictures are new to the model.",
        function="methods.occlusion:occlusion",
        options={"size": None, "stride": None, "fill": "mean"},
    ),
    Method(
        name="gated-attention",
        label="Gated attention",
        short="Gated",
        sentence="attention, as far as the gate behind each head lets it through",
        cost="one reading",
        what="How much of the token's attention went to each patch, times how far its head's gate is open, "
        "in the chosen layers and heads.",
        paper="Qiu et al. 2025, arXiv 2505.06708",
        unit="share",
        scale_label="gated attention",
        needs_model=True,
        caveat="A gate has a value for each channel, and this takes their mean: "
        "of what two patches hold, one may pass and the other not.",
        function="methods.attended:gated",
        options=_OF_ROWS,
        needs=_GATES,
        record=_EACH_HEAD,
    ),
    # One more: docs/add-a-method.md
)

METHODS: Mapping[str, Method] = MappingProxyType({method.name: method for method in _ROWS})
LAYERED = ("grad-cam", "gradient-norm")  # those that make a map of each layer too: a `GradCam`


def method_named(name: object) -> Method:
    """Return the row of that name; ValueError, with all names, if there is none."""
    if not isinstance(name, str) or name not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}; got {reprlib.repr(name)}")
    return METHODS[name]

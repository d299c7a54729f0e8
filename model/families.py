"""The model families that are known, one row each, and where in a model of theirs the parts lie.

Goes in: a `model_type` from a config.json, its settings, or a loaded model. Comes out: what loads its
processor, what it is like, its decoder layers and those of them that have attention. Knows nothing of files
and encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import AutoProcessor, Qwen2_5_VLProcessor, Qwen2VLProcessor, Qwen3VLProcessor
from transformers.processing_utils import ProcessorMixin

from model.torchvision_guard import TORCHVISION
from records.boxes import PIXELS, THOUSANDTHS, UNKNOWN

Processor = ProcessorMixin  # for annotations elsewhere
WHY_MASKED = "which cannot be recorded exactly; choose a model whose words can look at everything before them"


class ImageOnlyProcessor(ProcessorMixin):
    """What stands behind a family's processor in `image_only`, and takes no video processor."""

    def __init__(
        self,
        image_processor: Any = None,
        tokenizer: Any = None,
        video_processor: None = None,
        chat_template: str | None = None,
    ) -> None:
        """Take what a family's processor hands on."""
        super().__init__(image_processor, tokenizer, chat_template=chat_template)


def image_only(full: Any) -> Any:
    """Return a family's processor without its video half, which insists on torchvision.

    It goes by the published name: a saved folder names its processor's class, and AutoProcessor could not
    load another. What it is loaded from is read off its own parameters.
    """

    def begin(
        self: Any, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        full.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    return type(full.__name__, (full, ImageOnlyProcessor), {"__init__": begin})


@dataclass(frozen=True)
class VideoLayout:
    """How a family reads a clip."""

    together: bool = False  # bounds on pixels are those of all frames together, not of each
    timed: bool = False  # the text says when each step is, and each is a run of tokens of its own
    spaced: bool = False  # the model is told how many seconds lie between steps
    most_tokens: int = (
        128_000  # what a capped clip may have: all of it, or each frame where bounds are together
    )


@dataclass(frozen=True)
class Family:
    """One kind of model, by the `model_type` of its config.json."""

    model_type: str
    label: str  # for people
    example: str  # a published checkpoint, by its hub id
    processor: type[ProcessorMixin]
    attention_every: int = 1  # one of so many layers has attention, where config.json lists no layer_types
    gated: bool = False  # a gate follows the attention of each head, inside self_attn
    video: VideoLayout | None = None  # None where clips are not read
    boxes: str = UNKNOWN  # the unit of the boxes that it writes, see records/boxes.py

    @property
    def hybrid(self) -> bool:
        """Whether some layers mix positions without attention."""
        return self.attention_every > 1

    @property
    def keep(self) -> str:
        """What can be kept of the heads' attention with its answers."""
        return "all"


_LATER = VideoLayout(together=True, timed=True, most_tokens=768)
_HYBRID: Mapping[str, Any] = {
    "processor": Qwen3VLProcessor,
    "attention_every": 4,
    "gated": True,
    "video": _LATER,
    "boxes": THOUSANDTHS,
}
FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.model_type: family
        for family in (
            Family(
                "qwen2_vl",
                "Qwen2-VL",
                "Qwen/Qwen2-VL-2B-Instruct",
                Qwen2VLProcessor,
                video=VideoLayout(),
                boxes=THOUSANDTHS,
            ),
            Family(
                "qwen2_5_vl",
                "Qwen2.5-VL",
                "Qwen/Qwen2.5-VL-3B-Instruct",
                Qwen2_5_VLProcessor,
                video=VideoLayout(spaced=True),
                boxes=PIXELS,
            ),
            Family(
                "qwen3_vl",
                "Qwen3-VL",
                "Qwen/Qwen3-VL-4B-Instruct",
                Qwen3VLProcessor,
                video=_LATER,
                boxes=THOUSANDTHS,
            ),
            Family(
                "qwen3_vl_moe",
                "Qwen3-VL MoE",
                "Qwen/Qwen3-VL-30B-A3B-Instruct",
                Qwen3VLProcessor,
                video=_LATER,
                boxes=THOUSANDTHS,
            ),
            Family("qwen3_5", "Qwen3.5", "Qwen/Qwen3.5-27B", **_HYBRID),
            Family("qwen3_5_moe", "Qwen3.5 MoE", "Qwen/Qwen3.5-35B-A3B", **_HYBRID),
            # One more family is one more row here: docs/add-a-family.md.
        )
    }
)
EXAMPLE_ID = FAMILIES["qwen2_5_vl"].example


def known_families() -> str:
    """Return the labels of all families, for people: "A, B or C"."""
    *others, last = (family.label for family in FAMILIES.values())
    return f"{', '.join(others)} or {last}"


def family_of(model: Any) -> Family:
    """Return the family of a loaded model."""
    return FAMILIES[model.config.model_type]


def box_settings(model: Any, processor: Any) -> dict[str, Any]:
    """Return what an answer has to say of its boxes: their unit, and the side of a visual token in pixels."""
    seen = processor.image_processor
    return {"boxes": family_of(model).boxes, "cell": int(seen.patch_size * seen.merge_size)}


def processor_class(family: Family) -> Any:
    """Return what loads a checkpoint's processor: the whole one, where torchvision lets it work."""
    return AutoProcessor if TORCHVISION else image_only(family.processor)


_INDEXED = f"its attention keeps only the keys that an indexer selects, {WHY_MASKED}"
# Kinds of model that are known and not taken, and why.
REFUSED: Mapping[str, str] = MappingProxyType({"qwen4_exp": _INDEXED})


def masked_attention(settings: Mapping[str, Any]) -> str:
    """Return why rows of attention cannot be had of a model with this config.json; "" where they can.

    A row is the softmax over all keys before it. A sliding window or an indexer leaves some of them out.
    """
    text = _of_text(settings)
    kinds = set(text.get("layer_types") or ())
    if "indexed_attention" in kinds or any(text.get(name) for name in text if name.startswith("indexer_")):
        return _INDEXED
    if text.get("use_sliding_window") and not kinds:
        from_layer, count = text.get("max_window_layers"), text.get("num_hidden_layers")
        slides = from_layer is not None and count is not None and from_layer < count
    else:
        slides = "sliding_attention" in kinds
    return f"it uses sliding-window attention, {WHY_MASKED}" if slides else ""


def _of_text(settings: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the decoder's part of a config.json; older ones are flat."""
    text = settings.get("text_config")
    return text if isinstance(text, dict) else settings


def decoder_layers(model: Any) -> nn.ModuleList:
    """Return the decoder layers of the language model, first to last."""
    return model.model.language_model.layers


def model_layer_count(model: Any) -> int:
    """Return the number of decoder layers."""
    return len(decoder_layers(model))


def attention_layers(model: Any) -> tuple[int, ...]:
    """Return the decoder layers that have attention, ascending: all of them but in a hybrid."""
    return tuple(number for number, layer in enumerate(decoder_layers(model)) if hasattr(layer, "self_attn"))


def attention_layers_in(settings: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the same from a config.json.

    Raises:
        KeyError: for one that says nothing of its layers.
    """
    text = _of_text(settings)
    family = FAMILIES.get(settings.get("model_type", ""))
    every = text.get("full_attention_interval") or (family.attention_every if family else 1)
    types = text.get("layer_types") or [
        "linear_attention" if number % every else "full_attention"
        for number in range(1, text["num_hidden_layers"] + 1)
    ]
    return tuple(number for number, kind in enumerate(types) if kind != "linear_attention")


def decoder_config(model: Any) -> Any:
    """Return the configuration that the decoder's layers share, which is what a capture switches too."""
    return model.config.get_text_config()


def model_device(model: Any) -> torch.device:
    """Return the device that takes the inputs.

    Parts that accelerate keeps elsewhere until they are needed report "meta", and so may `model.device`.
    """
    devices = (weight.device for weight in model.parameters() if weight.device.type != "meta")
    return next(devices, torch.device("cpu"))

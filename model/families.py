"""The model families that are known, one row each, and where in a model of theirs the parts lie.

Goes in: a `model_type` from a config.json, or a loaded model. Comes out: the classes that load it, its
decoder layers. Knows nothing of files and encoding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import nn
from transformers import (
    AutoProcessor,
    PreTrainedModel,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
)
from transformers.processing_utils import ProcessorMixin

from model.torchvision_guard import TORCHVISION

Processor = ProcessorMixin  # for annotations elsewhere


class ImageOnlyProcessor(Qwen2_5_VLProcessor):
    """Qwen2.5-VL's processor without its video half, which insists on torchvision."""

    def __init__(
        self, image_processor: Any = None, tokenizer: Any = None, chat_template: str | None = None
    ) -> None:
        """Take the same parts as the full processor but the video processor."""
        self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
        self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
        self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
        ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)


# A saved folder names its processor's class. It must name the published one, or AutoProcessor could not load
# it.
ImageOnlyProcessor.__name__ = Qwen2_5_VLProcessor.__name__


@dataclass(frozen=True)
class Family:
    """One kind of model, by the `model_type` of its config.json."""

    model_type: str
    label: str  # for people
    example: str  # a published checkpoint, by its hub id
    model_class: type[PreTrainedModel]
    processor_class: type[ProcessorMixin]  # where torchvision cannot be imported


FAMILIES: Mapping[str, Family] = MappingProxyType(
    {
        family.model_type: family
        for family in (
            Family(
                model_type="qwen2_5_vl",
                label="Qwen2.5-VL",
                example="Qwen/Qwen2.5-VL-3B-Instruct",
                model_class=Qwen2_5_VLForConditionalGeneration,
                processor_class=ImageOnlyProcessor,
            ),
            # One more family is one more row here: docs/add-a-family.md.
        )
    }
)
EXAMPLE_ID = next(iter(FAMILIES.values())).example


def known_families() -> str:
    """Return the labels of all families, for people."""
    return ", ".join(family.label for family in FAMILIES.values())


def processor_class(family: Family) -> Any:
    """Return what loads a checkpoint's processor: the whole one, where torchvision lets it work."""
    return AutoProcessor if TORCHVISION else family.processor_class


def decoder_layers(model: Any) -> nn.ModuleList:
    """Return the decoder layers of the language model, first to last."""
    return model.model.language_model.layers


def model_layer_count(model: Any) -> int:
    """Return the number of decoder layers."""
    return len(decoder_layers(model))


def decoder_config(model: Any) -> Any:
    """Return the configuration that the decoder's layers share, which is what a capture switches too."""
    first: Any = decoder_layers(model)[0]
    return first.self_attn.config


def model_device(model: Any) -> torch.device:
    """Return the device that takes the inputs.

    Parts that accelerate keeps elsewhere until they are needed report "meta", and so may `model.device`.
    """
    devices = (weight.device for weight in model.parameters() if weight.device.type != "meta")
    return next(devices, torch.device("cpu"))

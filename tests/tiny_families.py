"""A random-weight model of every family, as small as its configuration allows, with a vocabulary of bytes.

`tiny_family(model_type)` returns it with its processor, the same one each time: a test leaves it as it was.
The sizes that could be taken for one another differ: `head_dim` is not hidden / heads from Qwen3-VL on, and
hybrids have attention in layers 1 and 3 of 4 only.
"""

from functools import lru_cache
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForImageTextToText
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from model.families import FAMILIES, image_only
from tests.tiny import CHAT_TEMPLATE, generation_config, tiny_tokenizer

LAYERS, HEADS, KV_HEADS, HIDDEN = 4, 6, 2, 48
ATTENDED = {"qwen3_5": (1, 3), "qwen3_5_moe": (1, 3)}  # of the hybrids; all four in the others
INJECTED = {"qwen3_vl": 2, "qwen3_vl_moe": 2}  # layers after which features of the picture are added
_OWN_HEAD_DIM = 16  # from Qwen3-VL on; 8 before

_OLD = {"depth": 2, "num_heads": 2, "patch_size": 14}
_NEW = {**_OLD, "patch_size": 16, "hidden_size": 24, "intermediate_size": 40}
_NEW |= {"num_position_embeddings": 64}
_DEEP = {**_NEW, "depth": 3, "deepstack_visual_indexes": [0, 1]}
_WINDOWS = {"window_size": 112, "fullatt_block_indexes": [1], "tokens_per_second": 2}
_VISION: dict[str, dict[str, Any]] = {
    "qwen2_vl": {**_OLD, "embed_dim": 24, "mlp_ratio": 2},
    "qwen2_5_vl": {**_OLD, "hidden_size": 24, "intermediate_size": 40, **_WINDOWS},
    "qwen3_vl": _DEEP,
    "qwen3_vl_moe": _DEEP,
    "qwen3_5": _NEW,
    "qwen3_5_moe": _NEW,
}
_EXPERTS = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 24}
_LINEAR: dict[str, Any] = {"linear_key_head_dim": 8, "linear_value_head_dim": 12, "linear_num_key_heads": 2}
_LINEAR |= {"linear_num_value_heads": 4, "layer_types": ["linear_attention", "full_attention"] * 2}
_ROTARY = {"rope_type": "default", "rope_theta": 10_000.0}
_TEXT: dict[str, dict[str, Any]] = {
    "qwen2_vl": {"rope_parameters": {**_ROTARY, "mrope_section": [2, 1, 1]}},
    "qwen2_5_vl": {"rope_parameters": {**_ROTARY, "mrope_section": [2, 1, 1]}},
    "qwen3_vl": {"head_dim": _OWN_HEAD_DIM},
    "qwen3_vl_moe": {"head_dim": _OWN_HEAD_DIM, **_EXPERTS},
    "qwen3_5": {"head_dim": _OWN_HEAD_DIM, **_LINEAR},
    "qwen3_5_moe": {
        "head_dim": _OWN_HEAD_DIM,
        **_LINEAR,
        **_EXPERTS,
        "shared_expert_intermediate_size": 16,
    },
}
_INTERLEAVED = {**_ROTARY, "mrope_section": [4, 2, 2], "mrope_interleaved": True}
_PARTIAL = {**_ROTARY, "mrope_section": [2, 1, 1], "mrope_interleaved": True, "partial_rotary_factor": 0.5}


def cell(model_type: str) -> int:
    """Return the side of a visual token, in pixels."""
    return 2 * int(_VISION[model_type]["patch_size"])


def tiny_family(model_type: str) -> tuple[Any, Any]:
    """Return the family's model (eval mode, float32, CPU) and its processor. They are shared: change none."""
    return _made(model_type)


@lru_cache
def _made(model_type: str) -> tuple[Any, Any]:
    return new_family(model_type)


def new_family(model_type: str, seed: int = 0, **text: Any) -> tuple[Any, Any]:
    """Return another one, to be changed; keywords go to the decoder's configuration."""
    processor = family_processor(model_type)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForImageTextToText.from_config(family_config(model_type, **text))
    model.generation_config = generation_config(processor.tokenizer)
    model.generation_config.eos_token_id = None  # so that every answer has the length asked for
    model.name_or_path = f"tiny {model_type}"
    return model.eval(), processor


def family_processor(model_type: str) -> Any:
    """Return the family's processor: its own class, with the size of its patches."""
    side = int(_VISION[model_type]["patch_size"])
    return image_only(FAMILIES[model_type].processor)(
        image_processor=Qwen2VLImageProcessorPil(
            patch_size=side, min_pixels=(2 * side) ** 2, max_pixels=64 * (2 * side) ** 2
        ),
        tokenizer=tiny_tokenizer("bytes"),
        chat_template=CHAT_TEMPLATE,
    )


def family_config(model_type: str, **text: Any) -> Any:
    """Return the family's configuration, scaled down."""
    tokenizer = tiny_tokenizer("bytes")
    names = {"image": "<|image_pad|>", "video": "<|video_pad|>"}
    names |= {"vision_start": "<|vision_start|>", "vision_end": "<|vision_end|>"}
    ids = {f"{name}_token_id": tokenizer.convert_tokens_to_ids(token) for name, token in names.items()}
    rotary = _PARTIAL if model_type in ATTENDED else _INTERLEAVED
    settings = {
        "vocab_size": len(tokenizer),
        "hidden_size": HIDDEN,
        "intermediate_size": 48,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KV_HEADS,
        "max_position_embeddings": 2048,
        "initializer_range": 0.2,  # large enough that attention is far from uniform
        "bos_token_id": tokenizer.convert_tokens_to_ids("<|endoftext|>"),
        "eos_token_id": tokenizer.convert_tokens_to_ids("<|im_end|>"),
        "rope_parameters": rotary,
        **_TEXT[model_type],
        **text,
    }
    joined = "hidden_size" if model_type == "qwen2_vl" else "out_hidden_size"  # as wide as the decoder
    vision = {**_VISION[model_type], "initializer_range": 0.2, joined: settings["hidden_size"]}
    return AutoConfig.for_model(model_type, text_config=settings, vision_config=vision, **ids)

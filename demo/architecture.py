"""The bundled model before training: its configuration, tokenizer, processor and blank weights.

The architecture is Qwen2.5-VL's own, only smaller; nothing here is special to the demo but the sizes, the
vocabulary (byte-level BPE over the scenes' sentences) and the rotary bases, for positions below a hundred.
"""

from __future__ import annotations

from itertools import product

import torch
from tokenizers import (
    AddedToken,
    Regex,
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
)

from demo.scenes import CAPTION_PROMPT, CELL, COLORS, NUMBERS, PLACES, SIDES, THINGS, located

SPECIAL_TOKENS = (
    "<|endoftext|>",
    "<|im_start|>",
    "<|im_end|>",
    "<|vision_start|>",
    "<|vision_end|>",
    "<|vision_pad|>",
    "<|image_pad|>",
    "<|video_pad|>",
)
SYSTEM = "You are a helpful assistant."
# the published checkpoints' template, for one or more images and text
CHAT_TEMPLATE = (
    "{% set image_count = namespace(value=0) %}{% for message in messages %}"
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    + SYSTEM
    + "<|im_end|>\n{% endif %}"
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for content in message['content'] %}"
    "{% if content['type'] == 'image' or 'image' in content or 'image_url' in content %}"
    "{% set image_count.value = image_count.value + 1 %}"
    "{% if add_vision_id %}Picture {{ image_count.value }}: {% endif %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif 'text' in content %}{{ content['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
# the splitting rule of Qwen's tokenizer
PRETOKENIZE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def sentences() -> list[str]:
    """Every sentence form the scenes use, so that each of their words becomes one token."""
    things = [
        f"{'an' if color[0] in 'aeiou' else 'a'} {color} {name}" for color, name in product(COLORS, THINGS)
    ]
    lines = [
        CAPTION_PROMPT,
        f"system\n{SYSTEM}",
        "user\n",
        "assistant\n",
        "How many things are there?",
        "No.",
    ]
    lines += [
        f"{t[0].upper()}{t[1:]} {located(p)}, {t} {located(p)} and {t}." for t in things for p in PLACES
    ]
    lines += [f"It is {t}." for t in things] + [f"It is {color}." for color in COLORS] * 20
    for name in THINGS:
        lines += [f"What color is the {name}?", f"Where is the {name}?", f"Is there a {name}?"] * 20
    for place in PLACES:
        lines += [f"What is {located(place)}?", f"It is {located(place)}.", f"Yes, {located(place)}."] * 20
    return lines + [f"There is one. There are {number}." for number in NUMBERS] * 20


def make_tokenizer() -> Qwen2TokenizerFast:
    """A byte-level BPE tokenizer in Qwen's form: encodes any text; the scenes' words are single tokens."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PRETOKENIZE), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.ByteLevel(trim_offsets=False)
    trainer = trainers.BpeTrainer(
        vocab_size=600,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        min_frequency=2,
        show_progress=False,
    )
    tokenizer.train_from_iterator(sentences(), trainer)
    tokenizer.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL_TOKENS])
    return Qwen2TokenizerFast(
        tokenizer_object=tokenizer,
        eos_token="<|im_end|>",  # noqa: S106 - a token of text
        pad_token="<|endoftext|>",  # noqa: S106
        unk_token=None,
        bos_token=None,
        additional_special_tokens=list(SPECIAL_TOKENS),
        model_max_length=2048,
        clean_up_tokenization_spaces=False,
        chat_template=CHAT_TEMPLATE,
    )


def make_image_processor() -> Qwen2VLImageProcessor:
    """Qwen's image processor, for pictures of the sizes the scenes have."""
    limits = {"shortest_edge": SIDES[0] ** 2, "longest_edge": SIDES[-1] ** 2}
    return Qwen2VLImageProcessor(patch_size=CELL // 2, merge_size=2, temporal_patch_size=2, size=limits)


def make_config(tokenizer: Qwen2TokenizerFast) -> Qwen2_5_VLConfig:
    """Qwen2.5-VL with 6 decoder layers (width 192, 6 heads, 2 of keys) and 4 vision blocks (width 128)."""
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in SPECIAL_TOKENS}
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 192,
        "intermediate_size": 512,
        "num_hidden_layers": 6,
        "num_attention_heads": 6,
        "num_key_value_heads": 2,
        "max_position_embeddings": 2048,
        "rms_norm_eps": 1e-6,
        "rope_parameters": {"rope_type": "default", "rope_theta": 10_000.0, "mrope_section": [4, 6, 6]},
        "bos_token_id": ids["<|endoftext|>"],
        "eos_token_id": ids["<|im_end|>"],
        "pad_token_id": ids["<|endoftext|>"],
    }
    vision = {
        "depth": 4,
        "hidden_size": 128,
        "intermediate_size": 256,
        "num_heads": 4,
        "out_hidden_size": text["hidden_size"],
        "window_size": 4 * CELL,
        "fullatt_block_indexes": [1, 3],
        "rope_parameters": {"rope_type": "axial", "rope_theta": 100.0},
    }
    return Qwen2_5_VLConfig(
        text_config=text,
        vision_config=vision,
        image_token_id=ids["<|image_pad|>"],
        video_token_id=ids["<|video_pad|>"],
        vision_start_token_id=ids["<|vision_start|>"],
        vision_end_token_id=ids["<|vision_end|>"],
        tie_word_embeddings=True,
        eos_token_id=ids["<|im_end|>"],
        pad_token_id=ids["<|endoftext|>"],
        bos_token_id=ids["<|endoftext|>"],
    )


def make_model(seed: int = 0) -> tuple[Qwen2_5_VLForConditionalGeneration, Qwen2TokenizerFast]:
    """The blank model, float32 on the CPU, and its tokenizer; the same weights for the same seed."""
    tokenizer = make_tokenizer()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = Qwen2_5_VLForConditionalGeneration(make_config(tokenizer))
    model.generation_config.update(
        do_sample=False,
        eos_token_id=model.config.text_config.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    return model.float(), tokenizer

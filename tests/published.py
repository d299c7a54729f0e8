"""Folders in exactly the layout in which checkpoints are published, with few random weights; LoRA folders.

`published(folder, ...)` writes what Qwen2.5-VL-3B-Instruct's folder holds: a flat config.json, old key names
in two shards with an index, generation_config.json, preprocessor_config.json, the chat template in
chat_template.json and in tokenizer_config.json, vocab.json, merges.txt and tokenizer.json. What people's
folders have besides is said by keywords: files with entries changed, files left out, files of one's own.
`published_adapter(folder, ...)` writes what PEFT saves of a LoRA.
"""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.tiny import CHAT_TEMPLATE, Vocabulary, tiny_model, tiny_tokenizer

Changes = Mapping[str, Mapping[str, Any]]  # file name: its entries that are changed; None leaves one out
Files = Mapping[str, str | bytes]  # file name: what is in it

MEAN, STD = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
GENERATION = {
    "do_sample": True,
    "repetition_penalty": 1.05,
    "temperature": 1e-6,
    "transformers_version": "4.49.0",
}
PREPROCESSOR = {
    "min_pixels": 3136,
    "max_pixels": 12845056,
    "patch_size": 14,
    "temporal_patch_size": 2,
    "merge_size": 2,
    "image_mean": MEAN,
    "image_std": STD,
    "image_processor_type": "Qwen2VLImageProcessor",
    "processor_class": "Qwen2_5_VLProcessor",
}
# Templates of other people. The first is Qwen2.5's, a text model's; it cannot take a list of parts.
TEXT_ONLY_TEMPLATE = (
    "{%- if messages[0]['role'] == 'system' %}{{- '<|im_start|>system\\n' + messages[0]['content'] + "
    "'<|im_end|>\\n' }}{%- else %}{{- '<|im_start|>system\\nYou are a helpful assistant.<|im_end|>\\n' }}"
    "{%- endif %}{%- for message in messages %}{%- if message.role != 'system' %}"
    "{{- '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>' + '\\n' }}{%- endif %}"
    "{%- endfor %}{%- if add_generation_prompt %}{{- '<|im_start|>assistant\\n' }}{%- endif %}"
)


def published(
    folder: str | Path,
    *,
    vocabulary: Vocabulary = "bytes",
    tied: bool = True,
    lm_head: bool | None = None,
    template: str | None = CHAT_TEMPLATE,
    changes: Changes | None = None,
    without: Collection[str] = (),
    files: Files | None = None,
    **model: Any,
) -> Path:
    """Write the folder of a random-weight checkpoint as it would be published, and return it.

    `lm_head` says whether lm_head.weight is in the files: as is right by default, where tied it is the
    embedding's. `template` is the chat template, None leaves it out. `changes` are entries of JSON files, and
    make a file that is not there; `without` are files left out, `files` what others hold, byte by byte.
    Further keywords go to `tests.tiny.tiny_model`.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    settings: dict[str, Any] = {"layers": 2, "vocabulary": vocabulary, "tied": tied, **model}
    whole, processor = tiny_model(**settings)
    tensors = old_names(whole.state_dict())
    if not (lm_head if lm_head is not None else not tied):
        del tensors["lm_head.weight"]
    _write_shards(folder, tensors)
    written: dict[str, Any] = {
        "config.json": flat_config(whole.config),
        "generation_config.json": generation(processor.tokenizer),
        "preprocessor_config.json": PREPROCESSOR,
        "tokenizer_config.json": tokenizer_config(processor.tokenizer, template),
    }
    if template is not None:
        written["chat_template.json"] = {"chat_template": template}
    for name, entries in (changes or {}).items():
        changed = {**written.get(name, {}), **entries}
        written[name] = {key: value for key, value in changed.items() if value is not None}
    for name, content in written.items():
        (folder / name).write_text(json.dumps(content, indent=2), "utf-8")
    _write_vocabulary(folder, vocabulary)
    for name in without:
        (folder / name).unlink()
    for name, text in (files or {}).items():
        (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    return folder


def old_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return weights by the names that published files have: `visual.…`, `model.layers.…`."""
    return {
        name.replace("model.visual.", "visual.", 1).replace("model.language_model.", "model.", 1): tensor
        for name, tensor in tensors.items()
    }


def flat_config(config: Any) -> dict[str, Any]:
    """Return a config.json of the old layout, where the decoder's settings stand beside `vision_config`."""
    text, vision = config.text_config, config.vision_config
    copied = ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "vocab_size")
    seen = ("depth", "hidden_size", "intermediate_size", "num_heads", "out_hidden_size", "window_size")
    return {
        "architectures": ["Qwen2_5_VLForConditionalGeneration"],
        "model_type": "qwen2_5_vl",
        **{name: getattr(text, name) for name in (*copied, "num_key_value_heads", "rms_norm_eps")},
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "initializer_range": 0.02,
        "max_position_embeddings": 128000,
        "max_window_layers": 70,
        "sliding_window": 32768,
        "use_sliding_window": False,
        "use_cache": True,
        "rope_theta": 1000000.0,
        "rope_scaling": {"type": "mrope", "mrope_section": text.rope_parameters["mrope_section"]},
        "tie_word_embeddings": config.tie_word_embeddings,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.41.2",
        "bos_token_id": text.bos_token_id,
        "eos_token_id": text.eos_token_id,
        **{f"{name}_token_id": getattr(config, f"{name}_token_id") for name in ("image", "video")},
        **{
            f"vision_{name}_token_id": getattr(config, f"vision_{name}_token_id") for name in ("start", "end")
        },
        "vision_config": {
            **{name: getattr(vision, name) for name in (*seen, "fullatt_block_indexes")},
            "in_chans": 3,
            "hidden_act": "silu",
            "patch_size": 14,
            "spatial_merge_size": 2,
            "spatial_patch_size": 14,
            "temporal_patch_size": 2,
            "tokens_per_second": 2,
        },
    }


def generation(tokenizer: Any) -> dict[str, Any]:
    """Return the published generation_config.json, with this tokenizer's ids."""
    end, turn_end = tokenizer.convert_tokens_to_ids(["<|endoftext|>", "<|im_end|>"])
    return {"bos_token_id": end, "pad_token_id": end, "eos_token_id": [turn_end, end], **GENERATION}


def tokenizer_config(tokenizer: Any, template: str | None) -> dict[str, Any]:
    """Return a tokenizer_config.json as published: every added token with its id, and the chat template."""
    added = {
        str(number): {
            "content": token.content,
            **dict.fromkeys(("lstrip", "normalized", "rstrip", "single_word"), False),
            "special": token.special,
        }
        for number, token in tokenizer.added_tokens_decoder.items()
    }
    special = [token["content"] for token in added.values() if token["special"]]
    return {
        "add_prefix_space": False,
        "added_tokens_decoder": added,
        "additional_special_tokens": special[1:],
        "bos_token": None,
        **({} if template is None else {"chat_template": template}),
        "clean_up_tokenization_spaces": False,
        "eos_token": "<|im_end|>",
        "errors": "replace",
        "model_max_length": 131072,
        "pad_token": "<|endoftext|>",
        "split_special_tokens": False,
        "tokenizer_class": "Qwen2Tokenizer",
        "unk_token": None,
    }


def _write_vocabulary(folder: Path, vocabulary: Vocabulary) -> None:
    whole = json.loads(tiny_tokenizer(vocabulary).backend_tokenizer.to_str())
    (folder / "tokenizer.json").write_text(json.dumps(whole, ensure_ascii=False), "utf-8")
    (folder / "vocab.json").write_text(json.dumps(whole["model"]["vocab"], ensure_ascii=False), "utf-8")
    merges = [" ".join(pair) for pair in whole["model"]["merges"]]
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), "utf-8")


def _write_shards(folder: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write two files and their index; the first holds the picture's tower, as published ones do."""
    owned = {name: tensor.detach().clone().contiguous() for name, tensor in tensors.items()}
    first = {name: tensor for name, tensor in owned.items() if name.startswith("visual.")}
    shards = (first, {name: tensor for name, tensor in owned.items() if name not in first})
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        file = f"model-{number:05}-of-{len(shards):05}.safetensors"
        save_file(shard, folder / file, {"format": "pt"})
        places |= dict.fromkeys(shard, file)
    size = sum(tensor.nbytes for tensor in owned.values())
    index = {"metadata": {"total_size": size}, "weight_map": places}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2), "utf-8")


def published_adapter(
    folder: str | Path,
    base: str | Path,
    shapes: Mapping[str, tuple[int, int]],
    *,
    rank: int = 3,
    alpha: int = 12,
    seed: int = 1,
    spread: float = 0.3,
    changes: Mapping[str, Any] | None = None,
) -> Path:
    """Write a LoRA as PEFT saves one, and return its folder; nothing else in it is touched.

    `base` is what its adapter_config.json names. `shapes` are (out, in) of the linear layers that it adapts,
    by their names in the loaded model, such as "model.language_model.layers.0.self_attn.q_proj". `changes`
    are entries of adapter_config.json, None leaves one out.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    random = torch.Generator().manual_seed(seed)
    tensors: dict[str, Tensor] = {}
    for name, (rows, columns) in shapes.items():
        down = torch.randn(rank, columns, generator=random) * spread
        up = torch.randn(rows, rank, generator=random) * spread
        tensors |= {f"base_model.model.{name}.lora_A.weight": down}
        tensors |= {f"base_model.model.{name}.lora_B.weight": up}
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    config = {
        "base_model_name_or_path": str(base),
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "init_lora_weights": True,
        "lora_alpha": alpha,
        "lora_dropout": 0.05,
        "modules_to_save": None,
        "peft_type": "LORA",
        "r": rank,
        "target_modules": sorted({name.rsplit(".", 1)[-1] for name in shapes}),
        "task_type": "CAUSAL_LM",
        **(changes or {}),
    }
    (folder / "adapter_config.json").write_text(json.dumps(config, indent=2), "utf-8")
    return folder

"""Weights in fewer bits: what a checkpoint was saved in, or what it is put into while it is loaded.

Goes in: a config.json's settings, and `config.QUANTIZATION`. Comes out: keywords for loading, the bytes that
the weights take, one line for what cannot be loaded here, and how far 8-bit answers are from themselves.
"""

from __future__ import annotations

import importlib
import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor
from transformers import BitsAndBytesConfig, GenerationConfig

import config
from model.checkpoint import Stored
from model.encoding import Encoded
from model.errors import ModelError
from model.placement import Placement

# It says the same in every pass of every layer; what matters of it is in `caveat`.
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)

BITS = {"4bit": 4.5, "8bit": 8.0}  # a number, with its share of the scales
ANSWERED = 4  # tokens after which an 8-bit model's cached and whole passes are compared


@dataclass(frozen=True)
class Method:
    """One way of saving weights in fewer bits, by the `quant_method` of its config."""

    label: str  # for people
    packages: tuple[str, ...] = ()  # as they are imported
    on_cuda: tuple[str, ...] = ()  # what is needed besides on a CUDA device
    unpacked: bool = False  # without one, its weights are unpacked to plain numbers
    needs_cuda: bool = False


METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "bitsandbytes": Method("bitsandbytes", ("bitsandbytes",)),
        "awq": Method("AWQ", ("gptqmodel",)),
        "gptq": Method("GPTQ", ("gptqmodel", "optimum")),
        "fp8": Method("FP8", on_cuda=("kernels",), unpacked=True),
        "fbgemm_fp8": Method("FP8 (FBGEMM)", ("fbgemm_gpu",), needs_cuda=True),
        "compressed-tensors": Method("compressed-tensors", ("compressed_tensors",)),
    }
)


@dataclass(frozen=True)
class Quantised:
    """How the weights are held."""

    method: str = ""  # the `quant_method`; "" for plain numbers
    bits: str = ""  # of bitsandbytes: "4bit" or "8bit"
    on_the_fly: bool = False

    @property
    def note(self) -> str:
        """What is said of it, "" for plain numbers."""
        if not self.method:
            return ""
        label = METHODS[self.method].label
        bits = f"{self.bits[0]}-bit, " if self.bits else ""
        how = "put into it while loading" if self.on_the_fly else "as they were saved"
        return f"its weights are quantised: {bits}{label}, {how}"


def quantised(settings: Mapping[str, Any], name: str, placement: Placement) -> Quantised:
    """Return how the weights of a checkpoint with this config.json will be held.

    Raises:
        ModelError: one line, for what cannot be had on this computer.
    """
    wanted, saved = config.QUANTIZATION, settings.get("quantization_config")
    if not isinstance(saved, dict):
        if wanted is None:
            return Quantised()
        _check_packages(
            METHODS["bitsandbytes"].packages, f'QUANTIZATION = "{wanted}" in config.py asks for it'
        )
        return Quantised("bitsandbytes", wanted, on_the_fly=True)
    method = str(saved.get("quant_method") or "")
    bits = "4bit" if saved.get("load_in_4bit") else "8bit" if saved.get("load_in_8bit") else ""
    method = "bitsandbytes" if bits else method
    row = METHODS.get(method)
    if row is None:
        known = ", ".join(other.label for other in METHODS.values())
        raise ModelError(
            f'{name} is quantised in a way that is not taken ("{method}"); choose a checkpoint in full '
            f"precision, or one of {known}."
        )
    if wanted is not None and wanted != bits:
        raise ModelError(
            f'{name} is quantised already ({row.label}), and QUANTIZATION = "{wanted}" in config.py asks for '
            "another way; set QUANTIZATION = None, or choose the checkpoint in full precision."
        )
    cuda = placement.device.startswith("cuda")
    if row.needs_cuda and not cuda:
        raise ModelError(f"{name} is quantised ({row.label}), which needs CUDA; choose another checkpoint.")
    packages = row.packages + (row.on_cuda if cuda else ())
    _check_packages(packages, f"{name} is quantised ({row.label})")
    return Quantised(method, bits)


def _check_packages(packages: Iterable[str], why: str) -> None:
    """Raise ModelError, with what to install, unless the packages import."""
    for package in packages:
        try:
            importlib.import_module(package)
        except Exception:  # a build for another torch raises OSError or RuntimeError
            wheel = package.replace("_", "-")
            raise ModelError(
                f"{why}; that needs the package {wheel}, which is not installed or does not import: "
                f"pip install {wheel}"
            ) from None


def loading_keywords(held: Quantised, placement: Placement) -> dict[str, Any]:
    """Return what `from_pretrained` is told beside dtype and device."""
    if not held.on_the_fly:
        return {}
    if held.bits == "8bit":
        return {"quantization_config": BitsAndBytesConfig(load_in_8bit=True)}
    nf4 = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=placement.dtype
    )
    return {"quantization_config": nf4}


def keep_layout(model: Any) -> None:
    """Keep bitsandbytes from changing 4-bit weights in their first pass on a CPU.

    With AVX512-BF16 it rounds their scales, for a faster kernel that fails where a layer's inputs are no
    multiple of 64, as those of the vision tower's are not.
    """
    for module in model.modules():
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False


def needed_bytes(tensors: Mapping[str, Stored], held: Quantised, placement: Placement) -> int:
    """Return the bytes that the weights take, from what the files' headers say of them.

    Of weights that were saved in fewer bits: the files' own bytes.
    """
    if held.method and not held.on_the_fly:
        if METHODS[held.method].unpacked and not placement.device.startswith("cuda"):
            return sum(math.prod(tensor.shape) for tensor in tensors.values()) * placement.dtype.itemsize
        return sum(tensor.size for tensor in tensors.values())
    bits, whole = BITS.get(held.bits, 0.0), 8 * placement.dtype.itemsize
    return math.ceil(
        sum(
            math.prod(tensor.shape) * (bits if bits and _is_linear(key, tensor) else whole) / 8
            for key, tensor in tensors.items()
        )
    )


def _is_linear(name: str, tensor: Stored) -> bool:
    """Return whether a tensor is one that bitsandbytes packs: linear layers, but for the last."""
    return len(tensor.shape) == 2 and not any(part in name for part in ("embed", "lm_head"))


def own_distance(model: Any, encoded: Encoded) -> float:
    """Return how far a model's probabilities are from its own when the same text is read at once.

    The largest difference of a probability, over the first tokens of an answer, between writing them one by
    one and reading prompt and answer in one pass. bitsandbytes rounds 8-bit activations by all rows of a pass
    together, so that a row depends on its neighbours; other number types are within rounding.
    """
    plain = GenerationConfig(do_sample=False, max_new_tokens=ANSWERED, eos_token_id=None, pad_token_id=0)
    before, offsets = model.generation_config, model.model.rope_deltas
    try:
        model.generation_config = plain
        written = model.generate(**encoded.inputs, return_dict_in_generate=True, output_logits=True)
        with torch.no_grad():
            logits = model(**_continued(encoded.inputs, written.sequences)).logits
    finally:
        model.generation_config, model.model.rope_deltas = before, offsets
    start = encoded.prompt_length - 1
    one_by_one = torch.cat(written.logits).float().softmax(-1)  # (token, vocabulary)
    at_once = logits[0, start : start + len(one_by_one)].float().softmax(-1)
    return float((one_by_one - at_once).abs().max())


def caveat(distance: float) -> str:
    """Return what is said of a model that is so far from itself."""
    return (
        "8-bit rounds each word together with its neighbours, so that an answer read again is not quite "
        f"the one that was written: its probabilities differ by up to {distance:.2g} on a short example, and "
        "maps that read it again differ too; 4-bit has no such difference"
    )


def _continued(inputs: Mapping[str, Tensor], sequence: Tensor) -> dict[str, Tensor]:
    """Return the inputs of prompt and answer together."""
    more = sequence.shape[1] - inputs["input_ids"].shape[1]
    longer = {**inputs, "input_ids": sequence}
    for name, value in (("attention_mask", 1), ("mm_token_type_ids", 0)):
        if name in inputs:
            longer[name] = torch.nn.functional.pad(inputs[name], (0, more), value=value)
    return longer

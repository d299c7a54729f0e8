"""What a model of the published 3B's size costs: an answer, captured and plain, and a word explained.

    python -m benchmarks.real_size [--visual 300] [--new 16] [--dtype float32] [--tiny]

Qwen2.5-VL-3B's shape with random weights: 36 decoder layers, 2,048 wide, 16 heads of which 2 hold keys, a
vocabulary of 151,936, a vision tower of 32 layers. Without CUDA one size on the CPU; with CUDA 300, 1,200 and
5,000 visual tokens with 128 new ones, under sdpa and, where it is installed, flash_attention_2.

"first" is the picture and the first token, "token" each one after it, both of a plain `model.generate`;
"captured" is `AttentionExtractor.generate` over the plain one, of all tokens. "read" is one pass over prompt
and answer that records attention; "Grad-CAM" (every layer, one sample) and "gradient" (gradient × attention)
explain one word. They are in units of one plain forward pass over prompt and answer. In brackets is what each
took at most above the weights, in MB.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch
from PIL import Image
from transformers import Qwen2_5_VLForConditionalGeneration
from transformers.initialization import no_init_weights
from transformers.utils import is_flash_attn_2_available

from attention_extractor import AttentionExtractor
from evaluation.memory import measured
from internals.teacher_forcing import teacher_forced_inputs
from methods import token_maps
from methods.grad_cam import smooth_grad_cam
from model import encode
from tests.tiny import generation_config, tiny_config, tiny_processor

PROMPT = "Describe"
CARD = ((300, 128), (1200, 128), (5000, 128))  # visual tokens and new ones, on CUDA
SPREAD = 0.02  # of random weights
ROOM = 1.3  # times the weights, that a run needs


class Shape(NamedTuple):
    """The sizes of a model."""

    layers: int
    heads: int
    key_heads: int
    width: int
    text: dict[str, int]
    vision_layers: int
    vision: dict[str, Any]


REAL = Shape(
    *(36, 16, 2, 2048),
    {"vocab_size": 151_936, "intermediate_size": 11_008},
    32,
    {
        "hidden_size": 1280,
        "intermediate_size": 3420,
        "num_heads": 16,
        "fullatt_block_indexes": [7, 15, 23, 31],
    },
)
TINY = Shape(4, 4, 2, 64, {}, 2, {})


class Cost(NamedTuple):
    """What a computation took: seconds, and bytes above those before (None where that cannot be told)."""

    seconds: float
    bytes: int | None

    @property
    def memory(self) -> str:
        """The bytes in MB, in brackets."""
        return "(?)" if self.bytes is None else f"({self.bytes / 1e6:,.0f})"


def config_of(shape: Shape) -> Any:
    """Return the configuration of a model of these sizes."""
    text: dict[str, Any] = dict(shape.text)
    config = tiny_config(
        tiny_processor("bytes").tokenizer, *shape[:4], vision_layers=shape.vision_layers, **text
    )
    for name, value in shape.vision.items():
        setattr(config.vision_config, name, value)
    return config


def random_model(shape: Shape, dtype: torch.dtype, device: str) -> tuple[Any, Any]:
    """Return a model of random weights and its processor; its answers are as long as is asked for."""
    processor = tiny_processor("bytes", max_pixels=28 * 28 * 20_000)
    config, before = config_of(shape), torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with no_init_weights(), torch.device(device):
            model = Qwen2_5_VLForConditionalGeneration(config).eval()
    finally:
        torch.set_default_dtype(before)
    model.tie_weights()
    fill(model, device)
    model.generation_config = generation_config(processor.tokenizer)
    model.generation_config.eos_token_id = None
    model.name_or_path = "random"
    return model, processor


@torch.no_grad()
def fill(model: Any, device: str) -> None:
    """Give every weight random values, the same ones again and again; norms are ones, biases zero."""
    some = torch.randn(2**22, generator=torch.Generator().manual_seed(0)).to(device) * SPREAD
    for name, weight in model.named_parameters():
        if weight.ndim == 1:
            weight.fill_(1.0 if name.endswith("weight") else 0.0)
            continue
        for part in weight.view(-1).split(len(some)):
            part.copy_(some[: len(part)])


def picture(visual: int) -> Image.Image:
    """Return noise of about so many visual tokens, a third wider than high."""
    h = max(2, round((visual * 3 / 4) ** 0.5))
    w = max(2, round(visual / h))
    pixels = np.random.default_rng(0).integers(0, 256, (h * 28, w * 28, 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def cost(model: Any, compute: Callable[[], Any]) -> Cost:
    """Return what a computation takes."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    began = time.perf_counter()
    _, most = measured(model, compute)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return Cost(time.perf_counter() - began, most)


def row(model: Any, processor: Any, visual: int, new: int) -> list[str]:
    """Return the figures of one size."""
    image = picture(visual)
    extractor = AttentionExtractor(model, processor)
    encoded = encode(model, processor, image, PROMPT)

    def plain(tokens: int) -> Any:
        return model.generate(**encoded.inputs, max_new_tokens=tokens, do_sample=False)

    plain(1)  # what is made ready at the first run counts for nobody
    first, whole = cost(model, lambda: plain(1)), cost(model, lambda: plain(new))
    captures: list[Any] = []
    captured = cost(
        model, lambda: captures.append(extractor.generate(image, PROMPT, new, generation="greedy"))
    )
    capture, word = captures[0], new // 2
    inputs = teacher_forced_inputs(encoded, capture.token_ids[:-1], [encoded.inputs["pixel_values"]])

    def forward() -> None:
        with torch.no_grad():
            model(**inputs, use_cache=False, logits_to_keep=1)

    once = cost(model, forward)
    read = cost(model, lambda: extractor.read(image, PROMPT, capture.token_ids))
    cam = cost(
        model,
        lambda: smooth_grad_cam(
            model, processor, image, PROMPT, "all", word, num_samples=1, noise_std=0, answer=capture
        ),
    )
    of_model = {"model": model, "processor": processor, "image": image}
    gradient = cost(model, lambda: token_maps("gradient-attention", capture, tokens=[word], **of_model))
    return [
        f"{len(encoded.image_positions):,}",
        f"{new}",
        f"{first.seconds:.2f} s",
        f"{(whole.seconds - first.seconds) / max(1, new - 1):.3f} s",
        f"{captured.seconds / whole.seconds:.2f} {captured.memory}",
        *(f"{one.seconds / once.seconds:.1f} {one.memory}" for one in (read, cam, gradient)),
    ]


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return the rows as a Markdown table."""
    heading = ["attention", "visual", "new", "first", "token", "captured", "read", "Grad-CAM", "gradient"]
    lines = [heading, ["---"] * len(heading), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def fits(shape: Shape, dtype: torch.dtype, device: str) -> str:
    """Return why a model of this size cannot be made, or an empty text."""
    with torch.device("meta"):
        model = Qwen2_5_VLForConditionalGeneration(config_of(shape))
    needed = sum(weight.numel() for weight in model.parameters()) * dtype.itemsize * ROOM
    free = torch.cuda.mem_get_info()[0] if device == "cuda" else psutil.virtual_memory().available
    if needed <= free:
        return ""
    return f"It needs about {needed / 1e9:.0f} GB, and {free / 1e9:.0f} GB are free: not measured."


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="What a model of the published 3B's size costs.")
    parser.add_argument("--visual", type=int, default=300)
    parser.add_argument("--new", type=int, default=16)
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--tiny", action="store_true", help="a small model, to see that it runs")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = getattr(torch, args.dtype or ("bfloat16" if device == "cuda" else "float32"))
    shape = TINY if args.tiny else REAL
    if reason := fits(shape, dtype, device):
        print(reason)
        return
    began = time.perf_counter()
    model, processor = random_model(shape, dtype, device)
    card = torch.cuda.get_device_name() if device == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    count = sum(weight.numel() for weight in model.parameters())
    print(f"{card}, {dtype}, {count / 1e9:.2f} G parameters, made in {time.perf_counter() - began:.0f} s\n")
    backends = ["sdpa", *(["flash_attention_2"] if device == "cuda" and is_flash_attn_2_available() else [])]
    sizes = CARD if device == "cuda" and not args.tiny else ((args.visual, args.new),)
    rows = []
    for backend in backends:
        model.set_attn_implementation(backend)
        rows += [[backend, *row(model, processor, *size)] for size in sizes]
    print(table(rows))


if __name__ == "__main__":
    main()

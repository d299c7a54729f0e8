"""What transformers' own video processors say, written beside this file for the tests to compare with.

They need torchvision, which the project does without. In an environment that has it and requirements.txt:
`python -m tests.model.make_video_numbers`, at another version of transformers too.
"""

import json
from fractions import Fraction
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from numpy.typing import NDArray

from tests.tiny import CHAT_TEMPLATE, tiny_tokenizer

NUMBERS, PATCHES = Path(__file__).parent / "video_numbers.json", Path(__file__).parent / "video_patches.npz"
BOUNDS = {"earlier": (100_352, 602_112), "later": (4096, 25_165_824)}  # as published
SIZES_WH = [(64, 48), (320, 240), (1280, 720), (720, 1280), (1920, 1080), (3840, 2160), (333, 77), (30, 20)]
COUNTS = [1, 2, 3, 4, 5, 10, 20, 61, 120, 768]
CLIPS = [
    (1, 17),
    (3, 25),
    (4, 2),
    (7, 10),
    (60, 30),
    (61, 30),
    (72, 24),
    (100, 25),
    (250, 25),
    (301, 10),
    (999, 12),
]
CLIPS += [(18_000, 25), (1_000_000, 30)]  # frames, and how many a second
RATES = [Fraction(rate) for _, rate in CLIPS] + [Fraction(30_000, 1001)] * 2
TOTALS = [total for total, _ in CLIPS] + [300, 2997]
ASKED = [0.5, 1, 2, 4, 30]
# Small clips whose patches are kept: (frames, (h, w), bounds on pixels, those of one frame or of all).
SMALL = {
    "as it is": (3, (56, 84), (3136, 784 * 40)),
    "enlarged": (4, (30, 50), (784 * 6, 784 * 40)),
    "reduced": (2, (150, 230), (784, 784 * 9)),
}
SMALL_LATER = {
    "as it is": (3, (64, 96), (4096, 10**7)),
    "enlarged": (4, (30, 50), (4 * 1024 * 6, 10**7)),
    "reduced": (2, (150, 230), (1024, 2 * 1024 * 9)),
}


def small_frames(count: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return frames (frame, h, w, rgb) with gradients and edges, the same on every computer."""
    frame, row, col, colour = np.indices((count, *size, 3))
    edges = ((row // 9 + col // 14 + frame) % 2) * 90
    return ((edges + row + 2 * col // 3 + 17 * frame + 40 * colour) % 256).astype(np.uint8)


def _processors() -> dict[str, Any]:
    from transformers import Qwen2VLVideoProcessor, Qwen3VLVideoProcessor

    sizes = {kind: {"shortest_edge": low, "longest_edge": high} for kind, (low, high) in BOUNDS.items()}
    return {
        "earlier": Qwen2VLVideoProcessor(size=sizes["earlier"]),
        "later": Qwen3VLVideoProcessor(size=sizes["later"]),
    }


def _grids(processor: Any, capped: bool) -> list[list[int]]:
    """Return the size in pixels that a processor resizes frames to, of every size and number of frames."""
    from transformers.video_processing_utils import BaseVideoProcessor

    found = []
    for width, height in SIZES_WH:
        for count in COUNTS:
            frames = torch.empty((1, max(count, 2), 3, height, width), dtype=torch.uint8, device="meta")
            with mock.patch.object(BaseVideoProcessor, "resize") as resize:
                processor.resize(
                    frames,
                    processor._standardize_kwargs(size=processor.size)["size"],
                    3,
                    factor=processor.patch_size * processor.merge_size,
                    temporal_factor=2,
                    cap_pixels_per_frame=capped,
                )
            size = resize.call_args.kwargs["size"]
            found.append([width, height, count, size.height, size.width])
    return found


def _samples(earlier: Any, later: Any) -> list[list[Any]]:
    """Return how many frames the one takes, and which ones of so many the other."""
    from transformers.video_utils import VideoMetadata

    found: list[list[Any]] = []
    for total, rate in zip(TOTALS, RATES, strict=True):
        for fps in ASKED:
            metadata = VideoMetadata(total_num_frames=total, fps=float(rate))
            if total == 1:
                continue  # it refuses a clip of one frame
            count = len(earlier.sample_frames(metadata, fps=fps))
            numbers = later.sample_frames(metadata, num_frames=count).tolist()
            digest = sum(place * number for place, number in enumerate(numbers, 1))
            found.append([total, rate.numerator, rate.denominator, fps, count, numbers[:8], digest])
    return found


def _patches(processor: Any, kind: str) -> dict[str, NDArray[Any]]:
    """Return the patches of small clips as shades, which is what they are made of; no value is lost."""
    found = {}
    for name, (count, size, (low, high)) in (SMALL if kind == "earlier" else SMALL_LATER).items():
        made = processor(
            [torch.from_numpy(small_frames(count, size)).permute(0, 3, 1, 2)],
            size={"shortest_edge": low, "longest_edge": high},
            do_sample_frames=False,
            return_tensors="pt",
        )
        mean, std = (np.repeat(value, 2 * processor.patch_size**2) for value in _channels(processor))
        shades = (made["pixel_values_videos"].numpy().astype(np.float64) * std + mean) * 255
        assert np.abs(shades - shades.round()).max() < 1e-4
        found[f"{kind} {name}"] = shades.round().astype(np.uint8)
        found[f"{kind} {name} grid"] = made["video_grid_thw"][0].numpy()
    return found


def _channels(processor: Any) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return np.array(processor.image_mean), np.array(processor.image_std)


def _texts(video_processors: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the text that stands for a clip, and the seconds between its steps."""
    from transformers import Qwen2_5_VLProcessor, Qwen2VLImageProcessor, Qwen2VLProcessor, Qwen3VLProcessor
    from transformers.video_utils import VideoMetadata

    found = []
    classes = {Qwen2VLProcessor: "earlier", Qwen2_5_VLProcessor: "earlier", Qwen3VLProcessor: "later"}
    for made, kind in classes.items():
        video = video_processors[kind]
        images = Qwen2VLImageProcessor(patch_size=video.patch_size)
        processor = made(images, tiny_tokenizer("bytes"), video, chat_template=CHAT_TEMPLATE)
        part = [{"type": "video"}, {"type": "text", "text": "What?"}]
        prompt = processor.apply_chat_template([{"role": "user", "content": part}], tokenize=False)
        for total, fps, numbers in [(100, 25.0, [0, 33, 66, 99]), (61, 30.0, [0, 20, 40]), (9, 3.7, [0, 8])]:
            metadata = VideoMetadata(total_num_frames=total, fps=fps, frames_indices=list(numbers))
            frames = torch.from_numpy(small_frames(len(numbers), (64, 96))).permute(0, 3, 1, 2)
            size = {"shortest_edge": 3136, "longest_edge": 12_544}
            read = processor(
                text=[prompt],
                videos=[frames],
                video_metadata=[metadata],
                size=size,
                do_sample_frames=False,
                return_tensors="pt",
            )
            text = processor.tokenizer.decode(read["input_ids"][0])
            before, after = prompt.split(processor.video_token)
            assert text.startswith(before)
            assert text.endswith(after)
            spaced = read.get("second_per_grid_ts")
            found.append(
                {
                    "processor": made.__name__,
                    "total": total,
                    "fps": fps,
                    "numbers": numbers,
                    "grid": read["video_grid_thw"][0].tolist(),
                    "text": text[len(before) : len(text) - len(after)],
                    "seconds": None if spaced is None else spaced[0].item(),
                    "types": sorted(set(read["mm_token_type_ids"][0].tolist())),
                }
            )
    return found


def main() -> None:
    """Write the numbers."""
    processors = _processors()
    grids = {
        f"{kind}{' capped' if capped else ''}": _grids(processor, capped)
        for kind, processor in processors.items()
        for capped in (False, True)
    }
    written = {
        "grids": grids,
        "samples": _samples(processors["earlier"], processors["later"]),
        "texts": _texts(processors),
    }
    lines = [
        f'"{name}": [\n' + ",\n".join(json.dumps(row) for row in rows) + "\n]"
        for name, rows in [*grids.items(), ("samples", written["samples"]), ("texts", written["texts"])]
    ]
    NUMBERS.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")
    kept: dict[str, NDArray[Any]] = {}
    for kind, processor in processors.items():
        kept |= _patches(processor, kind)
    np.savez_compressed(PATCHES, **kept)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()

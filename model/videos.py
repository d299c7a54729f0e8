"""A clip as the model reads it.

Goes in: a processor, and a clip's frames. Comes out: the tensors that the model takes of it, and the text
that stands for it in the prompt, the same as transformers' own video processors make of those frames, which
need torchvision. Knows nothing of files and prompts.

A model takes the frames two at a time: such a pair is a step, and a visual token stands for one place in one
step. Where a frame is left over, the last one counts twice.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from transformers.image_transforms import normalize, rescale
from transformers.image_utils import ChannelDimension
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import smart_resize
from transformers.models.qwen3_vl.video_processing_qwen3_vl import smart_resize as smart_resize_together

import config
from model.errors import ModelError
from model.families import FAMILIES, Processor, VideoLayout
from model.standard import standard_of
from model.video_settings import SETTINGS
from records.videos import Video


@dataclass(frozen=True, eq=False)
class VideoInputs:
    """A clip as the model reads it."""

    pixels: Tensor  # (patch, value) float32, normalised; patches in the order of the image processor's
    grid: tuple[int, int, int]  # (t, h, w) in visual tokens; a step's token = row * w + col
    merge_size: int  # patches in a side of a visual token
    seconds_per_step: float | None  # for families that are told; else None
    placeholder: str  # stands for the one video token that the chat template writes
    times: tuple[float, ...]  # of each step, in seconds: the mean of its frames'

    def __post_init__(self) -> None:
        """Refuse parts that disagree."""
        t, h, w = self.grid
        if len(self.pixels) != t * h * w * self.merge_size**2:
            raise ValueError(f"there are {len(self.pixels)} patches; grid {self.grid} needs others")
        if len(self.times) != t:
            raise ValueError(f"there are {len(self.times)} times; grid {self.grid} needs {t}")

    @property
    def tensors(self) -> dict[str, Tensor]:
        """What the model takes, by its names, on the CPU."""
        t, h, w = self.grid
        found = {
            "pixel_values_videos": self.pixels,
            "video_grid_thw": torch.tensor([[t, h * self.merge_size, w * self.merge_size]]),
        }
        if self.seconds_per_step is not None:
            found["second_per_grid_ts"] = torch.tensor([self.seconds_per_step])
        return found


@dataclass(frozen=True)
class _Reading:
    """How a processor reads clips."""

    layout: VideoLayout
    settings: Mapping[str, Any]

    @property
    def step(self) -> int:
        """Frames in a step."""
        return int(self.settings["temporal_patch_size"])

    @property
    def cell(self) -> int:
        """The side of a visual token, in pixels."""
        return int(self.settings["patch_size"]) * int(self.settings["merge_size"])


def video_inputs(processor: Processor, video: Video) -> VideoInputs:
    """Return the clip as the model reads it.

    Frames are resized by Pillow, as pictures are; transformers has torchvision do it, and values then differ
    by up to two shades of 255.

    Raises:
        ModelError: one line, for a processor that reads no clips.
    """
    reading = _reading(processor)
    merge = int(reading.settings["merge_size"])
    t, h, w = grid = _grid(reading, video.frames.shape[2:0:-1], len(video.frames))
    cells = (h * reading.cell, w * reading.cell)
    ends, times = _times(reading, video, t)
    return VideoInputs(
        pixels=_patches(reading, video, ends, cells),
        grid=grid,
        merge_size=merge,
        seconds_per_step=reading.step / video.fps if reading.layout.spaced else None,
        placeholder=_placeholder(processor, reading.layout, h * w, times),
        times=times,
    )


def clip_text(processor: Processor, video: Video) -> str:
    """Return the text that stands for the clip in the prompt; its frames are not looked at.

    Raises:
        ModelError: one line, for a processor that reads no clips.
    """
    reading = _reading(processor)
    t, h, w = _grid(reading, video.frames.shape[2:0:-1], len(video.frames))
    return _placeholder(processor, reading.layout, h * w, _times(reading, video, t)[1])


def video_grid(processor: Processor, size_wh: tuple[int, int], frames: int) -> tuple[int, int, int]:
    """Return the grid (t, h, w) in visual tokens that so many frames of this (width, height) have.

    Raises:
        ModelError: one line, for a processor that reads no clips.
    """
    return _grid(_reading(processor), size_wh, frames)


def _reading(processor: Any) -> _Reading:
    """Return how a processor reads clips: as its checkpoint says, or as its family does where it was made."""
    kind = type(processor).__name__
    family = next((one for one in FAMILIES.values() if one.processor.__name__ == kind), None)
    if family is None or family.video is None:
        what = f"{kind}s are" if family is None else f"{family.label} is"
        raise ModelError(f"Videos cannot be read: {what} not known to take them; choose another checkpoint.")
    settings = getattr(processor, SETTINGS, None)
    if settings is None and getattr(processor, "video_processor", None) is not None:
        settings = processor.video_processor.to_dict()
    if settings is None:
        standard, images = standard_of(family.model_type), processor.image_processor
        taken = ("patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std")
        settings = {name: getattr(images, name) for name in taken}
        settings["size"] = {
            "shortest_edge": standard.video_min_pixels,
            "longest_edge": standard.video_max_pixels,
        }
    return _Reading(family.video, settings)


def _times(reading: _Reading, video: Video, steps: int) -> tuple[list[int], tuple[float, ...]]:
    """Return the frames of all steps, the last of which may count twice, and the time of each step."""
    ends = [min(number, len(video.times) - 1) for number in range(steps * reading.step)]
    times = tuple(
        (video.times[ends[first]] + video.times[ends[first + reading.step - 1]]) / 2
        for first in range(0, len(ends), reading.step)
    )
    return ends, times


def _grid(reading: _Reading, size_wh: tuple[int, ...], frames: int) -> tuple[int, int, int]:
    height, width = _resized(reading, size_wh, frames)
    return -(-frames // reading.step), height // reading.cell, width // reading.cell


def _resized(reading: _Reading, size_wh: tuple[int, ...], frames: int) -> tuple[int, int]:
    """Return the (h, w) in pixels that each frame is resized to."""
    width, height = size_wh
    size, layout, cell = reading.settings["size"], reading.layout, reading.cell
    lowest, highest = int(size["shortest_edge"]), int(size["longest_edge"])
    frames = max(frames, reading.step)  # one frame counts twice
    if reading.settings.get("cap_pixels_per_frame"):
        most = int(reading.settings.get("max_video_tokens") or layout.most_tokens) * cell**2
        if layout.together:
            highest = max(min(most, highest // frames), int(lowest * 1.05)) * frames
        else:
            highest = max(min(highest, int(most * 0.9) * reading.step // frames), int(lowest * 1.05))
    if config.VIDEO_MAX_PIXELS is not None:
        even = -(-frames // reading.step) * reading.step  # the last frame may count twice
        highest = min(highest, config.VIDEO_MAX_PIXELS * (frames if layout.together else 1) // even)
    lowest = min(lowest, highest)
    if layout.together:
        return smart_resize_together(frames, height, width, reading.step, cell, lowest, highest)
    return smart_resize(height, width, cell, lowest, highest)


def _patches(reading: _Reading, video: Video, numbers: list[int], size: tuple[int, int]) -> Tensor:
    """Return the patches (patch, value) of the frames with these numbers, each resized to (h, w) in pixels.

    Patches of a step come token by token, those of one token row by row; the values of one are
    (rgb, frame of the step, row, column).
    """
    step, patch, merge = reading.step, *(int(reading.settings[name]) for name in ("patch_size", "merge_size"))
    h, w = (side // reading.cell for side in size)
    made = np.empty((len(numbers) // step, h, w, merge, merge, 3, step, patch, patch), np.float32)
    for number in range(0, len(numbers), step):
        pair = [_normalised(reading, video.picture(one), size) for one in numbers[number : number + step]]
        rows = np.stack(pair).reshape(step, 3, h, merge, patch, w, merge, patch)
        made[number // step] = rows.transpose(2, 5, 3, 6, 1, 0, 4, 7)
    return torch.from_numpy(made.reshape(-1, 3 * step * patch * patch))


def _normalised(reading: _Reading, frame: Image.Image, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a frame (rgb, row, col), resized and normalised as the image processor does it."""
    settings = reading.settings
    resample = Image.Resampling(settings.get("resample") or Image.Resampling.BICUBIC)
    pixels = np.asarray(frame.resize(size[::-1], resample)).transpose(2, 0, 1)
    first = ChannelDimension.FIRST
    values = rescale(pixels, settings.get("rescale_factor") or 1 / 255, first, input_data_format=first)
    if settings.get("do_normalize", True) is not False:
        values = normalize(values, settings["image_mean"], settings["image_std"], first, first)
    return values


def _placeholder(processor: Any, layout: VideoLayout, tokens: int, times: tuple[float, ...]) -> str:
    """Return the text for a clip whose steps have so many tokens each."""
    step = processor.video_token * tokens
    if not layout.timed:
        return step * len(times)
    step = f"{processor.vision_start_token}{step}{processor.vision_end_token}"
    return "".join(f"<{time:.1f} seconds>{step}" for time in times)

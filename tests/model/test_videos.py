"""A clip as the model reads it, beside what transformers' own video processors say (`make_video_numbers`)."""

import json
from functools import lru_cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

import config
from model import load_model
from model.errors import ModelError
from model.families import FAMILIES, image_only
from model.standard import Standard, standard_of
from model.video_settings import SETTINGS, video_settings
from model.videos import VideoInputs, video_grid, video_inputs
from records.videos import Video
from tests.model.make_video_numbers import BOUNDS, NUMBERS, PATCHES, SMALL, SMALL_LATER, small_frames
from tests.numerics import assert_same
from tests.published import published
from tests.tiny_families import family_processor, tiny_family

WITH_VIDEO = [name for name, family in FAMILIES.items() if family.video is not None]
KINDS = {name: "earlier" if name in ("qwen2_vl", "qwen2_5_vl") else "later" for name in WITH_VIDEO}
MEMBER = {"earlier": "qwen2_5_vl", "later": "qwen3_vl"}  # one family of each kind


@lru_cache
def numbers() -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = json.loads(NUMBERS.read_text("utf-8"))
    return found


def reader(model_type: str, bounds: tuple[int, int] | None = None, **others: Any) -> Any:
    """Return a processor of the family with these bounds, or the published ones."""
    processor = family_processor(model_type)
    images = processor.image_processor
    taken = ("patch_size", "merge_size", "temporal_patch_size", "image_mean", "image_std")
    low, high = bounds or BOUNDS[KINDS[model_type]]
    settings = {name: getattr(images, name) for name in taken}
    settings["size"] = {"shortest_edge": low, "longest_edge": high}
    if KINDS[model_type] == "later":
        settings |= {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    setattr(processor, SETTINGS, settings | others)
    return processor


def clip(frames: NDArray[np.uint8], times: list[float] | None = None, fps: float = 2.0) -> Video:
    times = [number / fps for number in range(len(frames))] if times is None else times
    size = (frames.shape[1], frames.shape[2])
    return Video("clip.mp4", frames, tuple(times), fps, len(frames) / fps, size, "hash")


@pytest.fixture(autouse=True)
def no_bound_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", None)


@pytest.mark.parametrize("model_type", WITH_VIDEO)
@pytest.mark.parametrize("capped", [False, True])
def test_frames_have_the_size_that_the_familys_processor_gives(model_type: str, capped: bool) -> None:
    kind = KINDS[model_type]
    processor = reader(model_type, cap_pixels_per_frame=capped)
    settings = getattr(processor, SETTINGS)
    cell = settings["patch_size"] * settings["merge_size"]
    rows = numbers()[f"{kind} capped" if capped else kind]
    assert len({(height, width) for *_, height, width in rows}) > 3
    for width, height, frames, resized_height, resized_width in rows:
        expected = ((frames + 1) // 2, resized_height // cell, resized_width // cell)
        assert video_grid(processor, (width, height), frames) == expected


@pytest.mark.parametrize("kind", ["earlier", "later"])
@pytest.mark.parametrize("name", SMALL)
def test_patches_are_those_of_the_familys_processor(kind: str, name: str) -> None:
    count, size, bounds = (SMALL if kind == "earlier" else SMALL_LATER)[name]
    processor = reader(MEMBER[kind], bounds)
    made = video_inputs(processor, clip(small_frames(count, size)))
    with np.load(PATCHES) as kept:
        shades, grid = kept[f"{kind} {name}"], kept[f"{kind} {name} grid"]
    assert made.tensors["video_grid_thw"].tolist() == [grid.tolist()]
    settings = getattr(processor, SETTINGS)
    each = 2 * settings["patch_size"] ** 2
    mean, std = (np.repeat(settings[f"image_{value}"], each) for value in ("mean", "std"))
    expected = (shades / 255 - mean) / std
    if name == "as it is":
        assert_same(made.pixels, expected, steps=8)
    else:
        apart = np.abs(made.pixels.numpy() - expected) * std * 255  # in shades of 255
        assert apart.max() < 2.1
        assert apart.mean() < 0.1


@pytest.mark.parametrize("case", range(9))
def test_text_and_spacing_are_those_of_the_familys_processor(case: int) -> None:
    said = numbers()["texts"][case]
    model_type = next(name for name in WITH_VIDEO if FAMILIES[name].processor.__name__ == said["processor"])
    processor = reader(model_type, (3136, 12_544))
    chosen, total, fps = said["numbers"], said["total"], said["fps"]
    times = [number / fps for number in chosen]
    made = video_inputs(
        processor, clip(small_frames(len(chosen), (64, 96)), times, len(chosen) / total * fps)
    )
    assert made.tensors["video_grid_thw"].tolist() == [said["grid"]]
    assert made.placeholder == said["text"]
    if said["seconds"] is None:
        assert "second_per_grid_ts" not in made.tensors
    else:
        assert_same(made.tensors["second_per_grid_ts"], [said["seconds"]], steps=4)
    ids = processor.tokenizer(made.placeholder)["input_ids"]
    t, h, w = made.grid
    assert ids.count(processor.video_token_id) == t * h * w


def test_a_time_is_the_mean_of_its_frames() -> None:
    made = video_inputs(reader("qwen3_vl"), clip(small_frames(3, (64, 96)), [0.0, 0.7, 2.5]))
    assert made.times == (0.35, 2.5)
    assert made.placeholder.startswith("<0.3 seconds><|vision_start|><|video_pad|>")


@pytest.mark.parametrize("model_type", WITH_VIDEO)
def test_a_clip_of_one_frame_is_the_picture_itself(model_type: str) -> None:
    processor = family_processor(model_type)
    images = processor.image_processor
    low, high = images.size["shortest_edge"], images.size["longest_edge"]
    together = 2 if KINDS[model_type] == "later" else 1
    processor = reader(
        model_type,
        (low * together, high * together),
        image_mean=images.image_mean,
        image_std=images.image_std,
    )
    video = clip(small_frames(1, (100, 171)))
    made = video_inputs(processor, video)
    picture = images(images=[video.picture(0)], return_tensors="pt")
    assert torch.equal(made.pixels, picture["pixel_values"])
    assert made.tensors["video_grid_thw"].tolist() == picture["image_grid_thw"].tolist()
    assert made.times == (0.0,)


def read_by(model: Any, processor: Any, part: str, text: str, **tensors: torch.Tensor) -> torch.Tensor:
    """Return the logits after a prompt in which `text` stands for a picture or a clip."""
    turn = [{"role": "user", "content": [{"type": part}, {"type": "text", "text": "What?"}]}]
    written = getattr(processor, f"{part}_token")
    prompt = processor.apply_chat_template(turn, tokenize=False, add_generation_prompt=True)
    ids = processor.tokenizer(prompt.replace(written, text), return_tensors="pt")["input_ids"]
    kinds = (ids == processor.image_token_id).int() + 2 * (ids == processor.video_token_id).int()
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, mm_token_type_ids=kinds, **tensors).logits[0, -1]
    return logits


@pytest.mark.numeric
@pytest.mark.parametrize("model_type", WITH_VIDEO)
def test_the_model_reads_it(monkeypatch: pytest.MonkeyPatch, model_type: str) -> None:
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", 50_000)
    model, processor = tiny_family(model_type)
    made = video_inputs(processor, clip(small_frames(5, (100, 171))))
    assert made.grid[0] == 3
    first = read_by(model, processor, "video", made.placeholder, **made.tensors)
    other = {**made.tensors, "pixel_values_videos": made.pixels.flip(0)}
    second = read_by(model, processor, "video", made.placeholder, **other)
    assert bool(torch.isfinite(first).all())
    assert (first - second).abs().max() > 1e-3


@pytest.mark.numeric
@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen2_5_vl"])
def test_the_model_reads_a_clip_of_one_frame_as_the_picture(model_type: str) -> None:
    model, processor = tiny_family(model_type)
    size = processor.image_processor.size
    reading = reader(model_type, (size["shortest_edge"], size["longest_edge"]))
    video = clip(small_frames(1, (100, 171)))
    made = video_inputs(reading, video)
    seen = processor.image_processor(images=[video.picture(0)], return_tensors="pt")
    _, h, w = made.grid
    as_picture = read_by(model, processor, "image", processor.image_token * (h * w), **seen)
    assert_same(read_by(model, processor, "video", made.placeholder, **made.tensors), as_picture)


def test_a_left_over_frame_counts_twice() -> None:
    frames = small_frames(3, (56, 84))
    processor = reader("qwen2_vl", (3136, 784 * 40))
    odd = video_inputs(processor, clip(frames))
    even = video_inputs(processor, clip(frames[[0, 1, 2, 2]]))
    assert odd.grid == (2, 2, 3)
    assert torch.equal(odd.pixels, even.pixels)


@pytest.mark.parametrize("model_type", ["qwen2_vl", "qwen3_vl"])
@pytest.mark.parametrize("frames", [1, 2, 7, 120, 768])
def test_all_frames_together_stay_below_our_own_bound(
    monkeypatch: pytest.MonkeyPatch, model_type: str, frames: int
) -> None:
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", 2_000_000)
    processor = reader(model_type)
    cell = {"qwen2_vl": 28, "qwen3_vl": 32}[model_type]
    t, h, w = video_grid(processor, (1280, 720), frames)
    assert 2 * t * h * w * cell**2 <= 2_000_000
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", 10**9)
    free = video_grid(processor, (1280, 720), frames)
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", None)
    assert free == video_grid(processor, (1280, 720), frames)


def test_a_bound_of_our_own_leaves_a_token_to_each_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "VIDEO_MAX_PIXELS", 1568)
    assert video_grid(reader("qwen2_vl"), (64, 48), 40) == (20, 1, 1)
    assert video_grid(reader("qwen3_vl"), (64, 48), 40) == (20, 1, 1)


@pytest.mark.parametrize("model_type", WITH_VIDEO)
def test_a_processor_that_was_made_by_hand_reads_as_published(model_type: str) -> None:
    bare = family_processor(model_type)
    assert not hasattr(bare, SETTINGS)
    assert video_grid(bare, (640, 360), 10) == video_grid(reader(model_type), (640, 360), 10)


def test_a_processor_of_transformers_own_is_asked() -> None:
    processor = family_processor("qwen2_vl")
    settings = getattr(reader("qwen2_vl", (3136, 784 * 6)), SETTINGS)
    processor.video_processor = SimpleNamespace(to_dict=lambda: settings)
    assert video_grid(processor, (640, 360), 10) == (5, 1, 3)


def test_a_processor_that_reads_no_clips_is_refused_in_one_line() -> None:
    class OtherProcessor: ...

    other = image_only(type("Glm4vProcessor", (FAMILIES["qwen2_vl"].processor,), {}))
    for processor in (OtherProcessor(), object.__new__(other)):
        name = type(processor).__name__
        with pytest.raises(ModelError, match=rf"^Videos cannot be read: {name}s are not known to take them"):
            video_grid(processor, (64, 48), 4)


def test_inputs_refuse_parts_that_disagree() -> None:
    pixels = torch.zeros(24, 5)
    VideoInputs(pixels, (1, 2, 3), 2, None, "", (0.0,))
    with pytest.raises(ValueError, match=r"24 patches; grid \(2, 2, 3\) needs"):
        VideoInputs(pixels, (2, 2, 3), 2, None, "", (0.0, 1.0))
    with pytest.raises(ValueError, match=r"2 times; grid \(1, 2, 3\) needs 1"):
        VideoInputs(pixels, (1, 2, 3), 2, None, "", (0.0, 1.0))


# --- Settings of a checkpoint -------------------------------------------------------------------------------

TOWER = SimpleNamespace(patch_size=14, spatial_merge_size=2, temporal_patch_size=2)
STANDARD = Standard(video_min_pixels=3000, video_max_pixels=90_000, mean=(0.1, 0.2, 0.3), std=(0.4, 0.5, 0.6))


@pytest.mark.parametrize(
    ("found", "bounds", "notes"),
    [
        (None, (3000, 90_000), []),
        ({"do_sample_frames": True}, (3000, 90_000), []),
        ({"size": {"shortest_edge": 4000, "longest_edge": 50_000}}, (4000, 50_000), []),
        ({"min_pixels": 4000, "max_pixels": 50_000, "image_processor_type": "Other"}, (4000, 50_000), []),
        (
            {"min_pixels": 4000, "max_pixels": 50_000, "patch_size": 16},
            (4000, 50_000),
            ["of videos, patch_size 16 is set to 14, which its weights need"],
        ),
    ],
)
def test_what_a_checkpoint_says_of_videos(
    found: dict[str, Any] | None, bounds: tuple[int, int], notes: list[str]
) -> None:
    settings, told = video_settings(found, TOWER, STANDARD)
    assert settings["size"] == {"shortest_edge": bounds[0], "longest_edge": bounds[1]}
    assert (settings["patch_size"], settings["merge_size"], settings["temporal_patch_size"]) == (14, 2, 2)
    assert settings["image_mean"] == [0.1, 0.2, 0.3]
    assert told == notes


OWN = {"size": {"shortest_edge": 3136, "longest_edge": 784 * 6}}


@pytest.mark.parametrize(
    ("keywords", "grid"),
    [
        ({}, (5, 13, 23)),
        ({"changes": {"video_preprocessor_config.json": OWN}}, (5, 1, 3)),
        ({"changes": {"processor_config.json": {"video_processor": OWN}}}, (5, 1, 3)),
    ],
    ids=["as published", "in a file of its own", "nested"],
)
def test_a_loaded_processor_reads_as_its_checkpoint_says(
    tmp_path: Path, keywords: dict[str, Any], grid: tuple[int, int, int]
) -> None:
    _, processor = load_model(published(tmp_path / "small", **keywords), device="cpu")
    assert video_grid(processor, (640, 360), 10) == grid


def test_a_cap_of_the_checkpoints_own_is_kept() -> None:
    said = {"min_pixels": 4000, "max_pixels": 50_000, "cap_pixels_per_frame": True, "max_video_tokens": 99}
    settings, _ = video_settings(said, TOWER, STANDARD)
    assert settings["cap_pixels_per_frame"] is True
    assert settings["max_video_tokens"] == 99


@pytest.mark.parametrize("model_type", WITH_VIDEO)
def test_published_bounds_are_known(model_type: str) -> None:
    standard = standard_of(model_type)
    assert (standard.video_min_pixels, standard.video_max_pixels) == BOUNDS[KINDS[model_type]]

"""The viewer's data of answers about several pictures and clips."""

import base64
import io
from functools import lru_cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from methods import token_maps
from records.capture import Capture
from records.videos import Video, open_video
from tests.clips import write_clip
from tests.families.several import pictures
from tests.tiny_families import tiny_family
from tests.viewer.payload.kit import read_back

KIND = "qwen2_5_vl"


@lru_cache
def mixed(folder: Path) -> tuple[Capture, tuple[Image.Image | Video, ...]]:
    """An answer about a picture, a clip of four steps, and another picture."""
    clip = open_video(write_clip(folder / "clip.mp4", frames=8, size=(56, 84), rate=2))
    shown = (pictures(KIND)[0], clip, pictures(KIND)[1])
    extractor = AttentionExtractor(*tiny_family(KIND), store_on_cpu=True, float16=False)
    return extractor.generate(shown, "What is there?", max_new_tokens=4, temperature=2.0, seed=1), shown


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clips")


@pytest.fixture(scope="module")
def data(folder: Path) -> dict[str, Any]:
    capture, shown = mixed(folder)
    sides = [token_maps("attention", capture, of_prompt=side) for side in (False, True)]
    return viewer.payload(capture, shown, *sides)


def test_each_picture_and_clip_says_where_its_patches_are(data: dict[str, Any], folder: Path) -> None:
    capture, _ = mixed(folder)
    first = 0
    for told, visual in zip(data["visuals"], capture.visuals, strict=True):
        assert (told["kind"], tuple(told["grid"]), told["first"]) == (visual.kind, visual.grid, first)
        assert told["times"] == pytest.approx(visual.times, abs=5e-4)
        first += int(np.prod(visual.grid))
    assert len(data["boxes"]) == 3


def test_maps_are_of_all_patches_and_shares_of_each_picture(data: dict[str, Any], folder: Path) -> None:
    capture, _ = mixed(folder)
    mean = capture.attention.double().mean(dim=(1, 2)).numpy()  # (token, patch)
    maps = read_back(data["answer"]["maps"])
    assert maps.shape == mean.shape
    assert np.abs(maps - mean).max() <= 1e-6 + np.ptp(mean, axis=1).max() / 65535
    ends = np.cumsum([0, *(int(np.prod(visual.grid)) for visual in capture.visuals)])
    shares = [[row[a:b].sum() for a, b in pairwise(ends)] for row in mean]
    np.testing.assert_allclose(data["answer"]["visual_shares"], shares, atol=1e-4)
    clip = AttentionProcessor(capture).get_attention_heatmap_for_token(1, visual=1)
    np.testing.assert_allclose(maps[1, ends[1] : ends[2]].reshape(clip.shape), clip, atol=1e-5)


def test_there_is_a_picture_for_each_picture_and_for_each_step_of_a_clip(
    data: dict[str, Any], folder: Path
) -> None:
    capture, (first, clip, last) = mixed(folder)
    assert isinstance(clip, Video)
    steps = capture.visuals[1].grid[0]
    assert steps == 4
    assert len(data["pictures"]) == 1 + steps + 1
    shown = [opened(one) for one in data["pictures"]]
    for told, truth in ((shown[0], first), (shown[-1], last)):  # noise, for which a good JPEG is smaller
        assert np.abs(np.asarray(told).astype(int) - np.asarray(truth).astype(int)).mean() < 6
    for step in range(steps):  # the first of its two frames, as a JPEG
        frame = clip.frames[2 * step].astype(int)
        assert np.abs(np.asarray(shown[1 + step]).astype(int) - frame).mean() < 3


def opened(picture: dict[str, Any]) -> Image.Image:
    found = Image.open(io.BytesIO(base64.b64decode(picture["url"].split(",", 1)[1]))).convert("RGB")
    assert found.size == (picture["width"], picture["height"])
    return found


def test_a_file_of_it_says_the_grid_of_each(data: dict[str, Any]) -> None:
    text = viewer.report(data)
    assert "<dt>Grid of picture 1</dt><dd>5 × 3 cells over" in text
    assert "<dt>Grid of picture 2</dt><dd>4 steps of " in text

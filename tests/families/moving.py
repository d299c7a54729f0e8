"""What tests of clips share: one of noise, and frames that are left at their size."""

from functools import lru_cache

import numpy as np
import pytest

from model.video_settings import SETTINGS
from records.videos import Video
from tests.tiny_families import cell, tiny_family

STEPS, GRID = 3, (2, 3)  # GRID: (h, w) of each step
TIMES = (0.0, 0.5, 1.0, 1.5, 2.0)  # the last frame counts twice


def leave_frames_small(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave frames at their size: families read none as small."""
    side = cell(kind)
    settings = {
        "patch_size": side // 2,
        "merge_size": 2,
        "temporal_patch_size": 2,
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "size": {"shortest_edge": side**2, "longest_edge": 2 * len(TIMES) * 64 * side**2},
    }
    monkeypatch.setattr(tiny_family(kind)[1], SETTINGS, settings, raising=False)


@lru_cache
def clip(kind: str) -> Video:
    h, w = (side * cell(kind) for side in GRID)
    frames = np.random.default_rng(5).integers(0, 256, (len(TIMES), h, w, 3), dtype=np.uint8)
    return Video("clip.mp4", frames, TIMES, 2.0, 2.5, (h, w), "c" * 64)

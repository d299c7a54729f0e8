"""Files to take away: animations."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import visualization
from attention_processor import AttentionProcessor
from drawing.colours import MARKED
from records.capture import Capture
from records.look import Look
from report import animation
from report.formats import export
from report.view import (
    TITLE,
    coloured,
)
from tests.report.formats.kit import ALL, WORDS, difference, frames_of, of


@pytest.mark.parametrize(("kind", "scale"), [("gif", "own"), ("mp4", "shared")])
@pytest.mark.parametrize(
    ("colormap", "view"),
    [
        ("viridis", "overlay"),
        ("viridis", "heatmap"),
        ("viridis", "side by side"),
        ("glow", "overlay"),
        ("glow", "spotlight"),
    ],
)
def test_an_animation_shows_each_word_in_turn(
    kind: str, scale: Any, colormap: str, view: str, capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    shown = replace(ALL, scale=scale, look=Look(colormap, 0.7, view))
    frames = frames_of(export(kind, of(capture, shown), image, tmp_path).path)
    assert len(frames) == len(WORDS)
    width, height = frames[0].size
    assert (width % 2, height % 2) == (0, 0)
    assert max(width, height) <= animation.FRAME_SIDE
    look, processor = coloured(of(capture, shown)), AttentionProcessor(capture)
    size = (326, 456) if view == "side by side" else (343, 480)  # 140 x 196 enlarged
    picture = image.resize(size[::-1], Image.Resampling.LANCZOS)
    expected = []
    for word in processor.words():
        heat = processor.get_attention_heatmap_for_token(word.tokens)
        over = {
            "overlay": visualization.overlay,
            "side by side": visualization.side_by_side,
            "spotlight": visualization.spotlight,
        }
        alone = view == "heatmap"
        expected.append(visualization.heatmap(heat, size, look) if alone else over[view](picture, heat, look))
    box = (12, 12, 12 + expected[0].width, 12 + expected[0].height)
    for index, frame in enumerate(frames):
        assert frame.size == (width, height)
        far = [difference(frame.crop(box), drawn) for drawn in expected]
        # A GIF has 256 colours, a video a fourth of the colour resolution.
        assert far[index] < (9 if kind == "gif" else 6)
        assert far[index] == min(far)


def test_only_map_bar_and_mark_move(capture: Capture, image: Image.Image, tmp_path: Path) -> None:
    plain = replace(ALL, look=Look("viridis"))  # the glow has the mark's yellow too
    frames = frames_of(export("gif", of(capture, plain), image, tmp_path).path)
    arrays = np.stack([np.asarray(frame, int) for frame in frames])
    marked = (np.abs(arrays - MARKED).max(-1) < 12).sum((1, 2))
    assert (marked[:-1] > 100).all()  # a word each, but for the white space at the end
    columns = [np.flatnonzero((np.abs(one - MARKED).max(-1) < 12).any(0)) for one in arrays[:3]]
    assert columns[0].max() < columns[1].min() + 4 < columns[1].max() < columns[2].min() + 4
    still = np.ptp(arrays[:, -100:], axis=0).mean()
    assert still < 3  # the lines at the bottom, but for each frame's own 256 colours


def test_an_animation_runs_at_two_words_a_second(
    capture: Capture, image: Image.Image, tmp_path: Path
) -> None:
    with Image.open(export("gif", of(capture, ALL), image, tmp_path).path) as animation:
        assert animation.info["loop"] == 0
        for frame in range(animation.n_frames):  # type: ignore[attr-defined]
            animation.seek(frame)
            assert animation.info["duration"] == 500
    path = export("mp4", of(capture, ALL), image, tmp_path).path
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt) == ("h264", "yuv420p")
        assert (float(stream.average_rate or 0), stream.frames) == (2.0, len(WORDS))
        assert container.duration == pytest.approx(len(WORDS) / 2 * av.time_base, rel=0.01)
        assert container.metadata["title"] == TITLE
    content = path.read_bytes()
    assert content.index(b"moov") < content.index(b"mdat")  # starts before it is loaded whole


def test_a_narrow_picture_leaves_room_for_the_answer(capture: Capture, tmp_path: Path) -> None:
    narrow = Image.new("RGB", (140, 1400), "teal")
    frames = frames_of(export("mp4", of(capture, ALL), narrow, tmp_path).path)
    assert frames[0].width >= 480
    assert max(frames[0].size) <= animation.FRAME_SIDE

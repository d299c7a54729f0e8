"""Made answers about several pictures and clips: no model, but captures whose parts belong together."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from records.capture import Capture
from records.pictures import image_hash
from records.videos import Video, video_hash
from records.visuals import Visual
from tests.attention_processor.kit import CONTEXT, PROMPT_TOKENS, TOKENS, made_capture, rows

Shown = Image.Image | Video
Grid = tuple[int, int, int]  # (t, h, w)


def made_picture(grid: tuple[int, int], seed: int = 0, side: int = 28) -> Image.Image:
    """Return noise, smooth enough to be compressed, of so many visual tokens (h, w)."""
    cells = np.random.default_rng(seed).integers(0, 256, (*grid, 3), dtype=np.uint8)
    size_wh = (grid[1] * side, grid[0] * side)
    return Image.fromarray(cells).resize(size_wh, Image.Resampling.BICUBIC)


def made_clip(
    times: Sequence[float], grid: tuple[int, int] = (2, 3), *, name: str = "clip.mp4", seed: int = 0
) -> Video:
    """Return a clip of a frame at each time, each of its own noise; it ends half a second after the last."""
    frames = np.stack([np.asarray(made_picture(grid, seed + number)) for number in range(len(times))])
    duration = times[-1] + 0.5
    size, known = (2 * frames.shape[1], 2 * frames.shape[2]), video_hash(frames, times)
    return Video(name, frames, tuple(times), len(times) / duration, duration, size, known, "made, not filmed")


def visual_of(shown: Shown, grid: Grid, first: int, number: int) -> Visual:
    """Return the record of a picture or clip whose patches begin at `first`; a clip's step has two frames."""
    if isinstance(shown, Video):
        pairs = [shown.times[at : at + 2] for at in range(0, len(shown.times), 2)]
        times = tuple(sum(pair) / len(pair) for pair in pairs)
        return Visual(shown.name, "video", grid, first, shown.size, shown.hash, times)
    return Visual(f"picture {number + 1}", "image", grid, first, shown.size[::-1], image_hash(shown))


def answer_about(shown: Sequence[Shown], grids: Sequence[Grid], **changed: Any) -> Capture:
    """Return an answer about pictures and clips of these grids (t, h, w), with them."""
    counts = [t * h * w for t, h, w in grids]
    firsts = [sum(counts[:number]) for number in range(len(counts))]
    each = zip(shown, grids, firsts, range(len(shown)), strict=True)
    (attention, shares), (asked, asked_shares) = (
        rows(count, seed, sum(counts)) for count, seed in ((TOKENS, 4), (PROMPT_TOKENS, 5))
    )
    parts: dict[str, Any] = {
        "visuals": tuple(visual_of(*one) for one in each),
        "pictures": tuple(shown),
        "attention": attention,
        "shares": shares,
        "prompt_attention": asked,
        "prompt_shares": asked_shares,
        "prompt_length": sum(counts) + len(CONTEXT),
    }
    return made_capture(**parts | changed)

"""Fixtures that several tests here share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from drawing import fonts
from drawing.fonts import _fallback_paths, _font_with
from records.capture import Capture
from records.pictures import image_hash
from tests.attention_processor.kit import made_capture


@pytest.fixture(scope="module")
def image() -> Image.Image:
    """A picture of 196 x 140 pixels."""
    cells = np.random.default_rng(3).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return Image.fromarray(cells).resize((196, 140), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def capture(image: Image.Image) -> Capture:
    settings = {"temperature": 0.0, "max_new_tokens": 64, "dtype": "float32"}
    return made_capture(image_hash=image_hash(image), model_name="made/model-1", settings=settings)


@pytest.fixture
def fallback_fonts(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., None]]:
    """Return a function that sets the fonts which are tried after DejaVu Sans."""

    def clear() -> None:
        _fallback_paths.cache_clear()
        _font_with.cache_clear()

    def use(*files: Path) -> None:
        clear()
        monkeypatch.setattr(fonts, "FALLBACK_FONTS", tuple(map(str, files)))

    yield use
    clear()

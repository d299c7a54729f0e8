"""A page on a free port, over a tiny model; shared by the tests of the page and of the browser."""

import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gradio.utils import get_upload_folder
from PIL import Image

import config
from page.model_room import ModelRoom
from page.network import Network
from page.serve import serve
from page.site import Page
from tests.tiny import save_tiny

# Every axis a different size: 3 layers, 4 heads, a 5 × 8 grid; the other model has 2 layers and 6 heads.
# Neither ends an answer before its limit.
FIRST: dict[str, Any] = {"layers": 3, "heads": 4, "seed": 2, "vocabulary": "bytes", "ends": False}
OTHER: dict[str, Any] = {
    "layers": 2,
    "heads": 6,
    "kv_heads": 3,
    "hidden": 48,
    "seed": 3,
    "vocabulary": "bytes",
    "ends": False,
}
LAYERS, HEADS = 3, 4
PROMPT = "Describe this image."
LONG = 200  # tokens


def noise(seed: int, size_hw: tuple[int, int] = (140, 224)) -> Image.Image:
    """Return a picture of coloured noise; 140 × 224 pixels are 5 × 8 visual tokens."""
    values = np.random.default_rng(seed).integers(0, 255, (*size_hw, 3), dtype=np.uint8)
    return Image.fromarray(values)


def saved(folder: Path) -> tuple[Path, Path]:
    """Write both models, and return their folders."""
    return save_tiny(folder / "first", **FIRST), save_tiny(folder / "other", **OTHER)


def free_port() -> int:
    """Return a port that nobody listens at."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def uploads() -> Path:
    """Return a new folder among Gradio's uploads, which are the only files that the page opens."""
    folder = Path(get_upload_folder()) / secrets.token_hex(20)
    folder.mkdir(parents=True)
    return folder


@contextmanager
def served(
    model: str | None, port: int | None = None, network: Network | None = None
) -> Iterator[tuple[Page, str]]:
    """Yield a page with this model, or with none, and its address; it shows attention to begin with."""
    room = ModelRoom()
    if model is not None:
        room.load(model)
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as uploads:
        patch.setenv("GRADIO_TEMP_DIR", uploads)  # its own: a page that ends removes what it was sent
        patch.setattr(config, "METHOD", "attention")
        page = Page(room, model or "demo")
        url = serve(page, network or Network(port=port or free_port()))
        try:
            yield page, url.rstrip("/")
        finally:
            page.blocks.close(verbose=False)

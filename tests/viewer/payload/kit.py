"""What several tests here share."""

import base64
import html.parser
import io
import re
from typing import Any

import numpy as np
from PIL import Image

from methods import token_maps
from records.selection import Selection
from records.token_maps import TokenMaps
from tests.attention_processor.kit import (
    GRID,
    TOKENS,
)

EVIL = '</script><img src=x onerror="alert(1)"><!-- \u2028 &amp; é'


def attention_of(capture: Any, *chosen: Any) -> list[TokenMaps]:
    """Return attention maps of answer and prompt, over chosen layers and heads."""
    options = dict(zip(("layers", "heads", "aggregation"), chosen, strict=False))
    return [token_maps("attention", capture, of_prompt=side, **options) for side in (False, True)]


def maps_of(values: np.ndarray, method: str = "attention", **parts: Any) -> TokenMaps:
    """Return values (token, h, w) as the maps of an answer."""
    return TokenMaps(method, tuple(range(len(values))), values.astype(np.float32), **parts)


FLAT = maps_of(np.zeros((TOKENS, *GRID)))


def read_back(packed: dict[str, Any]) -> np.ndarray:
    """Return the packed numbers (row, value), by the words of viewer/payload.py."""
    kind = {8: "<u1", 16: "<u2"}[packed["bits"]]
    numbers = np.frombuffer(base64.b64decode(packed["data"], validate=True), kind)
    low, high = (np.array(packed[name], np.float64)[:, None] for name in ("low", "high"))
    return low + numbers.reshape(len(low), -1) / (2 ** packed["bits"] - 1) * (high - low)


def picture_of(made: dict[str, Any]) -> Image.Image:
    match = re.fullmatch(r"data:image/(png|jpeg);base64,([\w+/=]+)", made["pictures"][0]["url"])
    assert match is not None
    picture = Image.open(io.BytesIO(base64.b64decode(match[2])))
    assert picture.size == (made["pictures"][0]["width"], made["pictures"][0]["height"])
    return picture


MADE = maps_of(
    np.random.default_rng(8).normal(size=(TOKENS, *GRID)),
    "gradient-norm",
    settings={"layers": [1, 3], "num_samples": 1, "noise_std": 0.0},
)
CHOSEN = Selection(layers=(0, 5), heads=(1,), aggregation="max")


class Parts(html.parser.HTMLParser):
    """The elements of a document, each with the text right after its start, as a parser meets them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None], list[str]]] = []
        self.comments: list[str] = []
        self.open = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs), []))
        self.open = True

    def handle_endtag(self, tag: str) -> None:
        self.open = False

    def handle_data(self, data: str) -> None:
        if self.open:
            self.elements[-1][2].append(data)

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def texts(self, tag: str, **attributes: str) -> list[str]:
        """Return the texts of these elements; without attributes asked for, of those that have none."""
        return [
            "".join(texts)
            for name, attrs, texts in self.elements
            if name == tag and (attributes.items() <= attrs.items() if attributes else not attrs)
        ]

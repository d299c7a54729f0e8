"""Records in a notebook: the viewer in a cell, with the picture, and what stands there without one."""

import html
import json
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from methods import token_maps
from records.capture import Capture
from tests.attention_processor.kit import GRID, PROMPT_TOKENS, TOKENS, made_capture


@pytest.fixture(scope="module")
def capture() -> Capture:
    pixels = np.random.default_rng(5).integers(0, 256, (GRID[0] * 28, GRID[1] * 28, 3), np.uint8)
    return replace(made_capture(), pictures=(Image.fromarray(pixels),))


def shown(cell: str | None) -> dict[str, Any]:
    """Return the data of the viewer inside a cell."""
    assert cell is not None
    frame = re.fullmatch(
        r'<iframe srcdoc="([^"]*)" sandbox="allow-scripts" title="[^"]+" style="[^"]+"></iframe>', cell
    )
    assert frame is not None
    page = html.unescape(frame[1])
    data = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page, re.DOTALL)
    assert data is not None
    assert "default-src 'none'" in page  # nothing is asked of a network
    found: dict[str, Any] = json.loads(data[1])
    return found


def test_a_capture_shows_attention_over_all_layers_and_heads(capture: Capture) -> None:
    data = shown(capture._repr_html_())
    assert data["pictures"][0]["url"].startswith("data:image/")
    assert (data["pictures"][0]["width"], data["pictures"][0]["height"]) == (GRID[1] * 28, GRID[0] * 28)
    assert data["settings"]["layers"] == list(capture.layers)
    assert len(data["answer"]["maps"]["low"]) == TOKENS
    assert len(data["prompt"]["maps"]["low"]) == PROMPT_TOKENS
    expected = capture.attention.float().mean(dim=(1, 2))  # (token, patch)
    assert data["answer"]["maps"]["high"] == pytest.approx(expected.amax(1).tolist(), rel=1e-5)


def test_maps_of_a_method_show_themselves(capture: Capture) -> None:
    found = token_maps("heads-3", capture)
    data = shown(found._repr_html_())
    assert data["method"]["name"].startswith("Attention, 3 most local heads")
    assert data["answer"]["maps"]["high"] == pytest.approx(found.maps.max(axis=(1, 2)).tolist(), rel=1e-5)
    assert data["prompt"]["maps"] is None


def test_maps_of_the_prompt_show_themselves(capture: Capture) -> None:
    found = token_maps("attention", capture, of_prompt=True)
    data = shown(found._repr_html_())
    assert len(data["prompt"]["maps"]["low"]) == PROMPT_TOKENS


def test_maps_of_some_tokens_are_a_picture(capture: Capture) -> None:
    cell = token_maps("attention", capture, tokens=[1, 4])._repr_html_()
    assert cell is not None
    assert re.fullmatch(
        r'<img src="data:image/png;base64,[^"]+" alt="Maps of token 1 [^"]+" style="[^"]+">', cell
    )


def test_without_the_picture_a_notebook_shows_the_text(capture: Capture) -> None:
    bare = replace(capture, pictures=())
    assert bare._repr_html_() is None
    assert token_maps("attention", bare)._repr_html_() is None
    assert replace(token_maps("attention", capture), capture=None)._repr_html_() is None


def test_what_a_person_wrote_cannot_leave_the_frame(capture: Capture) -> None:
    cell = replace(capture, model_name='"><script>alert(1)</script>')._repr_html_()
    assert cell is not None
    assert cell.count('"><') == 0 or cell.endswith('"></iframe>')
    assert "<script" not in cell
    assert shown(cell)["settings"]["model"] == '"><script>alert(1)</script>'

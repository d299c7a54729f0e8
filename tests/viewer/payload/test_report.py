"""The viewer's data: the report."""

import base64
import hashlib
import json
import re
from typing import Any

import numpy as np
import pytest
from PIL import Image

import viewer
from attention_processor import AttentionProcessor
from methods import METHODS
from tests.attention_processor.kit import (
    GRID,
    TOKENS,
)
from tests.viewer.payload.kit import (
    EVIL,
    Parts,
    maps_of,
)


def test_a_report_gives_the_data_back_and_lets_nothing_break_out(evil: dict[str, Any]) -> None:
    text = viewer.report(evil)
    parts = Parts(text)
    (data,) = parts.texts("script", id="payload")
    assert json.loads(data) == json.loads(json.dumps(evil))
    assert not set(data) & set("<>&\u2028")
    assert data.isascii()
    assert parts.comments == []
    assert {tag for tag, *_ in parts.elements}.isdisjoint({"img", "iframe", "object", "link", "base"})
    assert not any(
        name.startswith("on") or name == "style" for _, attrs, _ in parts.elements for name in attrs
    )
    assert parts.texts("title")[0].strip() == "Where each word looks"
    assert "".join(parts.texts("dd")).count(EVIL) == 3  # model, question, answer


def test_the_policy_allows_the_reports_own_script_and_style_by_their_hashes(evil: dict[str, Any]) -> None:
    parts = Parts(viewer.report(evil))
    (policy,) = (attrs["content"] for _, attrs, _ in parts.elements if attrs.get("http-equiv"))
    rules = dict(rule.strip().split(" ", 1) for rule in str(policy).split(";"))
    (script,) = parts.texts("script")
    (style,) = parts.texts("style")

    def digest(source: str) -> str:
        return f"'sha256-{base64.b64encode(hashlib.sha256(source.encode()).digest()).decode()}'"

    assert rules == {
        "default-src": "'none'",
        "script-src": digest(script),
        "style-src": digest(style),
        "img-src": "data:",
        "base-uri": "'none'",
        "form-action": "'none'",
    }


def test_a_report_says_what_it_shows(made: dict[str, Any]) -> None:
    text = "\n".join(Parts(viewer.report(made)).texts("dd"))
    for line in (
        "made",
        "attention: share of attention",
        "0, 5",
        "max",
        "own: each map from an even share of it to its own largest, at least four even shares (when opened)",
        "5 × 7 cells over 196 × 140 pixels",
        METHODS["attention"].caveat,
    ):
        assert line in text


def test_a_method_without_heads_names_none_and_keeps_the_shares_of_all(
    capture: Any, image: Image.Image
) -> None:
    maps = maps_of(np.random.default_rng(1).random((TOKENS, *GRID)), "grad-cam", settings={"layers": [2]})
    data = viewer.payload(capture, image, maps)
    shares = AttentionProcessor(capture).shares(4)
    assert data["answer"]["shares"][4] == pytest.approx(shares, abs=6e-5)
    parts = Parts(viewer.report(data))
    assert not {"Layers", "Heads", "Folded by"} & set(parts.texts("dt"))
    assert any("Grad-CAM · layers 2" in text for text in parts.texts("dd"))


def test_the_sources_ask_for_nothing_and_can_be_put_into_a_page() -> None:
    assets = viewer.assets()
    assert set(assets) == {"html", "css", "js"}
    for source in assets.values():
        assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)|@import|url\(", source)
        assert not re.search(r"</script|<!--", source, re.IGNORECASE)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(", assets["js"])
    # Gradio reads these two as templates
    assert not re.search(r"\$\{|\{\{", assets["html"] + assets["css"])
    assert " id=" not in assets["html"]
    rules = re.sub(r"/\*.*?\*/|@keyframes lens-\w+ \{.*?\n\}", "", assets["css"], flags=re.DOTALL)
    selectors = [line for line in rules.splitlines() if re.match(r"\s*[.:\w\[]", line) and "{" in line]
    assert all(line.strip().startswith((".lens-viewer", ":where(.lens-viewer")) for line in selectors)

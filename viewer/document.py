"""The viewer's sources, and one HTML file that holds them with the data of one answer.

The file opens from disk and asks for nothing: its content-security policy allows its own script and style, by
their hashes, and pictures that are in the file. What a model or a visitor wrote enters as escaped JSON or
escaped text.
"""

import base64
import hashlib
import html
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from records.selection import scale_text
from utils import as_ranges
from viewer.modules import one_script

TITLE = "Where each word looks"
_FOLDER = Path(__file__).parent
_STYLES = tuple(
    f"css/{name}.css"
    for name in (
        "base",
        "menu",
        "words",
        "turns",
        "picture",
        "several",
        "boxes",
        "panels",
        "narrow",
        "tablet",
    )
)
_START = """
const data = JSON.parse(document.getElementById("payload").textContent);
const viewer = mountViewer(document.querySelector(".lens-viewer"), data);
"""
_PAGE_STYLE = """
:root { color-scheme: light dark; }
html, body { height: 100%; }
body { margin: 0; font: 16px/1.5 -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
main { height: 100%; min-height: 420px; }
.about { display: grid; grid-template-columns: max-content minmax(0, 1fr); gap: 4px 16px; margin: 0;
  padding: 20px; font-size: .9rem; background: light-dark(#fff, #17171b); color: light-dark(#17181c, #f3f3f0);
  border-top: 1px solid light-dark(#dcddd7, #34343c); }
.about dt { color: light-dark(#5a5d66, #a2a4ad); }
.about dd { margin: 0; overflow-wrap: anywhere; white-space: pre-wrap; }
"""


@cache
def _source(name: str) -> str:
    return (_FOLDER / name).read_text("utf-8")


@cache
def _script() -> str:
    return one_script(_FOLDER / "js", "mount.js")


def assets() -> dict[str, str]:
    """Return the viewer's sources: markup "html", style "css", and "js", which defines `mountViewer`."""
    return {"html": _source("viewer.html"), "css": "".join(map(_source, _STYLES)), "js": _script()}


def report(payload: Mapping[str, Any]) -> str:
    """Return one HTML file with the viewer, its data, and what it shows in words."""
    parts = assets()
    script = f"(() => {{\n{parts['js']}\n{_START}}})();"
    style = _PAGE_STYLE + parts["css"]
    policy = (
        f"default-src 'none'; script-src '{_sha256(script)}'; style-src '{_sha256(style)}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    about = "\n".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd>" for name, value in _about(payload)
    )
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="referrer" content="no-referrer">
<title>{TITLE}</title>
<style>{style}</style>
</head>
<body>
<main>
{parts["html"]}
</main>
<dl class="about">
{about}
</dl>
<script type="application/json" id="payload">{_escaped_json(payload)}</script>
<script>{script}</script>
</body>
</html>
"""


def _about(payload: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return what the file shows, as (name, text)."""
    settings, method = payload["settings"], payload["method"]
    folded, look = settings["aggregation"], payload["look"]
    return [
        ("Model", settings["model"]),
        ("Question", payload["prompt"]["text"]),
        ("Answer", payload["answer"]["text"]),
        *([("Boxes", boxes)] if (boxes := _boxes_text(payload["boxes"][0])) else []),
        ("Method", f"{method['name']}: {method['values']}"),
        *([("Layers", as_ranges(settings["layers"], "–", ", "))] if settings["layers"] else []),
        *([("Heads", as_ranges(settings["heads"], "–", ", "))] if settings["heads"] else []),
        *([("Folded by", folded)] if folded else []),
        ("Scale", f"{scale_text(look['scale'], look['colormap'])} (when opened)"),
        *_grids(payload["visuals"], payload["pictures"]),
        ("What it does not prove", method["caveat"]),
    ]


def _grids(
    visuals: Sequence[Mapping[str, Any]], pictures: Sequence[Mapping[str, Any]]
) -> list[tuple[str, str]]:
    """Return the cells of each picture and clip."""
    found, at = [], 0
    for number, visual in enumerate(visuals):
        steps, rows, columns = visual["grid"]
        picture = pictures[at]
        text = f"{rows} × {columns} cells over {picture['width']} × {picture['height']} pixels"
        name = "Grid" if len(visuals) == 1 else f"Grid of picture {number + 1}"
        found.append((name, text if visual["kind"] == "image" else f"{steps} steps of {text}"))
        at += steps
    return found


def _boxes_text(boxes: Mapping[str, Any]) -> str:
    """Return the boxes of an answer on one line, in pixels of the picture given, and what is to be said."""
    lines = [f"{box['label']} {box['pixels']}".strip() for box in boxes["list"]]
    return "; ".join([*lines, *([boxes["notes"]] if boxes["notes"] else [])])


def _escaped_json(value: Any) -> str:
    """Return JSON in ASCII in which nothing can end the script element or open a comment."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _sha256(text: str) -> str:
    digest = hashlib.sha256(text.encode("utf-8")).digest()
    return f"sha256-{base64.b64encode(digest).decode('ascii')}"

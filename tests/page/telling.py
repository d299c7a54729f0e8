"""What a callback of the page told: what it changes of the viewer, and the line that it was refused with."""

import html
import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import gradio as gr
import pytest

from page.explorer import NOTHING
from page.site import Page

Outputs = dict[Any, Any]


def changes(component: Any) -> dict[str, Any]:
    """What an update of a component changes."""
    return component.constructor_args if isinstance(component, gr.blocks.Block) else component


def notice(line: str) -> dict[str, str]:
    """What the viewer is told of something that went wrong."""
    return {"kind": "error", "text": line}


def refused(steps: Iterator[Outputs]) -> tuple[list[Outputs], str]:
    """Return all that is shown, and the line of the error that ends it, which no toast tells again."""
    outputs: list[Outputs] = []
    with pytest.raises(gr.Error) as caught:
        outputs.extend(steps)
    assert caught.value.visible is False
    line = html.unescape(str(caught.value.message))
    assert len(line.splitlines()) == 1
    return outputs, line


def request(visitor: str = "me") -> Any:
    return SimpleNamespace(session_hash=visitor)


def viewed(page: Page, outputs: Outputs) -> dict[str, Any]:
    """What an output changes of the viewer; nothing where it leaves it alone."""
    given = outputs.get(page.explorer.viewer)
    changed = {} if given is None else changes(given)
    found = {name: changed[name] for name in ("value", "pictures", *NOTHING) if name in changed}
    if found.get("value"):
        assert set(found["value"]) == {"run", "packed"}
        found["value"] = json.loads(found["value"]["packed"])
        assert found["value"]["run"] == changed["value"]["run"]
    return found

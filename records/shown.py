"""How a notebook shows a record: the viewer, in the cell.

Records stand below whatever draws them. Here alone they name what stands above, and it is loaded when a
notebook asks, never before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from records.visuals import is_picture

if TYPE_CHECKING:
    from records.capture import Capture
    from records.token_maps import TokenMaps


def cell(capture: Capture | None, maps: TokenMaps | None = None) -> str | None:
    """Return HTML with the viewer of an answer: of these maps, or of attention over all layers and heads.

    None where the picture is not at hand, and of several pictures or a clip, which the viewer does not show:
    a notebook then shows the record's text.
    """
    if capture is None or not is_picture(capture.visuals) or capture.picture is None:
        return None
    methods, notebook = import_module("methods"), import_module("report.notebook")
    answer, prompt = (None, maps) if maps is not None and maps.of_prompt else (maps, None)
    if maps is None and capture.token_ids:
        answer = methods.token_maps("attention", capture)
    if maps is None and capture.prompt_token_ids:
        prompt = methods.token_maps("attention", capture, of_prompt=True)
    shown: Any = notebook.cell(capture, capture.picture, methods.SelectedMaps(answer, prompt))
    return str(shown)

"""More ways to explain a word: one signature for every method, sinks, and a choice of heads.

Goes in: a `Capture`, and for most methods the model, its processor and the picture that it was made from.
Comes out: `TokenMaps`, a raw map (h, w) for each token. Knows nothing of pictures' pixels on a screen and of
pages.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from methods.catalog import METHODS, Method

if TYPE_CHECKING:
    from internals.teacher_forcing import TeacherForced
    from methods.heads import HeadRank, rank_heads, top_heads
    from methods.maps import Options, token_maps
    from methods.occlusion import covered, covering
    from methods.question import Question
    from methods.selected import SelectedMaps, selected_maps
    from methods.sinks import Sink, sink_patches, without_sinks
    from records.token_maps import Cost, TokenMaps

# The catalogue is read where torch must not be loaded, by config and by the shell's help, and importing
# `methods.catalog` runs this file: what needs torch is imported when it is first asked for (PEP 562).
_FOUND_IN = {
    "Cost": "records.token_maps",
    "HeadRank": "methods.heads",
    "Options": "methods.maps",
    "Question": "methods.question",
    "TeacherForced": "internals.teacher_forcing",
    "SelectedMaps": "methods.selected",
    "Sink": "methods.sinks",
    "TokenMaps": "records.token_maps",
    "covered": "methods.occlusion",
    "covering": "methods.occlusion",
    "rank_heads": "methods.heads",
    "selected_maps": "methods.selected",
    "sink_patches": "methods.sinks",
    "token_maps": "methods.maps",
    "top_heads": "methods.heads",
    "without_sinks": "methods.sinks",
}

__all__ = [
    "METHODS",
    "Cost",
    "HeadRank",
    "Method",
    "Options",
    "Question",
    "SelectedMaps",
    "Sink",
    "TeacherForced",
    "TokenMaps",
    "covered",
    "covering",
    "rank_heads",
    "selected_maps",
    "sink_patches",
    "token_maps",
    "top_heads",
    "without_sinks",
]


def __getattr__(name: str) -> Any:
    """Return a public name of the room, importing where it stands."""
    if name not in _FOUND_IN:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_FOUND_IN[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

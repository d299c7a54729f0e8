"""What a test chooses on the page: layers, heads, method and look, as a selection and for the viewer."""

from typing import Any

from page import shown
from page.selection import ATTENTION, Controls
from page.sessions import Run
from records.selection import Selection


def wanted(
    layers: Any = None,
    heads: Any = None,
    aggregation: Any = "mean",
    method: Any = ATTENTION,
    no_sinks: Any = False,
) -> dict[str, Any]:
    """Return what the viewer asks for; None is all layers or heads."""
    return {
        "layers": layers,
        "heads": heads,
        "aggregation": aggregation,
        "method": method,
        "no_sinks": no_sinks,
    }


def selection_of(
    run: Run, controls: dict[str, Any], key: Any = None, by: Any = "word", look: Any = None
) -> Selection:
    return Controls.of(controls).selection(run.capture, key, by, look)


def explored(run: Run, run_id: str, controls: dict[str, Any]) -> dict[str, Any]:
    return shown.explored(run, run_id, Controls.of(controls))

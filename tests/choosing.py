"""What a test chooses on the page: sliders, method and look, as a selection and as what the viewer gets."""

from collections.abc import Sequence
from typing import Any

from page import shown
from page.selection import ATTENTION, Controls
from page.sessions import Run
from records.selection import Selection


def selection_of(
    run: Run,
    ranges: Sequence[Any],
    key: Any = None,
    by: Any = "word",
    look: Any = None,
    method: Any = ATTENTION,
    no_sinks: Any = False,
) -> Selection:
    return Controls.of([*ranges, method, no_sinks]).selection(run.capture, key, by, look)


def explored(
    run: Run, run_id: str, key: str, ranges: Sequence[Any], method: Any, no_sinks: Any
) -> dict[str, Any]:
    return shown.explored(run, run_id, key, Controls.of([*ranges, method, no_sinks]))

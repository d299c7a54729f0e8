"""A page with a tiny model for these tests, and what must be as it was after them."""

import html
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import gradio as gr
import pytest

from page.model_room import ModelRoom
from tests.conftest import traces
from tests.inputs.clear import one_clear_line
from tests.inputs.kit import left_in


@contextmanager
def nothing_left(room: ModelRoom, folder: Path) -> Iterator[None]:
    """Have files that do not last made in a folder; there is none at the end, and the model is as it was."""
    assert room.loaded is not None
    before = traces(room.loaded.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tempfile, "tempdir", str(folder))
        yield
    assert traces(room.loaded.model) == before, "a hook, mode, gradient or backend was left behind"
    assert not left_in(folder), "a file was left behind"


def told_by(outputs: Any) -> str | None:
    """Return the clear line with which a callback ends; None where it comes to its end."""
    try:
        if isinstance(outputs, Iterator):
            for _ in outputs:
                pass
    except gr.Error as error:
        line = html.unescape(str(error.message))
        one_clear_line(line)
        return line
    return None

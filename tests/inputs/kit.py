"""What several tests here share."""

import os
from collections.abc import Callable
from typing import Any

import pytest

from tests.inputs.clear import one_clear_line

TIMES = int(os.environ.get("INPUTS_TIMES", "1"))  # as many examples: see tests/inputs/__main__.py


def refusal_of(
    error: type[Exception], tried: Callable[..., Any], *given: Any, typed: tuple[str, ...] = ()
) -> str | None:
    """Return the clear line with which `tried(*given)` is refused; None where it is not."""
    try:
        tried(*given)
    except error as refused:
        one_clear_line(str(refused), *typed)
        return str(refused)
    return None


def left_in(*folders: Any) -> set[str]:
    """Return every file in these folders."""
    return {str(file) for folder in folders for file in folder.rglob("*")}


def silent(capture: pytest.CaptureFixture[str]) -> None:
    """Return if nothing was written to the terminal, not even by a library in C."""
    told = capture.readouterr()
    assert (told.out, told.err) == ("", "")

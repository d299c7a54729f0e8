"""Where a word came from: the shell and the viewer say the same; verdict.test.js reads the same file."""

import json
from pathlib import Path

import pytest

from evaluation.without_picture import _source

ROWS = json.loads((Path(__file__).parent / "sources.json").read_text("utf-8"))


@pytest.mark.parametrize(("seen", "unseen", "tokens", "source"), ROWS)
def test_a_word_came_from(seen: float, unseen: float, tokens: int, source: str) -> None:
    assert _source(seen, unseen, tokens) == source

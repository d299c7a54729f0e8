"""Fixtures that several tests here share."""

from collections.abc import Iterator
from typing import Any

import pytest

import internals.attention_rows as attention_rows_room
from internals import exclusive
from tests.conftest import traces
from tests.methods.kit import small_model


@pytest.fixture(scope="module")
def lent() -> tuple[Any, Any]:
    return small_model()


@pytest.fixture
def small(lent: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the module's small (model, processor); fail the test that leaves it changed."""
    before, offset = traces(lent[0]), lent[0].model.rope_deltas
    yield lent
    assert traces(lent[0]) == before, "the test left hooks, modes, gradients or a backend behind"
    assert lent[0].model.rope_deltas is offset
    assert exclusive._busy == set()
    assert not attention_rows_room._watchers

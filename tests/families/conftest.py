"""Fixtures that several tests here share."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.conftest import traces
from tests.families.kit import KINDS
from tests.tiny_families import tiny_family


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def family(kind: str) -> Iterator[tuple[Any, Any]]:
    """Lend a family's (model, processor); fail the test that leaves it changed."""
    before = traces(tiny_family(kind)[0])
    yield tiny_family(kind)
    assert traces(tiny_family(kind)[0]) == before

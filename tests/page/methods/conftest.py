"""Fixtures that several tests here share."""

from collections.abc import Iterator

import pytest

from tests.page.methods.kit import Held


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Iterator[Held]:
    one = Held(monkeypatch)
    yield one
    one.go.set()

"""Fixtures that several tests here share."""

from pathlib import Path

import pytest

from tests.tiny import save_tiny


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a small saved model; tests copy what they change."""
    return save_tiny(tmp_path_factory.mktemp("models") / "small", vocabulary="bytes", layers=2)

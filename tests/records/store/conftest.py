"""Fixtures that several tests here share."""

import json
from pathlib import Path

import pytest

from records.store import Store


@pytest.fixture
def kept(tmp_path: Path) -> Store:
    return Store(tmp_path / "made" / "cache")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that looks like a checkpoint."""
    made = tmp_path / "checkpoint"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"text_config": {"num_hidden_layers": 6}}))
    (made / "model.safetensors").write_bytes(b"weights")
    return made

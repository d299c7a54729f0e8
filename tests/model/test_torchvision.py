"""Checkpoints: a torchvision that does not fit."""

import os
import subprocess
import sys
from pathlib import Path

from tests.model.kit import load_elsewhere


def test_a_torchvision_that_does_not_import_does_not_stop_anything(saved: Path, tmp_path: Path) -> None:
    """Installed as a build for another torch: transformers alone would fail to import."""
    package = tmp_path / "site" / "torchvision"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')\n")
    metadata = tmp_path / "site" / "torchvision-0.28.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: torchvision\nVersion: 0.28.0\n")
    path = {"PYTHONPATH": str(tmp_path / "site")}
    broken = subprocess.run(
        [sys.executable, "-c", "from transformers import Qwen2_5_VLProcessor"],
        env={**os.environ, **path},
        capture_output=True,
        timeout=100,
    )
    assert broken.returncode != 0
    answers = load_elsewhere("http://127.0.0.1:9", tmp_path, str(saved), **path)
    assert answers == [f"loaded {saved}"]

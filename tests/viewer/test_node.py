"""The viewer's pure functions, tested in node; numbers read the same there and in Python's drawings."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from drawing.colour_bar import number_labels
from records.map_check import probability_text

FOLDER = Path(__file__).parent
OLDEST = 18  # the first with `node --test`, and what Debian 12 has


def lacking() -> str:
    """Return what these tests lack here; an empty text where they can run."""
    node = shutil.which("node")
    if node is None:
        return f"needs node {OLDEST} or later (Debian's package nodejs)"
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout.strip()
    return "" if int(version.lstrip("v").split(".")[0]) >= OLDEST else f"needs node {OLDEST}; found {version}"


def needs_node() -> None:
    """Skip the test where node is lacking; fail it where all tests have to run."""
    if problem := lacking():
        if not os.environ.get("CI"):
            pytest.skip(problem)
        pytest.fail(problem)


def test_the_functions_of_the_state_in_node() -> None:
    needs_node()
    files = sorted(FOLDER.glob("*.test.js"))
    command = ["node", "--test", "--test-reporter=tap", *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    passed = re.search(r"^# pass (\d+)$", run.stdout, re.MULTILINE)
    assert run.returncode == 0, f"{run.stdout}\n{run.stderr}"
    assert passed is not None
    assert int(passed[1]) > len(files) > 0


@pytest.mark.parametrize("case", json.loads((FOLDER / "number_labels.json").read_text("utf-8")))
def test_numbers_read_in_drawings_as_they_do_in_the_viewer(case: dict[str, Any]) -> None:
    assert number_labels(case["values"], case["unit"]) == case["labels"]


@pytest.mark.parametrize(("value", "text"), json.loads((FOLDER / "probabilities.json").read_text("utf-8")))
def test_probabilities_read_in_python_as_they_do_in_the_viewer(value: float, text: str) -> None:
    assert probability_text(value) == text


def test_each_file_of_pure_functions_has_its_tests() -> None:
    tested = "".join(path.read_text("utf-8") for path in FOLDER.glob("*.test.js"))
    for module in (FOLDER.parents[1] / "viewer" / "js" / "state").glob("*.js"):
        assert f"/js/state/{module.name}'" in tested

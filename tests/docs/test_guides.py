"""The guides of docs/, followed to the letter in a copy of the project.

A guide's code says what it is: `file=` a new file, `import=` lines at the top of a file, `row=` a row of a
table, put before the comment that names the guide; `check` is run then, and must pass.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent.parent
GUIDES = sorted((ROOT / "docs").glob("add-a-*.md"))
_BLOCK = re.compile(
    r"^```python (?P<what>\w+)(=(?P<place>\S+))?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "node_modules", "cache", "outputs", "__pycache__")


class Step(NamedTuple):
    """One piece of a guide's code, and what is done with it."""

    what: str
    place: str
    code: str


def steps(guide: str) -> Iterator[Step]:
    """Yield what a guide tells to do, in order."""
    for match in _BLOCK.finditer(guide):
        yield Step(match["what"], match["place"] or "", match["code"])


def with_import(source: str, lines: str) -> str:
    """Return the file with lines before its first import of its own kind."""
    at = re.search(r"^(from|import) (?!__future__)", source, re.MULTILINE)
    assert at is not None
    return source[: at.start()] + lines + source[at.start() :]


def with_row(source: str, row: str, guide: str) -> str:
    """Return the file with a row before the comment that names the guide."""
    at = re.search(rf"^( *)# .*docs/{re.escape(guide)}.*$", source, re.MULTILINE)
    assert at is not None, f"the table has no comment that names {guide}"
    indented = "".join(f"{at[1]}{line}\n" if line else "\n" for line in row.splitlines())
    return source[: at.start()] + indented + source[at.start() :]


@pytest.mark.parametrize("guide", GUIDES, ids=lambda guide: guide.stem)
def test_a_guide_works_as_it_stands(guide: Path, tmp_path: Path) -> None:
    copy = tmp_path / "project"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    checks = 0
    for step in steps(guide.read_text("utf-8")):
        place = copy / step.place
        if step.what == "file":
            assert not place.exists(), "a guide adds files, it replaces none"
            place.write_text(step.code, "utf-8")
        elif step.what == "import":
            place.write_text(with_import(place.read_text("utf-8"), step.code), "utf-8")
        elif step.what == "row":
            place.write_text(with_row(place.read_text("utf-8"), step.code, guide.name), "utf-8")
        elif step.what == "check":
            checks += 1
            done = subprocess.run(
                [sys.executable, "-c", step.code], cwd=copy, capture_output=True, text=True, timeout=250
            )
            assert done.returncode == 0, done.stderr[-4000:]
        else:
            pytest.fail(f"{guide.name} has code of an unknown kind: {step.what}")
    assert checks, "the guide proves nothing"


def test_all_guides_are_there() -> None:
    assert {guide.name for guide in GUIDES} == {"add-a-family.md", "add-a-format.md", "add-a-method.md"}


def test_a_check_that_fails_fails() -> None:
    found = list(steps("text\n\n```python check\nassert False\n```\n\n```python row=a/b.py\nrow,\n```\n"))
    assert found == [Step("check", "", "assert False\n"), Step("row", "a/b.py", "row,\n")]
    assert with_row("rows = (\n    # More: docs/g.md\n)\n", "one,\ntwo,", "g.md").startswith(
        "rows = (\n    one,\n    two,\n    #"
    )

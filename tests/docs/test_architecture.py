"""What docs/ and README say of the rooms is so."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from scripts.rooms import PICTURE, drawn, imports, rooms, rows

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def test_the_picture_of_the_rooms_is_that_of_the_code() -> None:
    assert PICTURE.read_text("utf-8") == drawn(imports()), "draw it again: python -m scripts.rooms"


def test_a_circle_is_refused() -> None:
    with pytest.raises(ValueError, match="needs itself"):
        rows({"a": {"b"}, "b": {"c"}, "c": {"a"}})


def test_a_room_stands_above_what_it_needs() -> None:
    assert rows({"top": {"low", "mid"}, "mid": {"low"}, "low": set()}) == [["top"], ["mid"], ["low"]]


def test_each_room_is_described() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    for room in rooms():
        name = room.replace(".", "/") if room == "methods.catalog" else room
        assert re.search(rf"`({re.escape(name)}(\.py|/)?|catalog\.py)`", text), f"say what {room} is for"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_a_page_names_is_there(page: Path) -> None:
    text = page.read_text("utf-8")
    links = [link for link in re.findall(r"\]\(([^)#:]+)\)", text) if not link.startswith("http")]
    for link in links:
        assert (page.parent / link).exists(), f"{page.name} links to {link}"
    made_up = ("NAME", "photo", "word_", "value_norm", "report/words")
    for path in re.findall(r"`((?:[a-z_]+/)+[a-z_]*(?:\.\w+)?)`", text):
        if not any(part in path for part in made_up):
            assert (ROOT / path).exists(), f"{page.name} names {path}"


def test_readmes_python_runs_as_it_stands(tmp_path: Path) -> None:
    text = (ROOT / "README.md").read_text("utf-8").partition("## From Python")[2].partition("\n## ")[0]
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "demo").symlink_to(ROOT / "demo")
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n" + "\n".join(blocks)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert len(list((tmp_path / "outputs").glob("word_*.png"))) > 10
    assert (tmp_path / "outputs" / "grid" / "layer_grid.png").is_file()
    assert "Removing these 4 patches takes" in done.stdout
    assert "| word | with the picture |" in done.stdout

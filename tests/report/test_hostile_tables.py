"""A batch over names, questions and answers that were made to do harm where its tables are opened."""

import csv
from pathlib import Path

import pytest

from report.batch import Failure, no_formula, write_index, write_tables
from tests.viewer.payload.kit import EVIL, Parts

NAME = '"><img src=x onerror="alert(1)">\u202egnp.exe'


def test_the_index_is_text_whatever_was_asked_and_answered(tmp_path: Path) -> None:
    (tmp_path / "items" / "one").mkdir(parents=True)
    for file in ("overview.png", 'a"><script>alert(2)</script>.npz', "javascript:alert(3).html"):
        (tmp_path / "items" / "one" / file.replace("/", "_")).touch()
    answer = {"answer_text": EVIL, "on_image": 0.5}
    rows = [{"image": NAME, "prompt": EVIL, "answer": answer, "folder": "one"}]
    write_index(tmp_path, rows, [Failure(NAME, EVIL, EVIL, "two")])
    parts = Parts((tmp_path / "index.html").read_text("utf-8"))
    assert [attrs["src"] for tag, attrs, _ in parts.elements if tag == "img"] == ["items/one/overview.png"]
    assert not any(name.startswith("on") for _, attrs, _ in parts.elements for name in attrs)
    assert {tag for tag, *_ in parts.elements}.isdisjoint({"script", "iframe", "object", "base"})
    links = [str(attrs["href"]) for tag, attrs, _ in parts.elements if tag == "a"]
    assert all(link.startswith("items/one/") for link in links)
    assert parts.comments == []
    assert parts.texts("h2") == [NAME] * 2


@pytest.mark.parametrize(
    "text", ["=1+1", "=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "=HYPERLINK(1)"]
)
def test_a_text_that_a_spreadsheet_would_run_has_a_mark_before_it(tmp_path: Path, text: str) -> None:
    answer = {"answer_text": text, "tokens": -3, "logprob": -1.5}
    row = {"image": text, "prompt": text, "answer": answer, "seconds": 0.5, "folder": "one"}
    words = [{"word": 0, "text": text, "probability": 0.25}]
    write_tables(tmp_path, [{**row, "words": words}], [Failure(text, text, text, "two")])
    for table in ("answers", "words", "failed"):
        with (tmp_path / f"{table}.csv").open(newline="", encoding="utf-8") as file:
            (cells,) = csv.DictReader(file)
        assert not any(cell.startswith(("=", "+", "@", "\t", "\r")) for cell in cells.values())
        assert cells["image"] == f"'{text}"
    with (tmp_path / "answers.csv").open(newline="", encoding="utf-8") as file:
        (cells,) = csv.DictReader(file)
    assert (cells["tokens"], cells["logprob"]) == ("-3", "-1.5")


def test_other_cells_are_as_they_were() -> None:
    for value in ("", "-", "=", "+", "@", "-5", "+3.5", "a=b", "'=1", 3, -1.5, None, True, "é", " =1"):
        assert no_formula(value) is value

"""Evaluation: cOCO."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from evaluation.coco import NOT_NAMED, NOT_THERE, CocoFolder
from tests.evaluation.kit import bad_outline, instances, other_size, outside, text_capture


def test_a_coco_folder_gives_masks_for_the_words_of_its_things(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = CocoFolder(instances(tmp_path / "coco"), prompt="What is here?")
    assert len(folder) == 3  # a picture without annotations says nothing of what is there
    samples = {sample.group: sample for sample in folder.samples()}
    assert set(samples) == {"one.png", "two.png"}
    assert folder.skipped == {"pictures that are missing or cannot be read": 1}
    assert capsys.readouterr().out == ""
    one = samples["one.png"]
    assert (one.prompt, one.image.size) == ("What is here?", (120, 80))
    judged = one.judge(text_capture("The cats sit and a dog barks at a cat"))
    assert [word.tokens for word in judged.words] == [(1,), (9,)]
    expected = np.zeros((80, 120), dtype=bool)
    expected[10:20, 10:30] = expected[30:50, 60:80] = True
    for word in judged.words:
        np.testing.assert_array_equal(word.mask, expected)
    assert judged.functions == ((0,), (3,), (4,), (8,))
    assert judged.skipped == {NOT_THERE: 1, NOT_NAMED: 1}
    crowd = one.judge(text_capture("Many people")).words[0].mask
    assert crowd[50:70, 5:100].all()
    assert crowd.sum() == 20 * 95
    dog = samples["two.png"].judge(text_capture("A dog")).words[0].mask
    np.testing.assert_array_equal(dog, np.eye(60, 90, dtype=bool))


def test_a_limit_draws_pictures_by_the_seed(tmp_path: Path) -> None:
    folder = CocoFolder(instances(tmp_path / "coco"))
    drawn = [[sample.group for sample in folder.samples(1, seed)] for seed in range(12)]
    assert all(len(groups) == 1 for groups in drawn)
    assert {group for groups in drawn for group in groups} == {"one.png", "two.png"}
    assert drawn == [[sample.group for sample in folder.samples(1, seed)] for seed in range(12)]


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (bad_outline, "pictures whose outlines cannot be read"),
        (other_size, "pictures of another size than their annotations"),
        (outside, "pictures that are missing or cannot be read"),
    ],
)
def test_pictures_that_cannot_be_used_are_counted(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], reason: str
) -> None:
    folder = CocoFolder(instances(tmp_path / "coco", change))
    Image.new("RGB", (120, 80)).save(tmp_path / "secret.png")
    assert [sample.group for sample in folder.samples()] == ["two.png"]
    assert folder.skipped[reason] == 1 + (reason == "pictures that are missing or cannot be read")


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (
            {"instances_a.json": "{}", "annotations/instances_b.json": "{}"},
            "instances_a.json, instances_b.json",
        ),
        ({"other.json": "{}"}, r"expected one instances\*.json in .*found none"),
        ({"instances.json": "[1"}, "instances.json is not instances in COCO's format"),
        ({"instances.json": "[]"}, "instances.json is not instances in COCO's format"),
        ({"instances.json": '{"images": [{"id": 1}]}'}, "COCO's format|no picture with annotated things"),
    ],
)
def test_a_folder_that_is_not_in_coco_format_is_refused(
    tmp_path: Path, files: dict[str, str], message: str
) -> None:
    (tmp_path / "annotations").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=message):
        CocoFolder(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is not a folder"):
        CocoFolder(tmp_path / "none")


def test_the_annotations_can_be_named(tmp_path: Path) -> None:
    folder = instances(tmp_path / "coco")
    other = tmp_path / "instances_val.json"
    other.write_bytes((folder / "annotations" / "instances_val.json").read_bytes())
    (folder / "instances_b.json").write_text("{}")
    assert len(CocoFolder(folder, other)) == 3
    with pytest.raises(ValueError, match="No such file"):
        CocoFolder(folder, tmp_path / "none.json")

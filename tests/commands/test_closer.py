"""The shell: a closer look."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import commands.run.answers
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from cli import main
from closer_look import look_closer
from records.capture import Capture
from records.pictures import open_image
from records.store import Store
from records.window import window_of
from tests.clips import write_clip
from tests.commands.kit import PROMPT, TOKENS, names, pixels

BOX = (30, 20, 90, 80)
DRAWN = {f"token_{token:03d}.png" for token in range(TOKENS)} | {"original.png", "overview.png", "maps.npz"}


def whole_map(capture: Capture, visual: int = 0) -> np.ndarray:
    return AttentionProcessor(capture).get_attention_heatmap_for_token(range(TOKENS), visual=visual)


@pytest.fixture
def closer(loaded: tuple[Any, Any], reference: Capture) -> Callable[[Any], Capture]:
    """A closer look at the reference, asked in Python."""
    return lambda box: look_closer(AttentionExtractor(*loaded), reference, box)


def test_the_part_that_stands_out_is_asked_about(
    run: Callable[..., int], picture: Path, out: Path, reference: Capture, closer: Any, capsys: Any
) -> None:
    assert run("--closer") == 0
    told, box = capsys.readouterr(), window_of(whole_map(reference), (112, 168))
    expected = closer(box)
    typed = ",".join(map(str, box))
    assert told.out == (
        f"{reference.text}\nCloser look at {typed}: {expected.text}\n"
        "The crop shows no more detail: the model had seen the picture in as many pixels.\n"
    )
    assert names(out) == DRAWN | {"answer.txt", "closer"}
    assert names(out / "closer") == {"answer.txt", "picture_1", "picture_2"}
    assert (out / "closer" / "answer.txt").read_text("utf-8") == expected.text + "\n"
    left, top, right, bottom = box
    part = np.asarray(open_image(picture))[top:bottom, left:right]
    np.testing.assert_array_equal(pixels(out / "closer" / "picture_2" / "original.png"), part)
    for number in (0, 1):
        folder = out / "closer" / f"picture_{number + 1}"
        assert names(folder) == DRAWN
        with np.load(folder / "maps.npz") as made:
            own = [
                AttentionProcessor(expected).get_attention_heatmap_for_token(token, visual=number)
                for token in range(TOKENS)
            ]
            np.testing.assert_allclose(made["maps"], np.stack(own), rtol=1e-5)
    assert f"picture 2 of 2, a part of {picture}: " in told.err
    assert told.err.splitlines()[-1] == f"Wrote {len(DRAWN) * 3 + 2} files to {out}"


def test_the_part_of_a_word_and_a_part_by_hand(
    run: Callable[..., int], reference: Capture, closer: Any, capsys: Any
) -> None:
    heat = AttentionProcessor(reference).get_attention_heatmap_for_token(2)
    box = window_of(heat, (112, 168))
    for given, expected in (("--closer", box), ("--crop", BOX)):
        assert run(given, "2" if given == "--closer" else ",".join(map(str, BOX)), "--tokens", "2") == 0
        typed = ",".join(map(str, expected))
        assert f"Closer look at {typed}: {closer(expected).text}\n" in capsys.readouterr().out


def test_a_box_beyond_the_picture_is_cut_and_said(run: Callable[..., int], capsys: Any) -> None:
    assert run("--crop", "-9,20.5,90,400", "--tokens", "1") == 0
    told = capsys.readouterr()
    assert "note: the part is 0,20,90,112, in whole pixels within the picture" in told.err
    assert "Closer look at 0,20,90,112: " in told.out


def test_both_answers_are_kept(run: Callable[..., int], answers: list[str], capsys: Any) -> None:
    crop = ("--crop", "30,20,90,80", "--tokens", "1")
    assert run(*crop) == 0
    first = capsys.readouterr().out
    assert len(answers) == 2
    assert run(*crop) == 0
    assert capsys.readouterr().out == first
    assert len(answers) == 2
    kept = [Store().open(entry.id).capture.crop for entry in Store().recent()]
    assert [part.box for part in kept if part is not None] == [BOX]
    assert len(kept) == 2


def test_a_large_picture_gains(
    run: Callable[..., int], picture: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    """Of 224 x 336 pixels 112 x 168 are seen; of a crop of 84 x 84 all: twice the detail."""
    with Image.open(picture) as image:
        image.resize((336, 224)).save(picture)
    monkeypatch.setattr(loaded[1].image_processor, "size", {"shortest_edge": 3136, "longest_edge": 18816})
    assert run("--crop", "100,50,184,134", "--tokens", "1", "--no-cache") == 0
    assert capsys.readouterr().out.endswith("The crop shows 2.0 times the detail, along each side.\n")


def test_an_earlier_runs_closer_look_goes_with_it(run: Callable[..., int], out: Path) -> None:
    assert run("--crop", "30,20,90,80", "--tokens", "words") == 0
    (out / "closer" / "picture_1" / "mine.txt").write_text("kept")
    assert run("--tokens", "1") == 0
    assert names(out) == {
        *("token_001.png", "original.png", "overview.png", "maps.npz", "answer.txt"),
        "closer",
    }
    assert names(out / "closer") == {"picture_1"}
    (out / "closer" / "picture_1" / "mine.txt").unlink()
    (out / "closer" / "picture_1").rmdir()
    assert run("--crop", "30,20,90,80", "--tokens", "words") == 0
    assert run("--tokens", "1") == 0
    assert "closer" not in names(out)


def test_of_several_pictures_the_one_with_most_of_the_map_or_the_one_named(
    run: Callable[..., int], picture: Path, out: Path, loaded: Any, tmp_path: Path, capsys: Any
) -> None:
    other = tmp_path / "other.png"
    values = np.random.default_rng(8).integers(0, 256, (84, 140, 3), dtype=np.uint8)
    Image.fromarray(values).save(other)
    given = ["attention", str(picture), str(other), "--prompt", "Is <image> like <image>?"]
    given += ["--max-new-tokens", str(TOKENS), "--output", str(out), "--tokens", "1"]
    images = [open_image(picture), open_image(other)]
    first = AttentionExtractor(*loaded).generate(images, "Is <image> like <image>?", max_new_tokens=TOKENS)
    most = int(np.argmax(AttentionProcessor(first).visual_shares(range(TOKENS))))
    for which, more in ((most, []), (1 - most, ["--which", str(2 - most)])):
        assert main([*given, "--closer", *more]) == 0
        heat = whole_map(first, which)
        typed = ",".join(map(str, window_of(heat, first.visuals[which].size)))
        assert f"\nCloser look at picture {which + 1} of 2, {typed}: " in capsys.readouterr().out
        folders = {f"picture_{number}" for number in (1, 2, 3)}
        assert names(out / "closer") == {"answer.txt", *folders}
    assert main([*given, "--crop", "0,0,60,60"]) == 2
    assert "say by --which of the pictures --crop is a part" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["--crop", "1,2,3"], "argument --crop: '1,2,3' is no box: left, top, right and bottom in pixels"),
        (["--crop", "0,0,nan,50"], "argument --crop: '0,0,nan,50' is no box"),
        (["--crop", "168,0,300,50"], "the crop lies outside of the picture, which has 168 × 112 pixels"),
        (["--crop", "0,0,20,50"], "the crop is too small, 20 × 50 pixels; each side needs at least 28"),
        (["--crop", "0,0,50,50", "--closer"], "choose the part by --closer or by --crop, not both"),
        (["--closer", "--which", "2"], "there is no picture 2: 1 were named"),
        (["--which", "1"], "--which belongs to --closer and --crop"),
    ],
)
def test_what_cannot_be_is_refused_before_a_model_is_loaded(
    run: Callable[..., int], out: Path, monkeypatch: Any, capsys: Any, given: list[str], line: str
) -> None:
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: pytest.fail("it was loaded"))
    assert run(*given) == 2
    assert capsys.readouterr().err.startswith(f"error: {line}")
    assert names(out) == set()


def test_a_clip_is_refused_and_a_word_that_was_not_said(
    run: Callable[..., int], picture: Path, out: Path, tmp_path: Path, capsys: Any
) -> None:
    moving = tmp_path / "clip.mp4"
    write_clip(moving)
    assert main(["attention", str(moving), "--prompt", PROMPT, "--closer", "--output", str(out)]) == 2
    assert capsys.readouterr().err == "error: a closer look is at a picture, and this is a clip\n"
    given = ["attention", str(picture), "--prompt", PROMPT, "--output", str(out)]
    assert main([*given, "--closer", "--answer", "A dog."]) == 2
    assert "--closer and --crop ask again, and --answer generates nothing" in capsys.readouterr().err
    assert run("--closer", "zebra") == 2
    assert re.search("error: the answer does not say 'zebra'", capsys.readouterr().err)
    assert names(out) == set()

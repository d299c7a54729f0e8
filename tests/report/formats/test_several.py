"""Files to take away: answers about several pictures and about clips."""

import io
import json
import re
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image
from pypdf import PdfReader

import visualization
from attention_processor import AttentionProcessor
from drawing.colour_bar import number_labels
from drawing.outline import whole_of
from records.capture import Capture
from records.look import Look
from report import animation
from report.formats import FORMATS, export, shows_one_map
from report.parts import labelled, parts_of, pictures_of, sheet
from report.places import all_of, place_of, whole_place_of
from report.shots import moments
from report.view import drawings, facts, whole_drawing
from tests.about import answer_about, made_clip, made_picture
from tests.attention_processor.kit import PROMPT_TOKENS, TOKENS, text_rows
from tests.report.formats.kit import ALL, WORDS, difference, frames_of, of, texts_of

TIMES = (0.0, 0.4, 1.0, 1.5, 2.0)  # three steps, of which the last has one frame; it ends at 2.5
PAIR, OF_CLIP = [(1, 3, 4), (1, 5, 2)], (3, 2, 3)
CAT = replace(ALL, tokens=(2,), by="token")


@pytest.fixture(scope="module")
def pair() -> Capture:
    return answer_about([made_picture((3, 4), 1), made_picture((5, 2), 2)], PAIR)


@pytest.fixture(scope="module")
def clip() -> Capture:
    return answer_about([made_clip(TIMES)], [OF_CLIP])


@pytest.fixture(scope="module")
def mixed() -> Capture:
    return answer_about([made_picture((3, 4), 1), made_clip(TIMES)], [PAIR[0], OF_CLIP])


def rows_of(capture: Capture, tokens: Sequence[int]) -> np.ndarray:
    """Return the mean over tokens, layers and heads (patch,)."""
    return capture.attention[list(tokens)].double().mean((0, 1, 2)).numpy()


def parts_by_hand(capture: Capture, values: np.ndarray) -> list[np.ndarray]:
    """Return the map (h, w) of each picture and step."""
    found, at = [], 0
    for visual in capture.visuals:
        t, h, w = visual.grid
        for _ in range(t):
            found.append(values[at : at + h * w].reshape(h, w))
            at += h * w
    return found


# --- Names ---


def test_places_are_numbered_and_clips_have_their_times(pair: Capture, clip: Capture, mixed: Capture) -> None:
    assert place_of(pair.visuals, 1, 0) == "picture 2 of 2"
    assert place_of(clip.visuals, 0, 1) == "the clip at 1.25 s"
    assert place_of(mixed.visuals, 1, 2) == "clip 2 of 2 at 2.00 s"
    assert whole_place_of(mixed.visuals, 1) == "clip 2 of 2"
    assert [all_of(one.visuals) for one in (pair, clip, mixed)] == [
        "all pictures",
        "the clip",
        "all pictures and clips",
    ]
    labels = [[one.label for one in parts_of(of(each, ALL), each.pictures)] for each in (pair, clip, mixed)]
    assert labels == [
        ["picture 1", "picture 2"],
        ["0.20 s", "1.25 s", "2.00 s"],
        ["picture 1", "clip 2, 0.20 s", "clip 2, 1.25 s", "clip 2, 2.00 s"],
    ]
    said = facts(of(mixed, ALL))["Pictures"]
    assert said == (
        "picture 1: 112 × 84 pixels, 4 × 3 visual tokens; clip 2: clip.mp4, 168 × 112 pixels, "
        "3 steps from 0.20 s to 2.00 s, 3 × 2 visual tokens each"
    )


def test_a_step_is_shown_by_its_first_frame(mixed: Capture) -> None:
    parts = parts_of(of(mixed, ALL), mixed.pictures)
    frames: Any = mixed.pictures[1]
    for part, frame in zip(parts[1:], (0, 2, 4), strict=True):
        np.testing.assert_array_equal(np.asarray(part.image), frames.frames[frame])


@pytest.mark.parametrize("name", ["pair", "clip", "mixed"])
def test_labels_and_maps_are_the_parts_of_the_whole(name: str, request: Any) -> None:
    capture: Capture = request.getfixturevalue(name)
    subject = of(capture, replace(ALL, tokens=(2, 3)))
    expected = parts_by_hand(capture, rows_of(capture, (2, 3)))
    for part, values in zip(parts_of(subject, capture.pictures), expected, strict=True):
        one = whole_drawing(part.subject)
        np.testing.assert_allclose(one.values, values, rtol=1e-5)
        assert one.on_image == pytest.approx(values.sum(), rel=1e-5)
        label, share = labelled(part, one).split(" · ")
        assert label == part.label
        assert float(share.split()[0]) == pytest.approx(100 * values.sum(), abs=0.051)
    assert one.whole is not None
    whole = rows_of(capture, (2, 3))
    assert one.whole.highest == pytest.approx(whole.max())
    assert one.whole.mass == pytest.approx(whole.sum())


# --- Pictures ---


def test_a_picture_without_attention_stays_as_it_is(tmp_path: Path) -> None:
    blue = np.zeros((140, 56, 3), np.uint8)
    blue[..., 2] = np.random.default_rng(0).integers(60, 255, (140, 56))
    shown = [made_picture((3, 4), 1), Image.fromarray(blue)]
    whole = answer_about(shown, PAIR)
    attention, shares = whole.attention.clone(), whole.shares.clone()
    attention[..., 12:] = 0
    shares[..., 0] = attention.sum(-1)
    shares[..., 1] = 1 - shares[..., 0] - shares[..., 2]
    text = text_rows(shares, len(whole.context_tokens))
    capture = replace(whole, attention=attention, shares=shares, text_attention=text)
    subject = of(capture, replace(CAT, look=Look("glow")))
    boxes = sheet(subject, parts_of(subject, capture.pictures)).info["boxes"]
    with Image.open(export("png", subject, None, tmp_path).path) as file:
        drawn = file.convert("RGB")
    first, second = (np.asarray(drawn.crop(box)) for box in boxes)
    np.testing.assert_array_equal(second, np.asarray(visualization.fitted(shown[1], 640, 640)))
    values = rows_of(capture, (2,))
    look = Look("glow", whole=whole_of(values))
    expected = visualization.overlay(
        visualization.fitted(shown[0], 640, 640), values[:12].reshape(3, 4), look
    )
    assert np.abs(first.astype(int) - np.asarray(expected)).max() <= 1
    assert (first != np.asarray(visualization.fitted(shown[0], 640, 640))).any()


@pytest.mark.parametrize("colormap", ["glow", "viridis"])
def test_a_contact_sheet_has_every_step_by_one_measure(clip: Capture, colormap: str, tmp_path: Path) -> None:
    subject = of(clip, replace(CAT, look=Look(colormap)))
    found = sheet(subject, parts_of(subject, clip.pictures))
    with Image.open(export("png", subject, None, tmp_path).path) as file:
        drawn = file.convert("RGB")
        assert "clip.mp4" in file.text["Clip"]  # type: ignore[attr-defined]
    values, frames = rows_of(clip, (2,)), clip.pictures[0]
    ends: Any = {"vmin": values.min(), "vmax": values.max()}
    look = Look(colormap, **({"whole": whole_of(values)} if colormap == "glow" else ends))
    assert len(found.info["boxes"]) == 3
    for step, (box, part) in enumerate(zip(found.info["boxes"], parts_by_hand(clip, values), strict=True)):
        picture = visualization.fitted(frames.picture(2 * step), 640, 640)  # type: ignore[union-attr]
        expected = visualization.overlay(picture, part, look)
        assert np.abs(np.asarray(drawn.crop(box), int) - np.asarray(expected)).max() <= 1


def test_pictures_that_were_left_out_as_sinks_are_crossed_where_they_are(pair: Capture) -> None:
    subject = of(pair, CAT)
    assert subject.maps.answer is not None
    maps = subject.maps._replace(answer=replace(subject.maps.answer, removed=(2, 13), settings={"sinks": []}))
    crossed = [
        whole_drawing(one.subject).crossed for one in parts_of(replace(subject, maps=maps), pair.pictures)
    ]
    assert crossed == [(2,), (1,)]


def test_an_archive_has_a_folder_for_each_picture_and_step(mixed: Capture, tmp_path: Path) -> None:
    made = export("zip", of(mixed, replace(ALL, tokens=(1, 2))), None, tmp_path)
    with zipfile.ZipFile(made.path) as packed:
        told = json.loads(packed.read("about.json"))
        names = [name for name in packed.namelist() if name.endswith(".png")]
        sizes = {}
        for name in names:
            with Image.open(io.BytesIO(packed.read(name))) as picture:
                sizes[name] = picture.text["Place"]  # type: ignore[attr-defined]
    folders = ["picture_1", *(f"clip_2/step_{step:03d}" for step in range(3))]
    assert [name.rsplit("/", 1)[0] for name in names] == [one for one in folders for _ in range(2)]
    assert [one["file"] for one in told["pictures"]] == names
    for number, one in enumerate(told["pictures"]):
        values = parts_by_hand(mixed, rows_of(mixed, (1 + number % 2,)))[number // 2]
        assert one["on_image"] == pytest.approx(values.sum(), rel=1e-5)
        assert one["place"] == sizes[one["file"]]
        assert one["text"] == WORDS[1 + number % 2]


# --- Animations ---


def durations(path: Path) -> list[float]:
    """Return how long each frame is shown, in seconds."""
    if path.suffix == ".gif":
        with Image.open(path) as file:
            found = []
            for frame in range(file.n_frames):  # type: ignore[attr-defined]
                file.seek(frame)
                found.append(file.info["duration"] / 1000)
            return found
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        starts = [float(frame.time or 0) for frame in container.decode(video=0)]
        assert stream.duration is not None
        assert stream.time_base is not None
        return np.diff([*starts, float(stream.duration * stream.time_base)]).tolist()


@pytest.mark.parametrize("kind", ["gif", "mp4"])
@pytest.mark.parametrize("name", ["clip", "mixed"])
def test_a_clip_moves_under_its_map_in_its_own_time(
    kind: str, name: str, request: Any, tmp_path: Path
) -> None:
    capture: Capture = request.getfixturevalue(name)
    made = export(kind, of(capture, replace(CAT, look=Look("viridis", 0.5))), None, tmp_path)
    assert durations(made.path) == pytest.approx([0.4, 0.6, 0.5, 0.5, 0.5], abs=0.002)
    frames = frames_of(made.path)
    values, shown = rows_of(capture, (2,)), capture.pictures[-1]
    look = Look("viridis", 0.5, vmin=values.min(), vmax=values.max())
    steps = parts_by_hand(capture, values)[-3:]
    side = 512 if name == "clip" else 444
    expected = [
        visualization.overlay(visualization.fitted(shown.picture(frame), side, side), steps[frame // 2], look)  # type: ignore[union-attr]
        for frame in range(5)
    ]
    top = next(y for y in range(100) if (np.asarray(frames[0], int)[y, -40:-20] < 200).all())
    right = frames[0].width - 12
    box = (right - expected[0].width, top, right, top + expected[0].height)
    for number, frame in enumerate(frames):
        assert frame.size == frames[0].size
        assert (frame.width % 2, frame.height % 2) == (0, 0)
        far = [difference(frame.crop(box), one) for one in expected]
        assert far[number] == min(far)
        assert far[number] < 12


@pytest.mark.parametrize("kind", ["gif", "mp4"])
def test_several_pictures_stand_side_by_side_word_after_word(
    pair: Capture, kind: str, tmp_path: Path
) -> None:
    look = Look("viridis", 0.5)
    made = export(kind, of(pair, replace(ALL, look=look)), None, tmp_path)
    assert durations(made.path) == pytest.approx([0.5] * len(WORDS), abs=0.002)
    frames = frames_of(made.path)
    assert max(frames[0].size) <= animation.FRAME_SIDE
    processor = AttentionProcessor(pair)
    first = []
    for word in processor.words():
        values = rows_of(pair, word.tokens)
        own = replace(look, vmin=values.min(), vmax=values.max())
        picture = visualization.fitted(pair.pictures[0], 444, 444)  # type: ignore[arg-type]
        first.append(visualization.overlay(picture, values[:12].reshape(3, 4), own))
    top = next(y for y in range(100) if (np.asarray(frames[0], int)[y, 20:40] < 200).all())
    box = (12, top, 12 + first[0].width, top + first[0].height)
    for number, frame in enumerate(frames):
        far = [difference(frame.crop(box), one) for one in first]
        assert far[number] == min(far)


def test_of_a_long_clip_some_frames_are_shown_for_as_long_as_it_lasts(
    clip: Capture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(animation, "MAX_FRAMES", 2)
    for kind in ("gif", "mp4"):
        made = export(kind, of(clip, CAT), None, tmp_path)
        assert durations(made.path) == pytest.approx([1.0, 1.5], abs=0.002)  # the frames at 0 and 1 s
        assert made.notes == ("The animation shows 2 of 5 frames, in even steps.",)


def test_clips_run_together_and_the_longest_ends_them() -> None:
    one, other = made_clip((0.0, 0.5)), made_clip((0.0, 0.25, 2.0))
    assert moments((one, made_picture((2, 2)), other)) == (
        [Fraction(0), Fraction(1, 4), Fraction(1, 2), Fraction(2)],
        Fraction(5, 2),
    )
    short = replace(one, duration=0.3)  # less than its frames' times
    assert moments((short,)) == ([Fraction(0), Fraction(1, 2)], Fraction(1))


def test_a_clip_moves_under_the_map_of_what_is_picked(pair: Capture, mixed: Capture) -> None:
    assert [kind for kind in FORMATS if shows_one_map(kind, pair)] == ["png", "html"]
    assert [kind for kind in FORMATS if shows_one_map(kind, mixed)] == ["png", "gif", "mp4", "html"]


# --- Documents and numbers ---


@pytest.mark.parametrize("name", ["pair", "clip", "mixed"])
def test_a_document_has_each_words_share_on_every_picture(name: str, request: Any, tmp_path: Path) -> None:
    capture: Capture = request.getfixturevalue(name)
    path = export("pdf", of(capture, ALL), None, tmp_path).path
    (text,) = texts_of(path)
    text = "".join(text.split())
    for word in AttentionProcessor(capture).words():
        rows = rows_of(capture, word.tokens)
        parts = parts_of(of(capture, ALL), capture.pictures)
        for part, values in zip(parts, parts_by_hand(capture, rows), strict=True):
            near = {number_labels([float(values.sum()) + off])[0] for off in (-1e-6, 0, 1e-6)}
            assert any("".join(f"{part.label}·{share}".split()) in text for share in near)
    images = [len(page.images) for page in PdfReader(path).pages]
    assert sum(images) == 1 + len(WORDS)


def test_a_document_shows_some_steps_of_a_long_clip(tmp_path: Path) -> None:
    long = answer_about([made_clip([number / 2 for number in range(20)])], [(10, 2, 3)])
    made = export("pdf", of(long, CAT), None, tmp_path)
    assert made.notes == ("The document shows 8 of 10 steps of clip.mp4.",)
    text = "".join(texts_of(made.path)[0].split())
    assert "".join(made.notes[0].split()) in text
    assert [f"{step + 0.25:.2f}s·" in text for step in range(10)].count(True) == 8
    assert "0.25s·" in text
    assert "9.25s·" in text


def test_numbers_of_several_have_arrays_for_each(mixed: Capture, tmp_path: Path) -> None:
    with np.load(export("npz", of(mixed, replace(ALL, layers=(0, 5))), None, tmp_path).path) as file:
        made = dict(file)
    axes = json.loads(str(made["axes"]))
    sizes: dict[str, int] = {"token": TOKENS, "picture": 2, "t_2": 3, "h_2": 2, "w_2": 3, "h_1": 3, "w_1": 4}
    for name, named in axes.items():
        assert len(named) == made[name].ndim, name
        for axis, size in zip(named, made[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)
    rows = mixed.attention[:, [0, 2]].double().mean((1, 2)).numpy()  # (token, patch), of layers 0 and 5
    np.testing.assert_allclose(made["maps_1"], rows[:, :12].reshape(TOKENS, 3, 4), rtol=1e-5)
    np.testing.assert_allclose(made["maps_2"], rows[:, 12:].reshape(TOKENS, *OF_CLIP), rtol=1e-5)
    words = AttentionProcessor(mixed).words()
    means = np.stack([rows[list(word.tokens)].mean(0) for word in words])
    np.testing.assert_allclose(made["word_maps_2"], means[:, 12:].reshape(-1, *OF_CLIP), rtol=1e-5)
    asked = mixed.prompt_attention[:, [0, 2]].double().mean((1, 2)).numpy()
    assert made["prompt_word_maps_1"].shape == (PROMPT_TOKENS, 3, 4)
    np.testing.assert_allclose(made["prompt_word_maps_1"][1], asked[1, :12].reshape(3, 4), rtol=1e-5)
    np.testing.assert_allclose(made["picture_shares"][:, 0], rows[:, :12].sum(1), rtol=1e-5)
    steps = rows[:, 12:].reshape(TOKENS, 3, -1).sum(2)
    np.testing.assert_allclose(made["step_shares_2"], steps, rtol=1e-5)
    np.testing.assert_allclose(made["picture_shares"][:, 1], steps.sum(1), rtol=1e-5)
    assert made["times_2"].tolist() == [0.2, 1.25, 2.0]
    assert made["grids"].tolist() == [[1, 3, 4], [3, 2, 3]]
    assert made["image_sizes"].tolist() == [[84, 112], [112, 168]]
    assert made["image_hashes"].tolist() == [one.hash for one in mixed.visuals]
    assert made["kinds"].tolist() == ["image", "video"]
    assert {"maps", "grid", "image_hash"}.isdisjoint(made)


# --- What is given ---


def test_pictures_are_the_answers_own_or_those_given(mixed: Capture) -> None:
    alone = replace(mixed, pictures=())
    assert pictures_of(mixed, None) == mixed.pictures
    assert pictures_of(alone, list(mixed.pictures)) == mixed.pictures
    for given in (None, mixed.pictures[0], mixed.pictures[:1]):
        with pytest.raises(ValueError, match=r"the answer is about 2 pictures; [01] were given"):
            pictures_of(alone, given)


@pytest.mark.parametrize("name", ["pair", "clip"])
def test_the_interactive_page_has_every_picture_and_step(name: str, request: Any, tmp_path: Path) -> None:
    capture = request.getfixturevalue(name)
    page = export("html", of(capture, ALL), None, tmp_path).path.read_text("utf-8")
    held = re.search(r'<script type="application/json" id="payload">(.*?)</script>', page)
    assert held is not None
    data = json.loads(held[1])
    assert [tuple(one["grid"]) for one in data["visuals"]] == [one.grid for one in capture.visuals]
    assert len(data["pictures"]) == sum(one.grid[0] for one in capture.visuals)
    assert data["answer"]["text"] == capture.text


@pytest.mark.parametrize("kind", list(FORMATS))
def test_words_of_the_prompt_can_be_taken_away_too(kind: str, mixed: Capture, tmp_path: Path) -> None:
    asked = replace(ALL, of_prompt=True, tokens=(1,))
    made = export(kind, of(mixed, asked), None, tmp_path)
    assert made.path.name.endswith(f"-prompt-word-001{made.path.suffix}")
    (one,) = drawings(of(mixed, asked))
    np.testing.assert_allclose(
        one.values, mixed.prompt_attention[1, ..., :12].double().mean((0, 1)).view(3, 4)
    )

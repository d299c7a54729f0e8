"""The shell: what is written."""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import config
from attention_processor import AttentionProcessor
from cli import main
from commands.files import DRAWN_NAME, earlier_pictures
from drawing import fonts
from records.capture import Capture
from records.look import Look
from records.pictures import open_image
from tests.commands.kit import HEADS, PROMPT, TOKENS, arrays, left_behind, names, pixels
from visualization import fitted, shared_look, shared_range, visualize_attention_on_image


def test_files_equal_the_same_calls_in_python(
    checkpoint: Path,
    picture: Path,
    out: Path,
    reference: Capture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = [
        "--model",
        str(checkpoint),
        "--layers",
        "0,-1",
        "--heads",
        "1-3",
        "--max-new-tokens",
        str(TOKENS),
    ]
    code = main(["attention", str(picture), "--prompt", PROMPT, "--output", str(out), *given])
    told = capsys.readouterr()
    assert code == 0
    assert told.out == reference.text + "\n"
    assert told.err.splitlines()[-1] == f"Wrote {TOKENS + 4} files to {out}"
    assert "Answer: 100%" in told.err
    assert "Pictures: 100%" in told.err
    tokens = [f"token_{token:03d}.png" for token in range(TOKENS)]
    assert names(out) == {*tokens, "original.png", "overview.png", "answer.txt", "maps.npz"}
    assert (out / "answer.txt").read_text(encoding="utf-8") == reference.text + "\n"

    processor, made = AttentionProcessor(reference), arrays(out)
    assert made["maps"].shape == (TOKENS, 4, 6)
    assert made["maps"].dtype == np.float32
    for token in range(TOKENS):
        expected = processor.get_attention_heatmap_for_token(token, [0, 2], [1, 2, 3], "mean")
        np.testing.assert_array_equal(made["maps"][token], expected)
        np.testing.assert_array_equal(made["shares"][token], processor.shares(token, [0, 2], [1, 2, 3]))
    assert made["token_positions"].tolist() == list(range(TOKENS))
    assert made["token_ids"].tolist() == list(reference.token_ids)
    assert made["tokens"].tolist() == list(reference.tokens)
    np.testing.assert_allclose(made["logprobs"], reference.logprobs.numpy(), atol=1e-6)
    assert (made["layers"].tolist(), made["heads"].tolist()) == ([0, 2], [1, 2, 3])
    assert (made["grid"].tolist(), made["image_size"].tolist()) == ([4, 6], [112, 168])
    facts = [str(made[name]) for name in ("prompt", "answer", "model", "aggregation", "image_hash")]
    assert facts == [PROMPT, reference.text, str(checkpoint), "mean", reference.image_hash]
    assert json.loads(str(made["axes"]))["maps"] == ["token", "h", "w"]
    assert json.loads(str(made["settings"]))["generation"]["max_new_tokens"] == TOKENS

    original = open_image(picture)
    np.testing.assert_array_equal(pixels(out / "original.png"), np.asarray(original))
    with Image.open(out / "token_002.png") as drawn:
        expected_picture = visualize_attention_on_image(
            original, made["maps"][2], min_side=640, title=" ", subtitle=" "
        )
        assert drawn.size == expected_picture.size
        box = expected_picture.info["picture_box"]
        assert (box[2] - box[0], box[3] - box[1]) == (640, 427)
        np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected_picture.crop(box)))


def test_every_named_axis_is_there(run: Callable[..., int], out: Path) -> None:
    assert run("--tokens", "words", "--prompt-words", "--layers", "1-2") == 0
    made = arrays(out)
    sizes: dict[str, int] = {"h": 4, "w": 6, "part": 3, "layer": 2, "head": HEADS, "token": TOKENS}
    for name, axes in json.loads(str(made["axes"])).items():
        assert len(axes) == made[name].ndim, name
        for axis, size in zip(axes, made[name].shape, strict=True):
            assert sizes.setdefault(axis, size) == size, (name, axis)


def test_words_and_the_words_of_the_prompt(run: Callable[..., int], out: Path, reference: Capture) -> None:
    assert run("--tokens", "words", "--prompt-words", "--aggregation", "max") == 0
    processor, made = AttentionProcessor(reference), arrays(out)
    words, asked = processor.words(), processor.prompt_words()
    drawn = {f"word_{i:03d}.png" for i in range(len(words))} | {
        f"prompt_word_{i:03d}.png" for i in range(len(asked))
    }
    assert names(out) == drawn | {"original.png", "overview.png", "answer.txt", "maps.npz"}
    assert made["words"].tolist() == [word.text for word in words]
    assert made["prompt_words"].tolist() == [word.text for word in asked]
    for index, word in enumerate(words):
        expected = processor.get_attention_heatmap_for_token(word.tokens, aggregation="max")
        np.testing.assert_array_equal(made["word_maps"][index], expected)
        assert [token for token in made["word_tokens"][index] if token >= 0] == list(word.tokens)
    for index, word in enumerate(asked):
        expected = processor.get_attention_heatmap_for_prompt_token(word.tokens, aggregation="max")
        np.testing.assert_array_equal(made["prompt_word_maps"][index], expected)
    assert made["maps"].shape == (TOKENS, 4, 6)


@pytest.mark.parametrize(
    ("given", "chosen"), [("3", [3]), ("2-5", [2, 3, 4, 5]), ("4,1", [1, 4]), ("1-2,2-3", [1, 2, 3])]
)
def test_tokens_are_chosen_by_number(
    run: Callable[..., int], out: Path, given: str, chosen: list[int]
) -> None:
    assert run("--tokens", given) == 0
    assert {name for name in names(out) if name.startswith("token")} == {f"token_{t:03d}.png" for t in chosen}
    assert arrays(out)["token_positions"].tolist() == chosen


@pytest.mark.parametrize("scale", ["own", "shared"])
def test_scale_and_look(run: Callable[..., int], out: Path, picture: Path, scale: str) -> None:
    look = ("--colormap", "jet", "--alpha", "0.3", "--smooth", "--view", "side-by-side")
    assert run("--tokens", "1,5", "--scale", scale, *look) == 0
    maps = arrays(out)["maps"]
    low, high = shared_range(maps) if scale == "shared" else (None, None)
    expected = visualize_attention_on_image(
        fitted(open_image(picture), 640),
        maps[1],
        "jet",
        0.3,
        "side by side",
        True,
        low,
        high,
        title=" ",
        subtitle=" ",
    )
    with Image.open(out / "token_005.png") as drawn:
        for name in ("picture_box", "original_box", "bar_box"):
            box = expected.info[name]
            np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected.crop(box)))
    drawing = json.loads(str(arrays(out)["settings"]))["drawing"]
    assert (drawing["scale"], drawing["vmin"], drawing["vmax"]) == (scale, low, high)
    assert (drawing["colormap"], drawing["alpha"], drawing["smooth"]) == ("jet", 0.3, True)


@pytest.mark.parametrize(
    ("said", "look"),
    [
        ((), Look()),
        (("--no-smooth", "--view", "spotlight"), Look(view="spotlight", smooth=False)),
        (("--alpha", "0.4"), Look("viridis", 0.4)),
        (("--colormap", "glow", "--alpha", "0.4", "--scale", "shared"), Look("glow", 0.4)),
    ],
)
def test_glow_unless_a_colour_map_or_a_transparency_is_named(
    run: Callable[..., int], out: Path, picture: Path, said: tuple[str, ...], look: Look
) -> None:
    assert run("--tokens", "1,5", *said) == 0
    maps = arrays(out)["maps"]
    look = shared_look(look, maps) if "shared" in said else look
    image = fitted(open_image(picture), 640)
    expected = visualize_attention_on_image(image, maps[1], **asdict(look), title=" ", subtitle=" ")
    with Image.open(out / "token_005.png") as drawn:
        for name in ("picture_box", "bar_box"):
            box = expected.info[name]
            np.testing.assert_array_equal(np.asarray(drawn.crop(box)), np.asarray(expected.crop(box)))
    drawing = json.loads(str(arrays(out)["settings"]))["drawing"]
    assert (drawing["colormap"], drawing["alpha"], drawing["vmax"]) == (look.colormap, look.alpha, look.vmax)


def test_config_gives_the_defaults(
    run: Callable[..., int], out: Path, reference: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "EXTRACT_ALL_LAYERS", False)
    monkeypatch.setattr(config, "SPECIFIC_LAYERS", [-2])
    monkeypatch.setattr(config, "AGGREGATION", "min")
    monkeypatch.setattr(config, "HEATMAP_COLORMAP", "magma")
    assert run() == 0
    made = arrays(out)
    assert made["layers"].tolist() == [1]
    assert json.loads(str(made["settings"]))["drawing"]["colormap"] == "magma"
    expected = AttentionProcessor(reference).get_attention_heatmap_for_token(4, [1], None, "min")
    np.testing.assert_array_equal(made["maps"][4], expected)


def test_no_name_comes_from_the_prompt(run: Callable[..., int], out: Path, tmp_path: Path) -> None:
    before = set(left_behind(tmp_path))
    assert run("--prompt-words", "--tokens", "0", prompt="../../evil /etc/passwd <b>") == 0
    made = set(left_behind(tmp_path)) - before
    assert all(Path(name).parts[0] == "made" for name in made)
    assert all(DRAWN_NAME.fullmatch(name) for name in names(out) if "_" in name)


def test_a_second_run_replaces_the_first_and_leaves_other_files(run: Callable[..., int], out: Path) -> None:
    assert run("--prompt-words") == 0
    for name in ("token_999.png", "notes.txt", "word_000.png"):
        (out / name).write_text("mine")
    assert run("--tokens", "1-2") == 0
    ours = {"token_001.png", "token_002.png", "original.png", "overview.png", "answer.txt", "maps.npz"}
    assert names(out) == ours | {"token_999.png", "notes.txt", "word_000.png"}
    assert (out / "word_000.png").read_text() == "mine"


def test_a_maps_file_of_another_program_removes_nothing(run: Callable[..., int], out: Path) -> None:
    out.mkdir(parents=True)
    (out / "token_050.png").write_text("mine")
    for content in (b"", b"no zip", json.dumps({"settings": 1}).encode()):
        (out / "maps.npz").write_bytes(content)
        assert earlier_pictures(out / "maps.npz") == set()
    np.savez(
        out / "maps.npz", settings=np.array(json.dumps({"drawing": {"files": ["../picture.png", "a.png"]}}))
    )
    assert earlier_pictures(out / "maps.npz") == set()
    assert run("--tokens", "0") == 0
    assert "token_050.png" in names(out)


def test_only_the_first_frame_of_an_animation_is_used_and_said(
    run: Callable[..., int], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frames = [Image.new("RGB", (168, 112), colour) for colour in ("red", "blue")]
    frames[0].save(picture, format="GIF", save_all=True, append_images=frames[1:])
    assert run("--tokens", "0") == 0
    assert capsys.readouterr().err.startswith(
        "note: This picture is animated: only its first frame is used.\n"
    )


def test_values_of_twelve_bits_are_spread_and_said(
    run: Callable[..., int], picture: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Image.fromarray(np.linspace(0, 4095, 112 * 168).astype(np.uint16).reshape(112, 168)).save(picture)
    assert run("--tokens", "0") == 0
    assert capsys.readouterr().err.startswith(
        "note: Its values run from 0 to 4,095: they are spread over all shades from black to white.\n"
    )


@pytest.mark.parametrize(("command", "arguments"), [("run", ()), ("gradcam", ("--target", "text:这里"))])
def test_letters_without_a_font_are_told_with_the_font_to_install(
    command: str,
    arguments: tuple[str, ...],
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(fonts, "_fallback_paths", tuple)
    fonts._font_with.cache_clear()
    try:
        assert request.getfixturevalue(command)(*arguments) == 0  # the question has them too
    finally:
        fonts._font_with.cache_clear()
    told = capsys.readouterr().err
    assert "note: No font here has these letters, which are written as code points such as [U+8FD9]: " in told
    assert "To see them, install Noto Sans CJK" in told

"""The shell: clips in a question, a system prompt, and answers about them that were kept."""

import json
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
from drawing.outline import whole_of
from evaluation.removal import check_map
from methods import token_maps
from methods.grad_cam import smooth_grad_cam
from records.capture import Capture
from records.pictures import open_image
from records.targets import Text
from records.videos import open_video
from tests.clips import write_clip
from tests.commands.kit import TOKENS, arrays, names, pixels
from tests.report.formats.test_several import durations
from visualization import visualize_attention_on_image

ASKED, SYSTEM = "Is <image> in <video>?", "Be brief."
DRAWN = {"overview.png", "maps.npz", "moving.gif", "moving.mp4", "step_000.png", "step_001.png"}


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """A clip of 20 frames in two seconds, of which 4 are looked at: two steps."""
    return write_clip(tmp_path / "clip.mp4", 20, size=(56, 84))


@pytest.fixture
def call(checkpoint: Path, out: Path, loaded: Any, monkeypatch: pytest.MonkeyPatch) -> Callable[..., int]:
    """Run a command about files in this process, with the checkpoint that is loaded already."""
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)

    def run(command: str, *given: object, prompt: str = "What moves?") -> int:
        asked = ["--prompt", prompt, "--model", str(checkpoint), "--max-new-tokens", str(TOKENS)]
        return main([command, *map(str, given), *asked, "--output", str(out)])

    return run


@pytest.fixture
def ask(loaded: tuple[Any, Any]) -> Callable[..., Capture]:
    """Ask the same question in Python."""
    return lambda shown, prompt="What moves?", **how: AttentionExtractor(*loaded).generate(
        shown, prompt, max_new_tokens=TOKENS, **how
    )


def test_a_clip_alone_has_its_steps_its_numbers_and_moves(
    call: Callable[..., int], ask: Callable[..., Capture], clip: Path, out: Path, capsys: Any
) -> None:
    assert call("attention", clip, "--tokens", "words", "--layers", "0,2") == 0
    direct = ask(open_video(clip))
    assert capsys.readouterr().out == direct.text + "\n"
    assert names(out) == DRAWN | {"answer.txt"}
    made, processor = arrays(out), AttentionProcessor(direct)
    (visual,) = direct.visuals
    assert made["maps"].shape == (TOKENS, *visual.grid)
    for token in range(TOKENS):
        expected = processor.get_attention_heatmap_for_token(token, [0, 2])
        np.testing.assert_allclose(made["maps"][token], expected, rtol=1e-5)
        np.testing.assert_allclose(made["step_shares"][token], expected.sum((1, 2)), rtol=1e-5)
    for word, of_word in zip(processor.words(), made["word_maps"], strict=True):
        np.testing.assert_allclose(of_word, made["maps"][list(word.tokens)].mean(0), rtol=1e-5)
    assert made["times"].tolist() == list(visual.times)
    assert (made["grid"].tolist(), str(made["image_hash"])) == (list(visual.grid), visual.hash)
    assert durations(out / "moving.mp4") == pytest.approx([0.6, 0.7, 0.6, 0.1], abs=0.002)
    whole = token_maps("attention", direct, layers=[0, 2]).mean_map(range(TOKENS))
    for step in range(2):
        drawn = visualize_attention_on_image(
            open_video(clip).picture(2 * step),
            whole.reshape(visual.grid)[step],
            min_side=640,
            title=" ",
            subtitle=" ",
            whole=whole_of(whole.astype(np.float64)),
        )
        box = drawn.info["picture_box"]
        with Image.open(out / f"step_{step:03d}.png") as file:
            far = np.asarray(file.crop(box), int) - np.asarray(drawn.crop(box))
        assert np.abs(far).max() <= 1


def test_a_clip_among_pictures_has_a_folder_and_a_system_prompt_counts(
    call: Callable[..., int],
    ask: Callable[..., Capture],
    clip: Path,
    picture: Path,
    out: Path,
    answers: list[str],
    capsys: Any,
) -> None:
    given = [picture, clip, "--tokens", "2", "--max-frames", "2"]
    assert call("attention", *given, "--system", SYSTEM, "--prompt-words", prompt=ASKED) == 0
    told = capsys.readouterr().err
    assert names(out) == {"answer.txt", "picture_1", "clip_2"}
    once = DRAWN - {"step_001.png"}
    assert names(out / "clip_2") == once | {f"prompt_{name}" for name in once if name != "maps.npz"}
    direct = ask([open_image(picture), open_video(clip, max_frames=2)], ASKED, system=SYSTEM)
    without = ask([open_image(picture), open_video(clip, max_frames=2)], ASKED)
    rows = direct.attention[2].float().mean((0, 1)).numpy()
    first = direct.visuals[1].first
    found = [arrays(out / name)["maps"].reshape(-1) for name in ("picture_1", "clip_2")]
    np.testing.assert_allclose(np.concatenate(found), rows, rtol=1e-4, atol=1e-7)
    assert np.abs(without.attention[2].float().mean((0, 1)).numpy() - rows).max() > 1e-4
    lines = [line for line in told.splitlines() if " of attention" in line and " of 2, " in line]
    for line, part, name in zip(lines, (rows[:first], rows[first:]), (picture, clip), strict=True):
        assert str(name) in line
        assert float(line.split()[-4]) == pytest.approx(100 * part.sum(), abs=0.06)
    asked = arrays(out / "clip_2")["prompt_word_maps"]
    assert asked.shape == (len(AttentionProcessor(direct).prompt_words()), *direct.visuals[1].grid)
    count = len(answers)
    assert call("attention", *given, "--system", SYSTEM, prompt=ASKED) == 0
    assert len(answers) == count  # from the cache
    for more in (["--system", ""], []):
        assert call("attention", *given, *more, prompt=ASKED) == 0
        count += 1
        assert len(answers) == count  # another question


def test_what_an_earlier_run_wrote_of_a_clip_goes_with_it(
    call: Callable[..., int], clip: Path, picture: Path, out: Path
) -> None:
    assert call("attention", picture, clip, "--tokens", "1", prompt=ASKED) == 0
    assert (out / "clip_2" / "step_001.png").is_file()
    assert call("attention", picture, "--tokens", "1", prompt="What?") == 0
    assert names(out) == {"answer.txt", "maps.npz", "original.png", "overview.png", "token_001.png"}
    assert call("attention", clip, "--tokens", "1", "--max-frames", "2") == 0
    assert names(out) == DRAWN - {"step_001.png"} | {"answer.txt"}


def test_a_kept_answer_about_a_clip_is_exported_without_its_file(
    call: Callable[..., int], ask: Callable[..., Capture], clip: Path, picture: Path, out: Path, capsys: Any
) -> None:
    shown = [open_image(picture), open_video(clip)]
    assert call("export", picture, clip, "--format", "npz", prompt=ASKED) == 0
    (made,) = out.glob("*.npz")
    with np.load(made) as file:
        before = dict(file)
    direct = ask(shown, ASKED)
    rows = direct.attention.float().mean((1, 2)).numpy()
    first = direct.visuals[1].first
    np.testing.assert_allclose(before["maps_1"].reshape(TOKENS, -1), rows[:, :first], rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(before["maps_2"].reshape(TOKENS, -1), rows[:, first:], rtol=1e-4, atol=1e-7)
    clip.unlink()
    picture.unlink()
    made.unlink()
    assert main(["export", "--recent"]) == 0
    assert "Is <image> in <video>?" in capsys.readouterr().out
    assert main(["export", "last", "--format", "npz,png,mp4", "--tokens", "3", "--output", str(out)]) == 0
    assert {file.suffix for file in out.iterdir()} == {".npz", ".png", ".mp4"}
    with np.load(next(out.glob("*.npz"))) as file:
        np.testing.assert_array_equal(file["maps_2"], before["maps_2"][[3]])
    assert durations(next(out.glob("*.mp4"))) == pytest.approx([0.6, 0.7, 0.6, 0.1], abs=0.002)
    assert pixels(next(out.glob("*.png"))).shape[1] > 640  # both steps and the picture


def test_a_check_of_a_picture_beside_a_clip(
    call: Callable[..., int], clip: Path, picture: Path, out: Path, capsys: Any
) -> None:
    given = [picture, clip, "--target", "1", "--repeats", "1", "--patches", "2", "--which", "1"]
    assert call("check", *given, prompt=ASKED) == 0
    assert f"Picture 1 of 2, {picture}:" in capsys.readouterr().err


def test_a_clips_map_is_checked(
    call: Callable[..., int],
    ask: Callable[..., Capture],
    loaded: tuple[Any, Any],
    clip: Path,
    picture: Path,
    out: Path,
    capsys: Any,
) -> None:
    given = ["--target", "1", "--repeats", "1", "--patches", "2,9"]
    assert call("check", picture, clip, *given, "--which", "2", prompt=ASKED) == 0
    assert f"Clip 2 of 2, {clip}:" in capsys.readouterr().err
    shown: Any = [open_image(picture), open_video(clip)]
    capture = ask(shown, ASKED)
    visual = capture.visuals[1]
    heat = token_maps("attention", capture).token_map(1, visual=1)
    expected = check_map(*loaded, shown, capture, 1, heat, visual=1, patches=[2, 9], repeats=1)
    found = json.loads((out / "check.json").read_text("utf-8"))
    assert (found["picture"], found["grid"], found["times"]) == (2, list(visual.grid), list(visual.times))
    np.testing.assert_allclose(found["map"]["hottest"], expected.hottest, rtol=1e-3)
    assert found["map"]["cells"]["hottest"] == expected.hottest_cells.tolist()
    assert found["map"]["patches_in_all"] == visual.count
    with Image.open(out / "map.png") as drawn:
        assert drawn.height > 2 * 640 * visual.grid[1] // visual.grid[2]  # both steps, one below the other


def test_grad_cam_reads_the_system_prompt(
    call: Callable[..., int], loaded: tuple[Any, Any], picture: Path, out: Path
) -> None:
    given = ["--target", "text:a boat", "--num-samples", "1", "--noise-std", "0", "--layers", "0"]
    assert call("gradcam", picture, *given, "--system", SYSTEM, prompt="What?") == 0
    how: Any = {"layers": [0], "target": Text("a boat"), "num_samples": 1, "noise_std": 0}
    with_it = smooth_grad_cam(*loaded, open_image(picture), "What?", system=SYSTEM, **how)
    np.testing.assert_allclose(arrays(out)["scores"], with_it.scores, rtol=1e-4)
    without = smooth_grad_cam(*loaded, open_image(picture), "What?", **how)
    assert abs(float(without.scores[0] - with_it.scores[0])) > 1e-3


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (["attention", "{picture}", "--fps", "1"], "--fps and --max-frames belong to a clip, and no file is"),
        (["attention", "{clip}", "--fps", "0"], "argument --fps: must be a number above 0 and up to 60"),
        (
            ["attention", "{clip}", "--max-frames", "0"],
            "argument --max-frames: must be a whole number from 1",
        ),
        (["attention", "{picture}", "{broken}"], "picture 2 ({broken}): The file is damaged, or no video"),
        (["attention", "{text}"], "{text}: The file is not a picture in a format that is read"),
        (["attention", "{clip}", "{gone}"], "picture 2 ({gone}): There is no such video file."),
        (["attention", "{clip}", "--system", "x" * 5000], "argument --system: 5,000 characters; at most"),
        (["check", "{clip}", "--target", "1", "--which", "2"], "there is no picture 2: 1 were named"),
    ],
)
def test_what_cannot_be_is_one_line(
    call: Callable[..., int],
    given: list[str],
    line: str,
    clip: Path,
    picture: Path,
    tmp_path: Path,
    out: Path,
    capsys: Any,
) -> None:
    files = {"picture": picture, "clip": clip, "gone": tmp_path / "gone.mp4"}
    files |= {"broken": tmp_path / "broken.mp4", "text": tmp_path / "text.txt"}
    for name in ("broken", "text"):
        files[name].write_text("neither")
    assert call(*(part.format(**files) for part in given)) == 2
    assert line.format(**files) in capsys.readouterr().err.splitlines()[-1]
    assert names(out) == set()


def test_several_files_are_asked_about_and_are_no_ids(capsys: Any) -> None:
    assert main(["export", "last", "last"]) == 2
    assert "several files belong to --prompt" in capsys.readouterr().err
    assert main(["export", "last", "--system", "x"]) == 2
    assert "--system belongs to a picture file with --prompt" in capsys.readouterr().err

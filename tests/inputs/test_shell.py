"""Any argument of the shell, in any order: the command begins, or one clear line and exit code 2."""

import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cli
import commands.run.answers
from model import ModelError
from tests.inputs import damage
from tests.inputs.clear import one_clear_line
from tests.inputs.kit import TIMES, left_in
from tests.inputs.pictures import every_format, sizes
from tests.inputs.tally import Tally
from tests.inputs.values import ADDED, EMPTY, LONE, LONG, ODD, numbers, ranges

BEGUN = "the model would be loaded now"
FLAGS = {
    "attention": (
        "--tokens",
        "--layers",
        "--heads",
        "--aggregation",
        "--method",
        "--colormap",
        "--alpha",
        "--view",
    ),
    "gradcam": (
        "--target",
        "--at",
        "--mode",
        "--layer",
        "--layers",
        "--layer-range",
        "--num-samples",
        "--noise-std",
    ),
    "check": ("--target", "--method", "--repeats", "--patches", "--layers", "--heads", "--filling"),
    "export": ("--format", "--tokens", "--layers", "--heads", "--scale", "--method"),
}
OF_ANSWERS = (
    *("--max-new-tokens", "--generation", "--temperature", "--top-p", "--top-k", "--repetition-penalty"),
    *("--seed", "--keep", "--answer", "--model", "--adapter", "--output", "--prompt"),
)
SWITCHES = (
    "--thinking",
    "--no-thinking",
    "--no-sinks",
    "--smooth",
    "--no-cache",
    "--prompt-words",
    "--debugging",
)
# No answer is read from a device that never ends, and no folder is made where the tests stand.
typed = st.one_of(
    ranges,
    numbers.map(str),
    st.sampled_from(
        ["own", "greedy", "max", "jet", "viridis", "glow", "grid", "single", "late", "word:1", "all"]
    ),
    st.sampled_from(
        ["1", "0.5", "0,1", "0-2", "0:1,1:2", "head-mean", "text:a fish", "contrast:red/blue", "png,pdf"]
    ),
    st.sampled_from(["x" * LONG, "@nowhere", "@a\0b", "@" + "x" * 5000, "-", "--", "-1", "\ud800", "\udc80"]),
).filter(lambda text: not text.startswith(("@/dev", "/")))


@pytest.fixture(scope="module")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    whole = next(one for one in every_format() if one.name == "RGB as PNG")
    (folder / "own picture.png").write_bytes(whole.data)
    return folder / "own picture.png"


@pytest.fixture(autouse=True)
def _no_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """End each command where it would load the model; nothing is left in the folder that it runs in."""

    def begin(*_: Any, **__: Any) -> NoReturn:
        raise ModelError(BEGUN)

    monkeypatch.setattr(commands.run.answers, "load_model", begin)
    monkeypatch.chdir(tmp_path)
    yield
    assert left_in(tmp_path) <= {
        str(tmp_path / "list.csv"),
        str(tmp_path / "list.jsonl"),
        str(tmp_path / "list.txt"),
    }


@pytest.fixture
def shell(capfd: pytest.CaptureFixture[str], tally: Tally) -> Callable[..., None]:
    """Run a command, and count it: begun, or refused in one clear line."""

    def run(kind: str, *arguments: str, own: tuple[str, ...] = ()) -> str:
        capfd.readouterr()
        code = cli.main(list(arguments))
        told = capfd.readouterr()
        lines = [line for line in told.err.split("\n") if line and not line.startswith("note: ")]
        assert (code, told.out, len(lines)) == (2, "", 1), (code, told, arguments)
        assert lines[0].startswith("error: ")
        if lines[0] == f"error: {BEGUN}":
            tally.right(kind)
        else:
            one_clear_line(lines[0], *own, *arguments)
            tally.refused(kind)
        return lines[0]

    return run  # type: ignore[return-value]


@settings(max_examples=250 * TIMES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_argument_in_any_order_begins_or_is_refused(
    shell: Callable[..., str], picture: Path, data: st.DataObject
) -> None:
    command = data.draw(st.sampled_from(sorted(FLAGS)))
    chosen = data.draw(st.lists(st.sampled_from((*FLAGS[command], *OF_ANSWERS)), max_size=3, unique=True))
    flags: list[tuple[str, ...]] = [(flag, data.draw(typed)) for flag in chosen]
    flags += [(switch,) for switch in data.draw(st.lists(st.sampled_from(SWITCHES), max_size=1))]
    flags.append((str(picture),))
    if "--prompt" not in chosen:
        flags.append(("--prompt", "What is it?"))
    if command == "check" and "--target" not in chosen:
        flags.append(("--target", "0"))
    arguments = [part for flag in data.draw(st.permutations(flags)) for part in flag]
    shell(f"shell: {command}", command, *arguments)


def test_any_prompt_begins_or_is_refused(shell: Callable[..., str], picture: Path) -> None:
    prompts = (*ODD, *LONE, *EMPTY, *ADDED, "x" * LONG, "\0" * LONG, "-x", "--prompt", "@file")
    for prompt in prompts:
        line = shell("shell: prompts", "attention", str(picture), f"--prompt={prompt}")
        fits = prompt.strip() and len(prompt) <= 4000 and prompt not in LONE
        assert (BEGUN in line) == bool(fits), (line[:100], prompt[:40])


def test_any_picture_begins_or_is_refused(shell: Callable[..., str], tmp_path: Path, picture: Path) -> None:
    """A picture of each kind, under a name that says something else."""
    wholes = [one for one in every_format() if one.name.startswith(("RGB as", "I;16 as", "LAB as"))]
    files: list[tuple[bytes, bool | None]]
    files = [(one.data, one.shows is not None) for one in (*wholes, *list(sizes())[:200:17])]
    files += [(data, False) for some in (damage.headers(), damage.no_pictures()) for _, data, *_ in some]
    cut = random.Random(0).sample(list(damage.cut_off()), 30)
    files += [(data, None) for _, data, _ in cut]
    file = picture.with_name("a file.txt")
    for data, seen in files:
        file.write_bytes(data)
        line = shell("shell: pictures", "attention", str(file), "--prompt", "What is it?")
        assert seen in (None, BEGUN in line), line


def test_any_name_of_a_picture_or_a_folder_is_refused(
    shell: Callable[..., str], picture: Path, tmp_path: Path
) -> None:
    asked = ("--prompt", "What is it?")
    long = "x" * 300
    for name in (
        "none.png",
        ".",
        "",
        "a\0b",
        "\udc80.png",
        "\x1b[31m.png",
        "x" * LONG,
        "a\nb",
        "data:image/png,AA",
    ):
        shell("shell: names", "attention", name, *asked)
    for name in (f"{picture}/below", f"{picture}", "a\0b", f"{long}/a", "x" * LONG, "\ud800"):
        for command in ("attention", "gradcam", "export"):
            line = shell("shell: names", command, str(picture), *asked, "--output", name)
            assert "cannot write into" in line
    for name in ("none", ".", "a\0b", long, str(picture), "\ud800"):
        line = shell("shell: names", "attention", str(picture), *asked, "--answer", f"@{name}")
        assert "cannot be read" in line


LISTS: dict[str, tuple[bytes, ...]] = {
    ".csv": (b"", b"image\n", b'image,prompt\n"open\n', b"a,b\n1,2\n", b"image\n\0\n", b"\xed\xa0\x80"),
    ".jsonl": (
        *(b"[]", b"{}", b'{"image": 3}', b'{"image": "a\\u0000"}', b"{" * LONG),
        b'{"image": "a", "prompt": "\\ud800"}',
    ),
    ".txt": (b"", b"\n\n", b"\xff\xfe", b"a\0b"),
}


def test_any_list_is_refused(shell: Callable[..., str], tmp_path: Path) -> None:
    for ending, contents in LISTS.items():
        for content in contents:
            file = tmp_path / f"list{ending}"
            file.write_bytes(content)
            shell("shell: lists", "batch", f"list{ending}", "--prompt", "What?", own=(str(tmp_path),))
    (tmp_path / "instances_x.json").write_text(json.dumps({"images": "none"}))
    shell("shell: lists", "evaluate", "--data", str(tmp_path), own=(str(tmp_path),))
    (tmp_path / "instances_x.json").unlink()

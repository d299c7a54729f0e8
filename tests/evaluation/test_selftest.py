"""The self-test: it passes what is right, and fails each thing that is not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import attention_extractor
import cli
import commands.run.answers
import config
import records.verification as verification_room
from attention_extractor import AttentionExtractor
from evaluation import selftest
from internals import attention_rows, exclusive, recording
from model import checkpoint, load_model, verification_key
from records.capture import Capture
from records.verification import Finding, Verification, kept_verification, with_verification
from tests.conftest import traces
from tests.tiny import save_tiny, tiny_model

pytestmark = pytest.mark.timeout(240)

NAMES = ["template", "grid", "ids", "rows", "log-probabilities", "Grad-CAM"]
Patch = pytest.MonkeyPatch


@pytest.fixture(scope="module")
def model() -> tuple[Any, Any]:
    return tiny_model(4, 4, 2, 64, vocabulary="bytes")


def other_ids(patch: Patch) -> None:
    """Have the extractor answer with another token than the model's."""

    def generate(self: AttentionExtractor, image: Any, prompt: str, *_: Any, **__: Any) -> Capture:
        return self.read(image, prompt, [65] * selftest.TOKENS)

    patch.setattr(AttentionExtractor, "generate", generate)


def other_rows(patch: Patch) -> None:
    """Have rows computed with a scaling of their own."""

    def rows(query: Any, key: Any, scaling: float, positions: Any) -> Any:
        return attention_rows.attention_rows(query, key, scaling * 1.5, positions)

    patch.setattr(recording, "attention_rows", rows)


def other_logprobs(patch: Patch) -> None:
    """Have an answer that is read predicted by other features."""
    original = attention_extractor.head_logprobs
    patch.setattr(attention_extractor, "head_logprobs", lambda *given: original(*given) - 0.5)


def other_cells(patch: Patch) -> None:
    """Have the patches of a picture come in another order."""
    original = selftest.encode

    def mirrored(*given: Any) -> Any:
        encoded = original(*given)
        pixels = encoded.inputs["pixel_values"]
        return replace(encoded, inputs={**encoded.inputs, "pixel_values": pixels.flip(0)})

    patch.setattr(selftest, "encode", mirrored)


def other_prompt(patch: Patch) -> None:
    """Have the prompt found one token too early."""
    original = selftest.encode

    def shifted(*given: Any) -> Any:
        encoded = original(*given)
        return replace(encoded, prompt_positions=encoded.prompt_positions - 1)

    patch.setattr(selftest, "encode", shifted)


def other_slope(patch: Patch) -> None:
    """Have gradients come out too large."""
    original = torch.autograd.grad
    patch.setattr(
        torch.autograd, "grad", lambda *given, **settings: [2 * g for g in original(*given, **settings)]
    )


def test_all_is_right(model: tuple[Any, Any]) -> None:
    told: list[Finding] = []
    before = traces(model[0]), model[0].model.rope_deltas
    found = selftest.self_test(*model, tell=told.append)
    assert [one.name for one in told] == NAMES
    assert all(one.passed for one in told), [one.line for one in told]
    assert found.findings == tuple(told)
    assert found.passed
    assert found.summary.startswith("verified: template 15 of 15 visual tokens, grid cell [8]")
    assert found.summary.endswith(", in float32 with sdpa")
    assert (traces(model[0]), model[0].model.rope_deltas) == before
    assert exclusive._busy == set()


@pytest.mark.parametrize(
    ("broken", "name"),
    [
        (other_prompt, "template"),
        (other_cells, "grid"),
        (other_ids, "ids"),
        (other_rows, "rows"),
        (other_logprobs, "log-probabilities"),
        (other_slope, "Grad-CAM"),
    ],
)
def test_what_is_wrong_fails(
    model: tuple[Any, Any], monkeypatch: Patch, broken: Callable[[Patch], None], name: str
) -> None:
    with monkeypatch.context() as patch:
        broken(patch)
        found = selftest.self_test(*model)
    failed = [one for one in found.findings if not one.passed]
    assert name in [one.name for one in failed]
    (one,) = (one for one in failed if one.name == name)
    assert one.line.startswith(f"FAIL  {name}: ")
    assert one.line.endswith(one.remedy)
    assert found.summary.startswith("failed: ")
    assert not found.passed


def test_a_claim_that_raises_has_failed_and_the_others_go_on(
    model: tuple[Any, Any], monkeypatch: Patch
) -> None:
    def broken(bench: Any) -> Any:
        raise RuntimeError("no\nway")

    claims = (selftest.CLAIMS[0], selftest.Claim("odd", "something odd", broken, "Do this."))
    monkeypatch.setattr(selftest, "CLAIMS", claims)
    found = selftest.self_test(*model)
    assert [one.passed for one in found.findings] == [True, False]
    assert found.findings[1].figure == "no way"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: Patch) -> Path:
    """A checkpoint in a folder, and a place of one's own for what is kept."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))
    return save_tiny(tmp_path / "checkpoint", vocabulary="bytes")


def test_the_shell_tells_keeps_and_ends_with_1_where_something_fails(
    folder: Path, tmp_path: Path, monkeypatch: Patch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = load_model(folder)
    monkeypatch.setattr(commands.run.answers, "load_model", lambda name: loaded)
    assert cli.main(["selftest", "--model", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split(":")[0].strip() == "Python"
    assert [line.split(":")[0].removeprefix("pass  ") for line in lines[6:-1]] == NAMES
    assert lines[-1].startswith("verified: ")
    key = verification_key(checkpoint(str(folder)))
    kept = kept_verification(key)
    assert kept is not None
    assert kept.summary == lines[-1]
    capture = AttentionExtractor(*loaded).read(selftest.Bench(*loaded).image, "What?", "A bird.")
    assert with_verification(capture, key).settings["verified"] == lines[-1]
    assert "verified" not in with_verification(capture, "0" * 32).settings

    other_rows(monkeypatch)
    assert cli.main(["selftest", "--model", str(folder)]) == 1
    told = capsys.readouterr()
    assert "FAIL  rows: attention against eager attention: " in told.out
    assert told.err == ""
    kept = kept_verification(key)
    assert kept is not None
    assert not kept.passed


@pytest.mark.parametrize("content", ["", "{", "[]", '{"model": "x"}', '{"findings": [{"name": 1}]}'])
def test_a_damaged_file_is_no_verification(folder: Path, content: str) -> None:
    key = "a" * 32
    verification_room.keep_verification(key, Verification("m", "float32", "sdpa", ()))
    assert kept_verification(key) == Verification("m", "float32", "sdpa", ())
    (Path(config.CACHE_DIR) / verification_room.FOLDER / f"{key}.json").write_text(content)
    assert kept_verification(key) is None
    assert kept_verification(None) is None

"""Checkpoints: the hub, as served from this computer."""

import socket
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import psutil
import pytest

from model import (
    hub,
)
from tests.fake_hub import fake_hub
from tests.model.kit import KNOWN, load_elsewhere, said
from tests.published import published_adapter


class Answers(NamedTuple):
    """What is said of each name in one process while the hub is there, and in another without it."""

    fetched: dict[str, str]
    without: dict[str, str]
    cache: Path


@pytest.fixture(scope="module")
def answers(saved: Path, tmp_path_factory: pytest.TempPathFactory) -> Answers:
    """Load every kind of name; org/base, which org/lora names, is nobody's own name."""
    folder = tmp_path_factory.mktemp("hub")
    other, bare, weightless = folder / "other", folder / "bare", folder / "weightless"
    for place in (other, bare, weightless):
        place.mkdir()
    (other / "config.json").write_text('{"model_type": "llava"}')
    (bare / "README.md").write_text("nothing")
    (weightless / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    (weightless / "pytorch_model-00001-of-00002.bin").write_bytes(b"\x80\x04cos\nabort\n(tR.")
    shapes = {"model.language_model.layers.1.self_attn.o_proj": (64, 64)}
    lora = published_adapter(folder / "lora", "org/base", shapes)
    models = {"org/small": saved, "org/other": other, "org/bare": bare, "org/pickled": weightless}
    names = (*models, "org/none", "gated/model", "org/lora", "org/base + org/lora")
    with fake_hub({**models, "org/base": saved, "org/lora": lora}) as endpoint:
        fetched = load_elsewhere(endpoint, folder / "cache", *names)
    again = ("org/small", "org/unseen", "org/pickled", "org/lora")
    without = load_elsewhere(endpoint, folder / "cache", *again)
    return Answers(
        dict(zip(names, fetched, strict=True)), dict(zip(again, without, strict=True)), folder / "cache"
    )


def test_a_hub_id_is_fetched_once_and_found_again_without_a_network(answers: Answers) -> None:
    assert list(answers.fetched.values())[:6] == [
        "loaded org/small",
        f"ModelError: org/other is no {KNOWN} model: "
        'its config.json says model_type "llava"; choose a checkpoint of that kind.',
        f"ModelError: org/bare is no {KNOWN} model: it has no config.json; choose another one.",
        "ModelError: org/pickled has only pickled weights (pytorch_model-00001-of-00002.bin), "
        "which can run any code when loaded; a checkpoint in safetensors is needed.",
        "ModelError: There is no folder and no model on the hub named org/none.",
        "ModelError: gated/model asks for a login on the hub; run: hf auth login",
    ]
    assert not list(answers.cache.rglob("*.bin"))
    assert list(answers.without.values())[:3] == [
        "loaded org/small",
        "ModelError: org/unseen is no folder here, was not downloaded before, and the hub cannot be reached; "
        "check the network or give a local folder.",
        "ModelError: org/pickled is no folder here, was only in part downloaded before, "
        "and the hub cannot be reached; check the network or give a local folder.",
    ]


def test_an_adapter_on_the_hub_comes_with_its_base(answers: Answers) -> None:
    for name in ("org/lora", "org/base + org/lora"):
        assert answers.fetched[name] == f"loaded {name}"
    assert answers.without["org/lora"] == "loaded org/lora"


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """It takes the connection and says nothing; the hub's own client would try for a minute and more."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        answers = load_elsewhere(endpoint, tmp_path, "org/model")
    assert answers[0].startswith(
        "ModelError: org/model is no folder here, was not downloaded before, and the hub"
    )


def test_the_hub_is_asked_once_with_a_time_limit_in_a_thread_that_nobody_waits_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked, hangs = [], threading.Event()

    class Session:
        def head(self, url: str, timeout: float) -> None:
            asked.append((url, timeout, threading.current_thread().daemon))
            hangs.wait(60)

    monkeypatch.setattr(hub, "get_session", Session)
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.05)
    assert hub._hub_answers("org/model") is False
    hangs.set()
    ((url, timeout, daemon),) = asked
    assert url.endswith("org/model/resolve/main/config.json")
    assert (timeout, daemon) == (0.05, True)


def test_offline_mode_is_respected(tmp_path: Path) -> None:
    answers = load_elsewhere("http://127.0.0.1:9", tmp_path, "org/model", HF_HUB_OFFLINE="1")
    assert "the hub cannot be reached" in answers[0]


def test_memory_is_checked_before_a_hub_model_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """8 GB of files in bfloat16 are 16 GB in float32; 1 GB is free; nothing is fetched."""
    (tmp_path / "config.json").write_text('{"model_type": "qwen2_5_vl"}')
    files = [
        SimpleNamespace(rfilename="model-00001-of-00002.safetensors", size=5 * 10**9),
        SimpleNamespace(rfilename="model-00002-of-00002.safetensors", size=3 * 10**9),
    ]
    api = SimpleNamespace(model_info=lambda *_, **__: SimpleNamespace(siblings=files))
    monkeypatch.setattr(hub, "_hub_answers", lambda _: True)
    monkeypatch.setattr(hub, "hf_hub_download", lambda *_, **__: str(tmp_path / "config.json"))
    monkeypatch.setattr(hub, "HfApi", lambda: api)
    monkeypatch.setattr(hub, "snapshot_download", lambda *_, **__: pytest.fail("it was downloaded"))
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=10**9))
    expected = "needs about 17.6 GB in float32, and 1.0 GB are free on cpu; close other programs, or set"
    assert expected in said("org/large", device="cpu", dtype="float32")


def test_a_broken_download_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ConnectionError("reset by peer\nafter 3 bytes")

    monkeypatch.setattr(hub, "_hub_answers", lambda _: True)
    monkeypatch.setattr(hub, "hf_hub_download", broken)
    assert said("org/large") == "NAME could not be downloaded: reset by peer after 3 bytes; try again."

"""The page without a browser: its API, what it refuses, whom it answers, and what it keeps and frees."""

import gc
import io
import json
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import numpy as np
import pytest
from gradio_client import Client, handle_file  # type: ignore[import-untyped]
from gradio_client.exceptions import AppError  # type: ignore[import-untyped]
from PIL import Image

import app
import config
import page.serve as serving_room
import visualization
from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from drawing.characters import plain_text
from methods import METHODS, sink_patches, token_maps, top_heads, without_sinks
from model import ModelError
from page.guard import only_uploaded_files
from page.jobs import Job, Jobs
from page.model_room import Loaded, ModelRoom
from page.selection import Pick, pick_of
from page.sessions import Run, RunGoneError, Sessions
from page.shown import caption, choices, first_pick, subject_of
from page.site import Page
from records.capture import Capture
from records.selection import parsed_selection
from report.view import Subject
from tests.serving import HEADS, LONG, PROMPT, free_port, noise
from utils import Stopped

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
NEW = 6  # tokens of the answers that need not be long


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    noise(0).save(folder / "a.png")
    noise(1).save(folder / "b.png")
    noise(2, (1, 1)).save(folder / "dot.png")
    noise(3, (8, 800)).save(folder / "line.png")
    (folder / "text.png").write_text("no picture")
    (folder / "cut.png").write_bytes((folder / "a.png").read_bytes()[:3000])
    return folder


@pytest.fixture
def client(site: tuple[Page, str]) -> Iterator[Client]:
    client = Client(site[1], verbose=False)
    yield client
    client.close()


@pytest.fixture(scope="module")
def answered(site: tuple[Page, str], pictures: Path) -> Iterator[tuple[Client, dict[str, Any]]]:
    """Lend a client that has asked about the first picture, with the answer."""
    client = Client(site[1], verbose=False)
    yield client, generated(client, pictures / "a.png")
    client.close()


@pytest.fixture(scope="module")
def direct(site: tuple[Page, str]) -> Capture:
    """The answer about the first picture, generated without the page."""
    loaded = site[0].room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor).generate(noise(0), PROMPT, max_new_tokens=NEW)


@pytest.fixture
def run(direct: Capture) -> Run:
    return Run(direct, noise(0))


def generated(
    client: Client, picture: Path, prompt: str = PROMPT, tokens: int = NEW, **settings: Any
) -> dict[str, Any]:
    return client.predict(handle_file(picture), prompt, tokens, api_name="/generate", **settings)


def soon(condition: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until the condition holds."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.05)


# --- The API ------------------------------------------------------------------------------------------------


def test_the_api_has_three_names(client: Client) -> None:
    listed = client.view_api(return_format="dict", print_info=False)
    assert sorted(listed["named_endpoints"]) == ["/generate", "/gradcam", "/heatmap"]
    for name, first in (("heatmap", ["token", "layers", "heads"]), ("gradcam", ["target", "at", "layers"])):
        parameters = listed["named_endpoints"][f"/{name}"]["parameters"]
        assert [parameter["parameter_name"] for parameter in parameters][:3] == first


def test_generate_is_the_extractor(answered: tuple[Client, dict[str, Any]], direct: Capture) -> None:
    answer = answered[1]
    assert answer["text"] == direct.text
    assert answer["tokens"] == list(direct.tokens)
    assert answer["grid"] == [5, 8]
    assert (answer["layers"], answer["heads"]) == ([0, 1, 2], HEADS)
    np.testing.assert_allclose(answer["probabilities"], direct.logprobs.exp(), rtol=1e-5)


@pytest.mark.parametrize(
    ("asked", "tokens", "layers", "heads"),
    [
        ({"token": "3"}, [3], None, None),
        ({"token": "1-2,5", "layers": "1,-1", "heads": "0-2"}, [1, 2, 5], [1, 2], [0, 1, 2]),
        ({"token": "all", "aggregation": "max", "alpha": 1.0, "view": "heatmap"}, range(NEW), None, None),
        (
            {"token": "0", "layers": "2", "cells": "smooth", "view": "side by side", "colormap": "jet"},
            [0],
            [2],
            None,
        ),
    ],
)
def test_heatmap_is_the_processor_and_the_drawing(
    answered: tuple[Client, Any], direct: Capture, asked: Any, tokens: Any, layers: Any, heads: Any
) -> None:
    path, facts = answered[0].predict(**asked, api_name="/heatmap")
    expected = AttentionProcessor(direct).get_attention_heatmap_for_token(
        list(tokens), layers, heads, asked.get("aggregation", "mean")
    )
    np.testing.assert_allclose(facts["map"], expected, rtol=1e-6)
    look: dict[str, Any] = {key: asked[key] for key in ("alpha", "view", "colormap") if key in asked}
    label = {"max": "highest share of attention"}.get(asked.get("aggregation", ""), "share of attention")
    picture = visualization.visualize_attention_on_image(
        visualization.fitted(noise(0), 640, 1280),
        expected,
        smooth=asked.get("cells") == "smooth",
        scale_label=label,
        **look,
    )
    with Image.open(path) as drawn:
        assert np.array_equal(np.asarray(drawn.convert("RGB")), np.asarray(picture))


def test_heatmap_of_the_question(answered: tuple[Client, Any], direct: Capture) -> None:
    _, facts = answered[0].predict(token="p4", api_name="/heatmap")
    expected = AttentionProcessor(direct).get_attention_heatmap_for_prompt_token(4)
    np.testing.assert_allclose(facts["map"], expected, rtol=1e-6)
    assert facts["caption"].startswith('prompt token 4 "r" · layers 0–2 · heads 0–3 · mean · ')


@pytest.mark.parametrize("method", ["heads-3", "rollout", "tam"])
def test_heatmap_by_another_method_is_computed_once_and_kept(
    answered: tuple[Client, Any], site: tuple[Page, str], direct: Capture, method: str
) -> None:
    client, loaded = answered[0], site[0].room.loaded
    assert loaded is not None
    given = {"model": loaded.model, "processor": loaded.processor, "image": noise(0)}
    expected = token_maps(method, direct, **given)
    if method == "heads-3":
        expected = token_maps("attention", direct, pairs=top_heads(direct, 3))
    path, facts = client.predict(token="1-2", method=method, api_name="/heatmap")
    largest = float(np.abs(expected.maps).max())
    np.testing.assert_allclose(facts["map"], expected.token_map([1, 2]), rtol=1e-4, atol=1e-6 * largest)
    assert (facts["method"], facts["removed"]) == (method, [])
    assert f" · {METHODS[method].label} · " in facts["caption"]
    again = client.predict(token="1-2", method=method, api_name="/heatmap")[1]
    assert again == facts  # the same seconds: it was not read again
    with Image.open(path) as drawn:
        assert drawn.width > drawn.height > 0


def test_heatmap_without_sinks(answered: tuple[Client, Any], direct: Capture) -> None:
    sinks = sink_patches(direct, [1], [0, 1])
    asked: dict[str, Any] = {"layers": "1", "heads": "0-1", "no_sinks": True}
    plain = token_maps("attention", direct, layers=[1], heads=[0, 1])
    _, facts = answered[0].predict(token="3", **asked, api_name="/heatmap")
    np.testing.assert_allclose(facts["map"], without_sinks(plain, sinks).token_map(3), rtol=1e-6)
    assert facts["removed"] == sorted(sink.patch for sink in sinks)
    assert " · Attention without sinks · layers 1 · heads 0-1 · mean · " in facts["caption"]
    assert answered[0].predict(token="p3", **asked, api_name="/heatmap")[1]["removed"] == facts["removed"]


@pytest.mark.parametrize(
    ("asked", "line"),
    [
        ({"token": "99"}, "There is no token 99: there are 6, 0 to 5."),
        ({"token": "p99"}, "There is no prompt token 99: there are 20, 0 to 19."),
        ({"token": "red"}, 'The tokens must be "all", or numbers such as 3 or 0-2,5.'),
        ({"token": "3-1"}, "The range of tokens 3-1 runs backwards."),
        ({"layers": "0-3"}, "There is no layer 3: there are 3, 0 to 2."),
        ({"heads": "4"}, "There is no head 4: there are 4, 0 to 3."),
        ({"alpha": 7}, "alpha must be a number from 0 (picture) to 1 (map); got 7"),
        ({"colormap": "no"}, "unknown colour map"),
        ({"view": "no"}, "view must be one of"),
        ({"aggregation": "sum"}, "aggregation must be one of mean, max, min; got 'sum'"),
        ({"scale": "no"}, "scale must be one of own, shared; got 'no'"),
        ({"method": "magic"}, "The method must be one of attention, heads-3"),
        ({"method": "tam", "token": "p0"}, "Token activation map explains words of the answer, not of the"),
        ({"method": "tam", "no_sinks": True}, "Token activation map has no sinks to leave out"),
    ],
)
def test_heatmap_refuses_in_one_line(
    client: Client, pictures: Path, asked: dict[str, Any], line: str
) -> None:
    generated(client, pictures / "a.png", tokens=NEW)
    with pytest.raises(Exception, match=re.escape(line)) as caught:
        client.predict(**{"token": "0", **asked}, api_name="/heatmap")
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("file", "prompt", "settings", "line"),
    [
        ("text.png", PROMPT, {}, "The file is not a picture in a format that is read"),
        ("cut.png", PROMPT, {}, "The picture file is damaged or incomplete."),
        ("dot.png", PROMPT, {}, "The picture is too small (1 x 1)"),
        ("line.png", PROMPT, {}, "The picture is too narrow (800 x 8)"),
        ("a.png", "   ", {}, "Type a question first."),
        ("a.png", "x" * 100_000, {}, "The question has 100,000 characters; at most 4,000 are allowed."),
        ("a.png", "a <|image_pad|>", {}, "The prompt may not contain the control token <|image_pad|>"),
        ("a.png", PROMPT, {"temperature": -1}, "The temperature must be a number from 0 to 10."),
        ("a.png", PROMPT, {"top_p": 0}, "Top-p must be above 0."),
        ("a.png", PROMPT, {"seed": "many"}, "The seed must be a number"),
    ],
)
def test_generate_refuses_in_one_line(
    answered: tuple[Client, Any],
    site: tuple[Page, str],
    pictures: Path,
    file: str,
    prompt: str,
    settings: Any,
    line: str,
) -> None:
    kept = len(site[0].sessions)
    with pytest.raises(AppError, match=re.escape(line)) as caught:
        generated(answered[0], pictures / file, prompt, **settings)
    assert len(str(caught.value).splitlines()) == 1
    assert "/" not in str(caught.value)
    assert len(site[0].sessions) <= kept


def test_heatmap_without_an_answer(client: Client) -> None:
    with pytest.raises(AppError, match="Call /generate first"):
        client.predict(token="0", api_name="/heatmap")


def test_each_client_sees_its_own_answer(
    answered: tuple[Client, Any], site: tuple[Page, str], pictures: Path
) -> None:
    one, first = answered
    two = Client(site[1], verbose=False)
    second = generated(two, pictures / "b.png", "What is it?")
    assert first["text"] != second["text"]
    maps = [np.array(client.predict(token="0", api_name="/heatmap")[1]["map"]) for client in (one, two)]
    assert not np.allclose(maps[0], maps[1])
    again = np.array(one.predict(token="0", api_name="/heatmap")[1]["map"])
    assert np.array_equal(again, maps[0])
    two.close()


def test_a_client_that_cancels_frees_the_model(
    site: tuple[Page, str], client: Client, pictures: Path
) -> None:
    page = site[0]
    job = client.submit(handle_file(pictures / "a.png"), PROMPT, 1000, api_name="/generate")
    soon(lambda: job.outputs())
    assert page.room.busy
    job.cancel()
    soon(lambda: not page.room.busy, 30)


# --- Whom the page answers ----------------------------------------------------------------------------------


def test_foreign_hosts_and_origins_are_refused(site: tuple[Page, str]) -> None:
    url = site[1]
    assert httpx.get(url, headers={"Host": "evil.example"}).status_code == 400
    upload = {"files": ("a.png", b"x")}
    for origin in ("https://evil.example", "null"):
        answer = httpx.post(f"{url}/gradio_api/upload", files=upload, headers={"Origin": origin})
        assert (answer.status_code, answer.json()["detail"]) == (
            403,
            "Requests from other sites are refused.",
        )
    assert httpx.post(f"{url}/gradio_api/upload", files=upload, headers={"Origin": url}).status_code == 200


@pytest.mark.parametrize(
    "file",
    [
        {"path": "x", "url": "data:image/png;base64,AAAA"},
        {"path": "data:image/png;base64,AAAA"},
        {"path": "http://127.0.0.1:1/a.png"},
    ],
)
def test_files_come_by_upload_only(site: tuple[Page, str], file: dict[str, str]) -> None:
    body = {"data": [{**file, "meta": {"_type": "gradio.FileData"}}, PROMPT, 1, 0, 1, 0]}
    answer = httpx.post(f"{site[1]}/gradio_api/call/generate", json=body)
    assert (answer.status_code, len(answer.json()["detail"].splitlines())) == (400, 1)


def test_files_that_were_not_uploaded_stay_closed(site: tuple[Page, str], pictures: Path) -> None:
    """The path of a picture that lies on the server, and was not uploaded, is not read."""
    file = {"path": str(pictures / "a.png"), "meta": {"_type": "gradio.FileData"}}
    body = {"data": [file, PROMPT, 1, 0, 1, 0], "session_hash": "somebody"}
    event = httpx.post(f"{site[1]}/gradio_api/call/generate", json=body).json()["event_id"]
    told = httpx.get(f"{site[1]}/gradio_api/call/generate/{event}", timeout=60).text
    assert "event: error" in told
    assert str(pictures) not in told


def test_large_requests_are_refused(site: tuple[Page, str]) -> None:
    body = {"data": ["x" * 4_100_000]}
    assert httpx.post(f"{site[1]}/gradio_api/queue/join", json=body, timeout=60).status_code == 413
    big = {"files": ("big.png", io.BytesIO(bytes(21_000_000)))}
    assert httpx.post(f"{site[1]}/gradio_api/upload", files=big, timeout=60).status_code == 413


def test_a_question_may_speak_of_data_urls() -> None:
    assert only_uploaded_files(json.dumps({"data": ["data:image/png", {"text": "http://x"}]}).encode())
    assert not only_uploaded_files(b"[" * 100_000)


# --- What is kept, and for whom -----------------------------------------------------------------------------


def test_answers_are_bounded_and_the_oldest_goes(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(config, "MAX_CAPTURES", 3)
    sessions = Sessions()
    keys = [(f"visitor {number}", sessions.keep(f"visitor {number}", run)) for number in range(3)]
    sessions.run(*keys[0])  # looked at: now the second is the oldest
    sessions.keep("one more", run)
    assert len(sessions) == 3
    assert sessions.run(*keys[0]) is run
    with pytest.raises(RunGoneError):
        sessions.run(*keys[1])


def test_an_answer_belongs_to_its_visitor(run: Run) -> None:
    sessions = Sessions()
    run_id = sessions.keep("me", run)
    with pytest.raises(RunGoneError, match=r"no longer kept"):
        sessions.run("you", run_id)
    assert len({sessions.keep(str(number), run) for number in range(20)}) == 20
    assert len(run_id) >= 20


def test_answers_are_freed_when_replaced_and_when_the_visitor_leaves(
    site: tuple[Page, str], direct: Capture
) -> None:
    page = site[0]
    sessions = page.sessions
    runs = [Run(direct, noise(0)) for _ in range(2)]
    gone = [weakref.ref(one) for one in runs]
    sessions.keep("me", runs.pop(0))
    sessions.keep("me", runs.pop(0))
    gc.collect()
    assert gone[0]() is None
    with page.jobs.started("me", "answer") as answer, page.jobs.started("me", "file") as file:
        page.on_leave(SimpleNamespace(session_hash="me"))  # type: ignore[arg-type]
        gc.collect()
        assert gone[1]() is None
        for job in (answer, file):
            assert job.stop.is_set()
            assert job.left_to == {"nobody"}


# --- Jobs ---------------------------------------------------------------------------------------------------


def test_a_new_question_stops_the_one_before() -> None:
    jobs = Jobs()
    with jobs.started("me", "answer") as first, jobs.started("you", "answer") as yours:
        with jobs.started("me", "file") as file, jobs.started("me", "check") as second:
            assert first.stop.is_set()
            assert first.left_to == {"check"}
            assert [job.stop.is_set() for job in (second, file, yours)] == [False] * 3
            assert not jobs.stop("me", "answer")  # it is not there any more
            assert jobs.stop("me", "check")
            assert second.stop.is_set()
            assert not second.left_to  # stopped, and still what is shown
        assert len(jobs) == 2  # the first is not at its end yet
        with jobs.started("me", "method"):
            assert first.left_to == {"check", "method"}
        assert not yours.stop.is_set()
    assert len(jobs) == 0
    assert not jobs.stop("you")


def test_work_is_followed_as_it_goes_on() -> None:
    step = threading.Event()

    def work(job: Job) -> str:
        job.waits(2)
        job.begins()
        job.steps(1, 9)
        job.steps(2, 9)
        step.wait(10)
        return "done"

    stream = Job("me", "check").follow(work)
    latest = next(stream)
    assert (latest.ahead, latest.begun, latest.done, latest.count) == (0, True, 2, 9)
    tick = next(stream)  # nothing new but the seconds
    assert replace(tick, seconds=latest.seconds) == latest
    assert tick.seconds > latest.seconds
    step.set()
    with pytest.raises(StopIteration, match="done"):
        exhaust(stream)


def exhaust(stream: Iterator[Any]) -> None:
    while True:
        next(stream)


def test_work_that_is_followed_hands_on_its_error() -> None:
    def work(_: Job) -> None:
        raise ValueError("one line")

    with pytest.raises(ValueError, match="one line"):
        list(Job("me", "check").follow(work))


@pytest.mark.parametrize("fails", [False, True])
def test_of_work_whose_place_is_taken_nothing_comes(fails: bool) -> None:
    def work(job: Job) -> str:
        job.end("answer")
        if fails:
            raise ValueError("too late")
        return "too late"

    with pytest.raises(Stopped):
        list(Job("me", "check").follow(work))


# --- The model ----------------------------------------------------------------------------------------------


def answered_by(
    tokens: int, on_token: Callable[[str, int], None] | None = None
) -> Callable[[Loaded], Capture]:
    """Return the task of answering about the first picture."""

    def answer(loaded: Loaded) -> Capture:
        extractor = AttentionExtractor(loaded.model, loaded.processor)
        return extractor.generate(noise(0), PROMPT, max_new_tokens=tokens, on_token=on_token)

    return answer


def test_only_one_model_is_in_memory(folders: tuple[Path, Path]) -> None:
    room = ModelRoom()
    before = weakref.ref(room.load(str(folders[0])).model)
    after = room.load(str(folders[1]))
    gc.collect()
    assert before() is None
    assert (after.layers, after.heads) == (2, 6)


def test_a_model_that_cannot_be_loaded_leaves_the_one_before(
    folders: tuple[Path, Path], tmp_path: Path
) -> None:
    room = ModelRoom()
    room.load(str(folders[0]))
    with pytest.raises(ModelError) as caught:
        room.load(str(tmp_path))
    assert len(str(caught.value).splitlines()) == 1
    assert room.loaded is not None
    assert room.loaded.name == str(folders[0])


def test_loading_waits_for_an_answer_and_does_not_break_it(folders: tuple[Path, Path]) -> None:
    room = ModelRoom()
    room.load(str(folders[0]))
    written, loaded = threading.Event(), threading.Event()
    found: list[Any] = []

    def on_token(_: str, tokens: int) -> None:
        written.set()
        assert not loaded.is_set()

    def answer() -> None:
        found.append(room.work(answered_by(12, on_token), Job("me", "answer")))

    writer = threading.Thread(target=answer)
    writer.start()
    assert written.wait(60)
    room.load(str(folders[1]))
    loaded.set()
    writer.join(60)
    assert len(found[0].token_ids) == 12
    assert found[0].model_name == str(folders[0])


def test_without_a_model_there_is_no_answer() -> None:
    with pytest.raises(ModelError, match="press Load first"):
        ModelRoom().work(answered_by(1), Job("me", "answer"))


def test_an_answer_stopped_before_it_began_is_none(site: tuple[Page, str]) -> None:
    job = Job("me", "answer")
    job.stop.set()
    with pytest.raises(Stopped):
        site[0].room.work(answered_by(LONG), job)
    assert not site[0].room.busy


# --- What a person reads ------------------------------------------------------------------------------------


def test_every_word_and_token_is_in_the_list(run: Run) -> None:
    listed = [key for _, key in choices(run)]
    assert len(listed) == len(set(listed))
    assert listed[0] == "all"
    words = [Pick(word.tokens) for word in run.processor.words()]
    words += [Pick(word.tokens, of_prompt=True) for word in run.processor.prompt_words()]
    tokens = [Pick((token,)) for token in range(NEW)]
    for pick in words + tokens:
        assert pick.key in listed
        assert pick_of(pick.key, run.capture) == pick
    assert "p0-7" in listed  # "Describe"


def test_the_first_word_shown_has_the_largest_share_on_the_image(run: Run) -> None:
    pick = first_pick(run)
    assert pick is not None
    words = [word for word in run.processor.words() if any(map(str.isalnum, word.text))]
    shares = [float(run.capture.shares[list(word.tokens), ..., 0].mean()) for word in words]
    assert pick.tokens == words[int(np.argmax(shares))].tokens


def chosen(run: Run, *texts: str, **rest: Any) -> Subject:
    """Return what /heatmap draws of an answer."""
    return subject_of(run, parsed_selection(run.capture, *texts, **rest))


def test_the_line_beneath_says_what_is_shown(run: Run) -> None:
    subject = chosen(run, "2", "0-1", "1", aggregation="max")
    image, prompt, answer = run.capture.shares[2, :2, 1].mean(dim=0).tolist()
    probability = float(run.capture.logprobs[2].exp())
    assert caption(run, subject) == (
        f'token 2 "{plain_text(run.capture.tokens[2])}" · layers 0–1 · head 1 · max · '
        f"{image * 100:.0f} % of its attention on the image "
        f"(prompt {prompt * 100:.0f} %, answer so far {answer * 100:.0f} %) · p = {probability:.2f}"
    )
    assert "p = " not in caption(run, chosen(run, "p0-7"))
    assert 'prompt tokens 0–7 "Describe"' in caption(run, chosen(run, "p0-7"))


def test_layers_that_were_not_recorded_are_named(site: tuple[Page, str]) -> None:
    loaded = site[0].room.loaded
    assert loaded is not None
    extractor = AttentionExtractor(loaded.model, loaded.processor, layers=[1])
    run = Run(extractor.generate(noise(0), PROMPT, max_new_tokens=2), noise(0))
    assert chosen(run, "0").selection.layers == (1,)
    with pytest.raises(ValueError, match=r"None of these layers was recorded; recorded: 1\."):
        chosen(run, "0", "2")


def test_picks_have_keys() -> None:
    assert Pick((3,)).key == "3"
    assert Pick((0, 1, 2, 5), of_prompt=True).key == "p0-2,5"


# --- Start --------------------------------------------------------------------------------------------------


def test_a_port_in_use_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert app.main(["--port", str(port)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        f"Port {port} at 127.0.0.1 cannot be used: another program listens there. "
        "Close it, or choose another port with --port."
    ]


def test_a_wrong_setting_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "MAX_CAPTURES", 0)
    assert app.main(["--port", str(free_port())]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("config.py: MAX_CAPTURES must be")


def test_a_wrong_colour_map_is_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(config, "HEATMAP_COLORMAP", "rainbows")
    assert app.main(["--port", str(free_port())]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_model_that_is_none_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert app.main(["--model", str(tmp_path), "--port", str(free_port())]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


# --- The bundled model --------------------------------------------------------------------------------------


def test_the_bundled_model_is_loaded_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_room, "default_model", lambda: "demo")
    page = serving_room.prepared(None)
    assert page.room.loaded is not None
    assert page.status_text().startswith("demo is ready: ")


def test_with_cuda_the_large_model_waits_for_a_click(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving_room, "default_model", lambda: config.MODEL_NAME)
    page = serving_room.prepared(None)
    assert page.room.loaded is None
    assert page.status_text() == f"{config.MODEL_NAME} is not loaded yet: press Load."

"""The page's callbacks: what is promised of a model, tried."""

from pathlib import Path

import pytest

import config
from evaluation import selftest
from page.model_room import ModelRoom
from page.site import Page
from records.store import Store
from tests.page.callbacks.kit import asked, form
from tests.page.telling import changes, refused, request

pytestmark = pytest.mark.timeout(120)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have what is found kept in a folder of this test."""
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "cache"))


def test_each_promise_is_told_and_stands_with_later_answers(
    page: Page, pictures: list[dict[str, str]]
) -> None:
    verify = page.verify
    shown = list(verify.on_verify(request()))
    assert shown[0][verify.found] == "Trying …"
    assert changes(shown[0][verify.button])["interactive"] is False
    last = shown[-1]
    assert changes(last[verify.button])["interactive"] is True
    assert changes(last[verify.stop])["visible"] is False
    lines = last[verify.found].splitlines()
    marks = [line for line in lines if line.startswith(("✓", "✗"))]
    assert [line.split(":")[0] for line in marks] == [f"✓ {claim.name}" for claim in selftest.CLAIMS]
    assert lines[-1] == "All 6 hold. Later answers carry this in their reports."
    answer = asked(page, form(pictures[0], reuse=False))[-1]
    settings = page.sessions.run("me", answer[page.run_id]).capture.settings
    assert settings["verified"].startswith("verified: template ")


def test_it_can_be_stopped_between_two(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    def stopping(bench: selftest.Bench) -> selftest.Measured:
        page.jobs.stop("me", "check")
        return selftest.template(bench)

    first = selftest.CLAIMS[0]._replace(measure=stopping)
    monkeypatch.setattr(selftest, "CLAIMS", (first, *selftest.CLAIMS[1:]))
    last = list(page.verify.on_verify(request()))[-1]
    lines = last[page.verify.found].splitlines()
    assert [line[0] for line in lines if line.startswith(("✓", "✗"))] == ["✓"]
    assert lines[-1] == "Stopped: not all was tried."


def test_without_a_model_it_says_what_to_do(tmp_path: Path) -> None:
    page = Page(ModelRoom(), "demo", store=Store(tmp_path / "kept"))
    (only,), line = refused(page.verify.on_verify(request()))
    assert line == "No model is loaded: press Load first."
    assert only[page.verify.found] == line

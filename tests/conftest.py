"""What every test shares: no network, one thread, a browser, a tiny model that comes back as it was lent."""

import os
import signal

# Before any import reads them: nothing calls home, whatever a test does, and no window is opened. Several
# threads make tiny models slower, most of all in what tests start: threads wait for each other at full speed.
os.environ.update(
    HF_HUB_OFFLINE="1",
    GRADIO_ANALYTICS_ENABLED="False",
    MPLBACKEND="Agg",
    OMP_NUM_THREADS=os.environ.get("TEST_THREADS", "1"),
)

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from playwright.sync_api import Browser, sync_playwright
from torch import nn

import config
from scripts.chromium import chromium_path
from tests.inputs.tally import counted, table
from tests.tiny import tiny_model

torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
signal.signal(
    signal.SIGINT, signal.default_int_handler
)  # what runs in the background starts with Ctrl-C ignored

STARTS = {"subprocess", "in_a_shell", "load_elsewhere"}  # names in a file of tests that starts processes


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a browser, so that `-m "not browser"` leaves it out, and begin with such files.

    They take longest, then those that start processes, each of which imports everything anew: processes that
    work side by side, a file at a time, then end at about the same time.
    """
    needing = {item for item in items if "chromium" in getattr(item, "fixturenames", ())}
    for item in needing:
        item.add_marker("browser")
    in_browser = {item.path for item in needing}
    starting = {item.path for item in items if STARTS & vars(getattr(item, "module", None) or item).keys()}
    items.sort(key=lambda item: (item.path not in in_browser, item.path not in starting))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how many inputs the tests of tests/inputs tried, and what became of them."""
    reports = [report for some in ("passed", "failed") for report in terminalreporter.stats.get(some, [])]
    if counts := counted(reports):
        terminalreporter.section("inputs")
        for line in table(counts):
            terminalreporter.write_line(line)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep captures in a folder of the test's own, and never in the person's."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setattr(config, "CACHE_DIR", str(folder))
    return folder


@pytest.fixture(autouse=True, scope="session")
def sessions_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The same for pages that several tests share."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(config, "CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def shared_tiny() -> tuple[Any, Any]:
    return tiny_model()


@pytest.fixture
def tiny(shared_tiny: tuple[Any, Any]) -> Iterator[tuple[Any, Any]]:
    """Lend the session's tiny (model, processor); fail the test that leaves it changed."""
    before = traces(shared_tiny[0])
    yield shared_tiny
    assert traces(shared_tiny[0]) == before, "the test left hooks, modes, gradients or a backend behind"


@pytest.fixture(scope="session")
def chromium() -> str:
    """Return the path of Debian's Chromium. Without it a browser test is skipped, but in CI it fails."""
    path = chromium_path()
    if path is None and os.environ.get("CI") == "true":
        pytest.fail("Chromium is missing, and in CI the browser tests must run: apt-get install chromium")
    if path is None:
        pytest.skip("there is no Chromium on this computer: apt install chromium")
    return path


@pytest.fixture(scope="module")
def browser(chromium: str) -> Iterator[Browser]:
    """A running Chromium; a module's, as no other event loop can run in Playwright's thread meanwhile."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        yield browser
        browser.close()


def traces(model: nn.Module) -> dict[str, Any]:
    """Return what a room may change on a model for a while and must put back."""
    parts: Any = model.config
    configs = (parts, parts.text_config, parts.vision_config)
    return {
        "hooks": {
            name: len(module._forward_hooks) + len(module._forward_pre_hooks) + len(module._backward_hooks)
            for name, module in model.named_modules()
        },
        "modes": {name: module.training for name, module in model.named_modules()},
        "requires_grad": {name: weight.requires_grad for name, weight in model.named_parameters()},
        "gradients": [name for name, weight in model.named_parameters() if weight.grad is not None],
        "backends": [part._attn_implementation for part in configs],
        "forwards": [name for name, module in model.named_modules() if "forward" in vars(module)],
    }

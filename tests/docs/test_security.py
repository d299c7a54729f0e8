"""docs/security.md: each promise names tests that are there, and the limits are those of config.py."""

import re
from pathlib import Path

import config
import page.limits as limits
from page.sources import bytes_of

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "security.md").read_text("utf-8")


def test_every_promise_links_to_a_test() -> None:
    promises = [line for line in TEXT.partition("## Limits")[0].splitlines() if line.startswith("| ")][2:]
    assert len(promises) > 8
    for promise in promises:
        links = re.findall(r"\]\((\.\./tests/[^)]+)\)", promise.split(" | ")[-1])
        assert links, promise
        for link in links:
            assert (ROOT / "docs" / link).resolve().is_file(), link


def test_the_limits_are_those_of_the_settings() -> None:
    for name in ("MAX_VISITOR_BYTES", "MAX_KEPT_BYTES", "MAX_CACHE_BYTES", "MAX_FILES_BYTES"):
        assert f"`{name}`, {getattr(config, name) // 10**9} GB" in TEXT
    assert f"`MAX_UPLOAD`, {bytes_of(config.MAX_UPLOAD) // 10**6} MB" in TEXT
    assert f"`QUEUE_SIZE`, {config.QUEUE_SIZE} " in TEXT
    assert f"{limits.MOST_SENDING // 10**6} MB" in TEXT
    assert f"{limits.MOST_UNREAD:,}" in TEXT
    assert f"| {limits.WORKERS}, " in TEXT

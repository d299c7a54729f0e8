"""What a self-test of a checkpoint found, and where it is kept.

Goes in: findings, one for each thing that was tried. Comes out: lines for a person, one line for a record, a
small file beside the kept answers. Knows nothing of models.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import config
from records.capture import Capture

ROOT = Path(__file__).parent.parent
FOLDER = "verified"  # in CACHE_DIR


@dataclass(frozen=True)
class Finding:
    """One thing that was tried on a checkpoint."""

    name: str  # such as "rows"
    tried: str  # in words
    passed: bool
    figure: str  # what was measured, and what is allowed
    seconds: float
    bytes: int | None  # at most, above those before; None where that cannot be told
    remedy: str  # what to do where it failed

    @property
    def line(self) -> str:
        """The finding on one line; with what to do, where it failed."""
        took = f"{self.seconds:.1f} s" + (f", {self.bytes / 2**20:.0f} MB" if self.bytes is not None else "")
        told = f"{'pass' if self.passed else 'FAIL'}  {self.name}: {self.tried}: {self.figure} ({took})"
        return told if self.passed else f"{told}. {self.remedy}"


@dataclass(frozen=True)
class Verification:
    """All that was tried on a checkpoint."""

    model: str
    dtype: str
    backend: str
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether all of it passed."""
        return all(finding.passed for finding in self.findings)

    @property
    def summary(self) -> str:
        """One line for a record: "verified: ids 8 of 8 equal, rows 4e-07, … in float32 with sdpa"."""
        told = [one for one in self.findings if one.passed == self.passed]
        listed = ", ".join(f"{one.name} {one.figure.partition(' (')[0]}" for one in told)
        return f"{'verified' if self.passed else 'failed'}: {listed}, in {self.dtype} with {self.backend}"


def keep_verification(key: str, found: Verification) -> None:
    """Keep what was found under the checkpoint's key; OSError where it cannot be written."""
    folder = _folder()
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / f".{key}.{os.getpid()}"
    unfinished.write_text(json.dumps(asdict(found)), encoding="utf-8")
    unfinished.replace(folder / f"{key}.json")


def kept_verification(key: str | None) -> Verification | None:
    """Return what was found of the checkpoint with this key; None where nothing readable is kept."""
    if key is None:
        return None
    try:
        facts = json.loads((_folder() / f"{key}.json").read_text("utf-8"))
        findings: Sequence[dict[str, object]] = facts.pop("findings")
        return Verification(**facts, findings=tuple(Finding(**one) for one in findings))  # type: ignore[arg-type]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def with_verification(capture: Capture, key: str | None) -> Capture:
    """Return a capture that carries what the self-test of its checkpoint found, if there was one."""
    found = kept_verification(key)
    if found is None:
        return capture
    return replace(capture, settings={**capture.settings, "verified": found.summary})


def _folder() -> Path:
    return ROOT / config.CACHE_DIR / FOLDER

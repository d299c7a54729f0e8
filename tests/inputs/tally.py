"""How many inputs were tried, by kind, and what became of them.

Goes in: each input's kind and outcome. Comes out: counts that a test's report carries, also from another
process, and the table of them all at the end of a run.
"""

from collections.abc import Iterable
from typing import Any

NAME = "inputs"  # of the property of a test's report

Counts = dict[str, list[int]]  # of each kind: how many came out right, how many were refused


class Tally:
    """What one test has tried: plain data, which a report takes as it is when it is made."""

    def __init__(self) -> None:
        self.counts: Counts = {}

    def right(self, kind: str) -> None:
        """Count an input that came to a right result."""
        self.counts.setdefault(kind, [0, 0])[0] += 1

    def refused(self, kind: str) -> None:
        """Count an input that was refused in one clear line."""
        self.counts.setdefault(kind, [0, 0])[1] += 1


def counted(reports: Iterable[Any]) -> Counts:
    """Return the counts of all tests whose reports carry some."""
    counts: Counts = {}
    for report in reports:
        for name, found in getattr(report, "user_properties", ()):
            for kind, (right, refused) in found.items() if name == NAME else ():
                before = counts.get(kind, [0, 0])
                counts[kind] = [before[0] + right, before[1] + refused]
    return counts


def table(counts: Counts) -> list[str]:
    """Return the counts as lines: a row for each kind, and their sums."""
    rows = [*sorted(counts.items()), ("all", [sum(column) for column in zip(*counts.values(), strict=True)])]
    width = max(len(kind) for kind, _ in rows)
    head = f"{'':{width}}  inputs   right  refused in one clear line"
    return [head, *(f"{kind:{width}}  {right + no:6,}  {right:6,}  {no:7,}" for kind, (right, no) in rows)]

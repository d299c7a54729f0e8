"""What an answer will record at most, before it begins.

Goes in: counts. Comes out: bytes, and a line. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Plan:
    """The counts that decide how much of an answer is recorded."""

    visual: int  # tokens of the picture
    text: int  # other positions before the answer
    prompt: int  # of them, the person's
    new: int  # tokens of the answer, at most
    layers: int
    heads: int
    itemsize: int  # bytes of one weight

    @property
    def bytes(self) -> int:
        """The bytes that the record takes at most: weights, shares, and attention to text."""
        rows = (self.new + self.prompt) * self.layers * self.heads
        weights, shares = rows * self.visual * self.itemsize, rows * 3 * 4
        return weights + shares + self.new * self.layers * (self.text + self.new) * 4

    @property
    def line(self) -> str:
        """The plan on one line."""
        counts = f"{self.visual:,} visual tokens, at most {self.new:,} new ones"
        return f"{counts}, {self.layers} layers × {self.heads} heads: up to {size_text(self.bytes)} recorded"


def size_text(count: int) -> str:
    """Return a number of bytes as people write it: "37 MB", "1.5 GB"."""
    if count < 10**9:
        return f"{max(1, round(count / 10**6)):,} MB"
    return f"{count / 10**9:,.1f} GB"

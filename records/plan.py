"""What an answer will record at most, before it begins.

Goes in: counts. Comes out: bytes, and a line. Knows nothing of models.
"""

from __future__ import annotations

from dataclasses import dataclass

from records.keep import ALL, Keep, rows_kept


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
    keep: Keep = ALL  # what is kept of the heads
    in_file: bool = False  # recorded into a file, not into memory

    @property
    def bytes(self) -> int:
        """The bytes that the record takes at most: weights, shares, and attention to text."""
        of_layers = (self.new + self.prompt) * self.layers
        weights = of_layers * rows_kept(self.keep, self.heads) * self.visual * self.itemsize
        return weights + of_layers * self.heads * 3 * 4 + self.text_bytes

    @property
    def text_bytes(self) -> int:
        """The bytes of the attention to text, which grow with the square of the answer's length."""
        return self.new * self.layers * (self.text + self.new) * 4

    @property
    def line(self) -> str:
        """The plan on one line."""
        counts = f"{self.visual:,} visual tokens, at most {self.new:,} new ones"
        where = " into a file" * self.in_file
        return f"Up to {size_text(self.bytes)} recorded{where}: {counts}, {self._rows}"

    @property
    def _rows(self) -> str:
        """What is recorded of layers and heads, in words."""
        if not isinstance(self.keep, str):
            count, layers = len(self.keep), self.layers
            return f"{count} head{'s' * (count > 1)} in {layers} layer{'s' * (layers > 1)}"
        return f"{self.layers} layers × {'' if self.keep == ALL else 'the mean of '}{self.heads} heads"


def size_text(count: int) -> str:
    """Return a number of bytes as people write it: "37 MB", "1.5 GB"."""
    if count < 10**9:
        return f"{max(1, round(count / 10**6)):,} MB"
    return f"{count / 10**9:,.1f} GB"

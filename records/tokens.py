"""Tokens as text: what each token of a byte-level vocabulary adds, and where it stands in the whole.

Goes in: a tokenizer, or the bytes of tokens. Comes out: texts and spans of characters. Token ids never go
through text and back. Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any

Span = tuple[int, int]  # first character and the one after the last


class Vocabulary:
    """What each token of a byte-level BPE tokenizer adds to a text."""

    def __init__(self, tokenizer: Any) -> None:
        self._tokenizer = tokenizer
        self._added = dict(tokenizer.added_tokens_decoder)
        self._special = set(tokenizer.all_special_ids)
        self._bytes = _byte_values()

    def piece(self, token: int) -> bytes:
        """Return the bytes that the token adds to the text; a special token, or an id without one, adds none.

        Raises:
            ValueError: if the vocabulary is not byte-level BPE.
        """
        spelling = self._tokenizer.convert_ids_to_tokens(token)
        if token in self._special or spelling is None:
            return b""
        if token in self._added:
            added = self._added[token]
            return b"" if added.special else str(added.content).encode()
        if not all(letter in self._bytes for letter in spelling):
            raise ValueError(f"token {token} ({spelling!r}) is not of a byte-level vocabulary")
        return bytes(self._bytes[letter] for letter in spelling)

    def written(self, token: int) -> bytes:
        """Return the bytes that stand for the token in what a person wrote: of a special one, its name."""
        return self.piece(token) or (self._tokenizer.convert_ids_to_tokens(token) or "").encode()

    def shown(self, token: int) -> str:
        """Return the display text: the token's text, "⟨E4 BD⟩" for bytes of a split character, its name."""
        if piece := self.piece(token):
            return spelled([piece])[0]
        return self._tokenizer.convert_ids_to_tokens(token) or f"⟨token {token}⟩"


def spelled(pieces: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
    """Return the text that the pieces of UTF-8 make together, and each piece's span of characters in it.

    A piece that holds part of a character has that whole character in its span. Bytes that are no character
    are written as "⟨E4 BD⟩" and are one unit, brackets included. An empty piece has an empty span.
    """
    joined = b"".join(pieces)
    text, starts, ends = "", [0] * len(joined), [0] * len(joined)  # of the unit that each byte belongs to
    at = 0
    for size, unit in _units(joined):
        starts[at : at + size], ends[at : at + size] = [len(text)] * size, [len(text) + len(unit)] * size
        text, at = text + unit, at + size
    spans, at = [], 0
    for piece in pieces:
        if piece:
            spans.append((starts[at], ends[at + len(piece) - 1]))
        else:
            spans.append((spans[-1][1],) * 2 if spans else (0, 0))
        at += len(piece)
    return text, tuple(spans)


def _units(data: bytes) -> Iterator[tuple[int, str]]:
    """Yield (number of bytes, display text) for each character, and for each run of bytes that are none."""
    decoded = data.decode(
        "utf-8", errors="surrogateescape"
    )  # a byte that is no character becomes U+DC80..U+DCFF
    for broken, run in groupby(decoded, key=lambda character: "\udc80" <= character <= "\udcff"):
        if broken:
            values = [ord(character) - 0xDC00 for character in run]
            yield len(values), "⟨" + " ".join(f"{value:02X}" for value in values) + "⟩"
        else:
            yield from ((len(character.encode()), character) for character in run)


def unfinished(data: bytes) -> int:
    """Return the number of bytes at the end that begin a character and do not complete it."""
    for size in range(1, min(3, len(data)) + 1):
        try:
            data[-size:].decode()
        except UnicodeDecodeError as error:
            if error.start == 0 and error.reason == "unexpected end of data":
                return size
        else:
            return 0
    return 0


def _byte_values() -> dict[str, int]:
    """Return the byte that each letter of a byte-level vocabulary stands for.

    Bytes that print are written as themselves, the others as the letters from U+0100 on, in order (as in
    GPT-2).
    """
    printing = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in printing]
    letters = {chr(byte): byte for byte in printing}
    return letters | {chr(0x100 + index): byte for index, byte in enumerate(others)}

"""Which characters of a text are shown, before any font is asked.

Goes in: any text, as a model or a person wrote it. Comes out: one line without invisible characters. Knows
nothing of fonts.
"""

import unicodedata

ISOLATES = "\u2068\u2069"  # Unicode's marks around text of a writing direction of its own
INVISIBLE = ("Cc", "Cf", "Cs", "Co", "Cn")


def isolated(text: str) -> str:
    """The text marked so that its writing direction leaves what is around it in place."""
    return f"{ISOLATES[0]}{text}{ISOLATES[1]}"


def plain_text(text: str) -> str:
    """The text in one line: line breaks and tabs as signs, other invisible characters left out."""
    signs = {"\n": "↵", "\r": "", "\t": "⇥"}
    shown = (signs.get(c, c) for c in text)
    return "".join(c for c in shown if c in ISOLATES or unicodedata.category(c) not in INVISIBLE)

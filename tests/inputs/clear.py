"""What one clear line is: what a person is told of anything that is refused.

Goes in: a line, and what the person typed themselves. Comes out: nothing, or an assertion that says what is
wrong with the line.
"""

import re
import tempfile
import unicodedata
from pathlib import Path

LONGEST = 400  # characters: three lines of a page
VAGUE = ("something went wrong", "error: unexpected ")  # what is told of our own mistakes

# What belongs to a program and not to a person.
INSIDES = {
    "a traceback": r"Traceback|File \"|, line \d+, in ",
    "an address in memory": r"0x[0-9a-fA-F]{4,}|<[\w.]+ object",
    "a name of Python's": r"\b[A-Za-z]\w*(Error|Exception|Warning)\b|NoneType|\bself\.|__\w+__",
    "a file object": r"BytesIO|_io\.|BufferedReader",
    "a library": r"\b(PIL|numpy|torch|transformers|tokenizers|gradio|orjson|argparse|cv2)\b",
    "a code of the system": r"\bErrno\b|\bcodec\b|surrogates not allowed|embedded null",
    "a name of ours": r"invalid \w+_\w+ value",
}
ROOTS = (str(Path(__file__).parents[2]), tempfile.gettempdir(), "/usr/", "/root", "/home/", "site-packages")


def one_clear_line(line: str, *typed: str) -> None:
    """Return if a line is one that a person can be told; what they `typed` may stand in it as it is.

    Raises:
        AssertionError: it is empty, has several lines or characters that are not seen, is too long, says
            nothing of what is wrong, or shows a program's insides or a path of the server.
    """
    told = repr(line[: 2 * LONGEST])
    assert line.strip(), "nothing is told"
    assert len(line.splitlines()) == 1, f"several lines: {told}"
    hidden = [c for c in line if unicodedata.category(c) in ("Cc", "Cs")]
    assert not hidden, f"characters that are not seen: {hidden[:3]} in {told}"
    assert len(line) <= LONGEST, f"{len(line)} characters: {told}"
    own = line
    for text in sorted((text for text in typed if len(text.strip()) > 2), key=len, reverse=True):
        own = own.replace(text, "…")
    assert not any(vague in own.lower() for vague in VAGUE), f"nothing of what is wrong: {told}"
    for what, pattern in INSIDES.items():
        assert not re.search(pattern, own), f"{what}: {told}"
    assert not any(root in own for root in ROOTS), f"a path of the server: {told}"
    assert len(own.split()) >= 3, f"no sentence: {told}"

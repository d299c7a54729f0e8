"""One chat template, tried: a script that tells whether it ends, in little time and memory.

Goes in: the template, as UTF-8 on standard input. Comes out: an exit code, 3 if it does not end, unless the
system ends it first. What it writes, and whether it fails, is judged elsewhere (see `templates.ends`). It is
run in a process of its own, and imports the template engine alone, set up as transformers sets it up.
"""

import contextlib
import json
import sys
from typing import Any

from jinja2 import TemplateError
from jinja2.ext import Extension
from jinja2.nodes import Node
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

SECONDS, BYTES = 3, 1_000_000_000  # of the processor, and of memory
LONGEST = 1_000_000  # characters of what is written
PART = {"type": "text", "text": "What is this?"}
Turn = dict[str, Any]
QUESTION: Turn = {"role": "user", "content": [{"type": "image"}, PART]}
SYSTEM, ANSWER = ({"role": role, "content": [PART]} for role in ("system", "assistant"))
CHATS: tuple[list[Turn], ...] = ([QUESTION], [SYSTEM, QUESTION, ANSWER, QUESTION])


class Generation(Extension):
    """The tag around what a model writes: here just what is in it."""

    tags = {"generation"}  # noqa: RUF012  (as the engine has it)

    def parse(self, parser: Parser) -> list[Node]:
        """Return what is inside."""
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def bound() -> None:
    """Take this process's own means away, where the system knows how."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        for kind, most in ((resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_AS, BYTES)):
            with contextlib.suppress(ValueError, OSError):  # fewer already
                resource.setrlimit(kind, (most, most))


def refuse(message: str) -> None:
    """Do what a template may ask for."""
    raise TemplateError(message)


def ends(template: str, chat: list[Turn], **keywords: Any) -> bool:
    """Return whether the template of a chat ends; an error is an end too."""
    engine = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[Generation, "jinja2.ext.loopcontrols"]
    )
    engine.filters["tojson"] = lambda value, **_: json.dumps(value)
    engine.globals.update(raise_exception=refuse, strftime_now=lambda _: "")
    try:
        length = 0
        for piece in engine.from_string(template).generate(
            messages=chat, add_generation_prompt=True, tools=None, documents=None, **keywords
        ):
            length += len(piece)
            if length > LONGEST:
                return False
    except MemoryError:
        return False
    except Exception:
        return True
    return True


if __name__ == "__main__":
    bound()
    text = sys.stdin.buffer.read().decode("utf-8", "replace")
    tried = (ends(text, chat, enable_thinking=thinks) for chat in CHATS for thinks in (False, True))
    sys.exit(0 if all(tried) else 3)

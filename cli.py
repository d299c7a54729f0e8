"""The command line: `python cli.py attention|gradcam|check|evaluate|methods|export|batch|selftest`.

Goes in: arguments. Comes out: files in a folder; the answer on stdout; progress and errors of one line on
stderr. Knows nothing of hooks, tensors or pages.

Each command is a file in commands/ (its help, its arguments, what is refused before anything slow begins), a
file in commands/run/ (what it does) and a row in COMMANDS.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from importlib import import_module
from typing import NoReturn, Protocol

import config
from commands import attention, batch, check, evaluate, export, gradcam, methods, selftest
from commands.terminal import FailedError, StoppedEarlyError, UsageError, refusal, say
from utils import WHOLE, one_line

FAILED, REFUSED, STOPPED = 1, 2, 130  # exit codes: our mistake or a failed test, something to correct, Ctrl-C

# Arguments that may begin with a minus.
JOINED = ("--layers", "--heads", "--tokens", "--target", "--patches", "--crop")


class Command(Protocol):
    """What a file of commands/ holds of a command; what it does stands in commands/run/, by its name."""

    HELP: str  # the first line is its summary

    def add_arguments(self, command: argparse.ArgumentParser) -> None:
        """Add the command's arguments."""

    def check(self, args: argparse.Namespace) -> None:
        """Raise UsageError for what can be refused before anything slow begins."""


COMMANDS: dict[str, Command] = {
    "attention": attention,
    "gradcam": gradcam,
    "check": check,
    "evaluate": evaluate,
    "methods": methods,
    "export": export,
    "batch": batch,
    "selftest": selftest,
}


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage text."""

    def error(self, message: str) -> NoReturn:
        """Raise UsageError."""
        raise UsageError(f"{one_line(message)} (see {self.prog} --help)")


def parser() -> OneLineParser:
    """Return the parser of all commands."""
    root = OneLineParser(
        prog="python cli.py", description="Show which parts of an image each word came from."
    )
    commands = root.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for name, command in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=command.HELP.splitlines()[0],
            description=command.HELP,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.add_arguments(sub)
        sub.add_argument("--debug", action="store_true", help="on an error, show where it came from")
        sub.set_defaults(check=command.check, work=name)
    return root


def joined_negatives(argv: Sequence[str]) -> list[str]:
    """Return the arguments with "--layers=-2,-1" for "--layers -2,-1", which argparse cannot read."""
    joined: list[str] = []
    for argument in argv:
        if joined and joined[-1] in JOINED and re.match(r"-\d", argument):
            joined[-1] += f"={argument}"
        else:
            joined.append(argument)
    return joined


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code: 0, 2 (something to correct), 130 (Ctrl-C), 1 (our mistake)."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(AttributeError):  # a replaced stream: its owner decides
            stream.reconfigure(errors="replace")  # type: ignore[union-attr]
    debug = False
    try:
        config.validate()
        args = parser().parse_args(joined_negatives(sys.argv[1:] if argv is None else argv))
        debug = args.debug
        args.check(args)
        import_module(f"commands.run.{args.work}").run(args)  # with the model's libraries, which take seconds
    except FailedError:
        return FAILED
    except StoppedEarlyError:
        return STOPPED
    except KeyboardInterrupt:
        say("Stopped: nothing was written.")
        return STOPPED
    except Exception as error:
        if debug:
            raise
        told = refusal(error)
        if told is None:
            say(f"error: unexpected {type(error).__name__}: {one_line(error)} (--debug shows where)")
            return FAILED
        say(f"error: {one_line(told, WHOLE)}")
        return REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())

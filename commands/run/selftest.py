"""The work of `selftest`: each promise is tried and told."""

from __future__ import annotations

import argparse

from commands.run.answers import loaded, model_name
from commands.terminal import FailedError, printable, say
from evaluation.selftest import environment, self_test
from model import checkpoint, verification_key
from records.verification import Finding, keep_verification


def run(args: argparse.Namespace) -> None:
    """Try every promise and print what came of it.

    Raises:
        FailedError: if one of them failed.
    """
    for name, text in environment().items():
        print(f"      {name}: {text}")
    model, processor = loaded(args)

    def tell(finding: Finding) -> None:
        print(printable(finding.line), flush=True)

    found = self_test(model, processor, tell=tell)
    key = verification_key(checkpoint(model_name(args)))
    if key is not None:
        try:
            keep_verification(key, found)
        except OSError as error:
            say(f"note: what was found could not be kept: {error.strerror or error}")
    print(printable(found.summary))
    if not found.passed:
        raise FailedError

"""The work of `methods`: the catalogue, in words."""

from __future__ import annotations

import argparse
from textwrap import fill

from methods import METHODS, Method


def run(args: argparse.Namespace) -> None:
    """Print the catalogue."""
    print("\n\n".join(map(entry, METHODS.values())))


def entry(method: Method) -> str:
    """Return what the list says of a method."""
    needs = "reads the answer again" if method.needs_model else "at once"
    needs += f", only for {method.needs.only}" if method.needs else ""
    told = fill(f"{method.what} {method.caveat}", 100, initial_indent="  ", subsequent_indent="  ")
    return f"{method.name}: {method.label} ({needs})\n{told}\n  {method.paper}"

"""Chat templates as they are found: which of them can be used, and what stands in where none can.

Goes in: folders, a processor. Comes out: one template, and why it is not the first that was found. A template
is of use if it writes one picture, then the question as it was put.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from model.checkpoint import AGAIN, MOST_TEMPLATE, check_size, read_json
from model.errors import ModelError
from model.families import Processor
from model.thinking import template_keywords
from utils import one_line

MARK = "\ue000"  # stands for the question; for private use, so that no template writes it
TRIAL = Path(__file__).with_name("template_trial.py")
IS_ENDLESS = 3  # the trial's exit code
PATIENCE = 30.0  # seconds; the trial itself has fewer of the processor's
ENDLESS = "does not end, or takes too much memory"
QUESTION = "What <is> “this”, & where?"  # what escaping, quoting and changing cases would spoil


def templates_in(folders: Iterable[Path], name: str) -> list[tuple[str, str]]:
    """Return the chat templates in the folders, each with its file's name, in the order in which they count.

    Raises:
        ModelError: for a file that cannot be read.
    """
    found: list[tuple[str, Any]] = []
    for folder in folders:
        if (folder / "chat_template.jinja").is_file():
            check_size(folder / "chat_template.jinja", name, MOST_TEMPLATE)
            try:
                text = (folder / "chat_template.jinja").read_text("utf-8-sig")
            except (OSError, ValueError):
                raise ModelError(f"{name}: chat_template.jinja cannot be read as text; {AGAIN}.") from None
            found.append(("chat_template.jinja", text))
        found += [
            (file, read_json(folder / file, name).get("chat_template"))
            for file in ("chat_template.json", "processor_config.json", "tokenizer_config.json")
            if (folder / file).is_file()
        ]
    named = [(file, _default(template)) for file, template in found]
    return [(file, template) for file, template in named if template.strip()]


def _default(template: Any) -> str:
    """Return a template's text; of several with names the one that counts, "" where there is none."""
    if isinstance(template, list):
        named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
        template = named.get("default")
    if isinstance(template, dict):
        template = template.get("default")
    return template if isinstance(template, str) else ""


def chosen_template(
    processor: Processor,
    found: Sequence[tuple[str, str]],
    standard: str,
    label: str,
) -> tuple[str, list[str]]:
    """Return the first template that is of use, else the `standard` one of the family `label`; and notes."""
    faults = []
    for place, template in found:
        fault = fault_of(processor, template)
        if not fault:
            instead = f"that of {place}"
            break
        faults.append(f"the chat template in {place} {fault}")
    else:
        template, instead = standard, f"the standard one of {label}"
        faults = faults or ["it has no chat template"]
    return template, [f"{fault}: {instead} is used" for fault in faults]


def fault_of(processor: Processor, template: str) -> str:
    """Return what is wrong with a template, "" where it is of use."""
    if not ends(template):
        return ENDLESS
    try:
        around = _rendered(processor, template, MARK)
        question = _rendered(processor, template, QUESTION)
    except Exception as error:  # Jinja's, and whatever an expression in it raises
        return f"takes no picture ({one_line(error, 60)})"
    pictures = around.count(processor.image_token)
    if pictures != 1:
        return f"writes the picture {pictures} times" if pictures else "leaves out the picture"
    if around.count(MARK) != 1:
        return "repeats the question" if MARK in around else "leaves out the question"
    if around.index(MARK) < around.index(processor.image_token):
        return "puts the question before the picture"
    return "" if question == around.replace(MARK, QUESTION) else "changes the question"


@cache
def ends(template: str) -> bool:
    """Return whether a template comes to its end, in a process of its own with little time and memory.

    It is a program that came with the checkpoint. It reaches nothing but its own texts, and still can count
    to a billion. Where none can be tried, it is taken as it is.
    """
    try:
        done = subprocess.run(  # noqa: S603  (our own script)
            [sys.executable, "-P", str(TRIAL)],
            input=template.encode("utf-8", "replace"),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    except OSError:
        return True
    return done.returncode != IS_ENDLESS and done.returncode >= 0  # below 0: the system ended it


def _rendered(processor: Processor, template: str, prompt: str) -> str:
    turn = {"role": "user", "content": [{"type": "image"}, {"type": "text", "text": prompt}]}
    return processor.apply_chat_template(
        [turn],
        chat_template=template,
        tokenize=False,
        add_generation_prompt=True,
        **template_keywords(template, thinking=False),
    )

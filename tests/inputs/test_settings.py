"""Any setting, of any type and in any order: taken as it was given, or refused in one clear line."""

import re
from collections.abc import Callable
from typing import Any, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

import config
from page import network
from page.api import look_said
from page.cams import layers_of, target_of, typed_target
from page.environment import VARIABLES
from page.inputs import generation_settings, gradient_settings, refusal
from page.selection import Controls, look_of, pick_of
from page.sessions import Run
from page.sources import opened
from records.generation import GenerationSettings
from records.look import Look
from records.selection import parsed_selection
from records.targets import target_choice
from tests.attention_processor.kit import made_capture
from tests.inputs.clear import one_clear_line
from tests.inputs.kit import TIMES, refusal_of
from tests.inputs.tally import Tally
from tests.inputs.values import LOOK, WANTED, anything, ranges

CAPTURE = made_capture()
RUN = Run(CAPTURE, (Image.new("RGB", (196, 140)),))
COUNT = len(CAPTURE.token_ids)
GENERATION = {
    "max_new_tokens": 6,
    "temperature": None,
    "top_p": None,
    "seed": 0,
    "generation": None,
    "top_k": None,
    "repetition_penalty": None,
    "thinking": None,
}
GRADIENT = {"method": "grad-cam", "samples": 3, "noise": 0.1, "seed": 0}
SAID = {"colormap": None, "alpha": None, "view": None, "cells": None}
CHOSEN = {"tokens": "0", "layers": "all", "heads": "all", "method": "attention", "scale": "own", "by": "word"}


class Entry(NamedTuple):
    """Where settings come in: what is called with them all, those that it takes, what may stand in each."""

    take: Callable[[dict[str, Any]], Any]
    taken: dict[str, Any]
    values: st.SearchStrategy[Any] = anything


ENTRIES = {
    "how an answer is generated": Entry(lambda s: generation_settings(*s.values()), GENERATION),
    "how it is generated, in Python": Entry(lambda s: GenerationSettings.of(**s), GENERATION),
    "how a gradient is computed": Entry(lambda s: gradient_settings(*s.values()), GRADIENT),
    "the viewer's look": Entry(look_of, LOOK),
    "the API's look": Entry(lambda s: look_said(*s.values()), SAID),
    "a look, in Python": Entry(lambda s: Look(**s), dict.fromkeys(["colormap", "alpha", "smooth", "vmax"])),
    "the viewer's choice": Entry(lambda s: Controls.of(s).selection(CAPTURE, "0"), WANTED, anything | ranges),
    "a choice as it is typed": Entry(
        lambda s: parsed_selection(CAPTURE, *map(str, list(s.values())[:3]), **dict(list(s.items())[3:])),
        CHOSEN,
        anything | ranges,
    ),
    "a pick": Entry(lambda s: pick_of(s["key"], CAPTURE), {"key": "0"}, anything | ranges),
    "layers of Grad-CAM": Entry(lambda s: layers_of(RUN, s["layers"]), {"layers": "auto"}, anything | ranges),
    "a target as it is chosen": Entry(
        lambda s: target_of(RUN, *s.values()),
        {"kind": "contrast", "key": "0", "text": "a", "place": "answer", "other": "b"},
        anything | ranges | st.sampled_from(["all", "word", "text", "contrast"]),
    ),
    "a target as it is typed": Entry(
        lambda s: typed_target(RUN, str(s["target"]), str(s["at"])), {"target": "text:a", "at": "0"}, ranges
    ),
    "a picture as it is chosen": Entry(lambda s: opened(s), {"example": 0, "path": None}),
}


@pytest.mark.parametrize("name", ENTRIES)
@settings(max_examples=70 * TIMES, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_every_setting_is_taken_or_refused(tally: Tally, name: str, data: st.DataObject) -> None:
    """One to three are changed; whatever comes of it is told as the page tells it."""
    entry = ENTRIES[name]
    changed = data.draw(st.lists(st.sampled_from(list(entry.taken)), min_size=1, max_size=3, unique=True))
    given_values = {**entry.taken, **{one: data.draw(entry.values) for one in changed}}
    try:
        entry.take(given_values)
    except Exception as error:
        one_clear_line(refusal(error))
        tally.refused(f"settings: {name}")
    else:
        tally.right(f"settings: {name}")


@pytest.mark.parametrize("name", ENTRIES)
def test_what_the_entries_take_is_taken(name: str) -> None:
    ENTRIES[name].take(ENTRIES[name].taken)


@settings(max_examples=200 * TIMES)
@given(data=st.data())
def test_numbers_that_are_taken_are_those_that_were_given(tally: Tally, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from([name for name, value in GENERATION.items() if name != "generation"]))
    value = data.draw(anything)
    found: list[dict[str, Any]] = []
    if refusal_of(
        ValueError, lambda: found.append(generation_settings(*{**GENERATION, name: value}.values()))
    ):
        tally.refused("numbers")
        return
    assert found[0][name] == value
    assert type(found[0][name]) in (type(None), bool if name == "thinking" else int, float)
    tally.right("numbers")


def slowly(text: str, count: int) -> set[int] | None:
    """Return the numbers that a text names, read by hand; None if it names one that is not there."""
    named: set[int] = set()
    for part in text.split(","):
        ends = re.findall(r"-?\d+", part.replace(" ", "").replace("-", " -").replace(", -", ",-"))
        match = re.fullmatch(r"\s*(-?\d{1,9})(\s*-\s*(-?\d{1,9}))?\s*", part)
        if not ends or not match:
            return None
        first, last = int(match[1]), int(match[3] or match[1])
        if not all(-count <= end < count for end in (first, last)):
            return None
        first, last = (end + count if end < 0 else end for end in (first, last))
        if first > last:
            return None
        named |= {number for number in range(count) if first <= number <= last}
    return named


@settings(max_examples=200 * TIMES)
@given(ranges)
def test_a_pick_names_the_tokens_that_are_typed(tally: Tally, text: str) -> None:
    plain = text.strip().lower()
    expected = set(range(COUNT)) if text.strip() in ("all", "answer") else slowly(text, COUNT)
    if plain.startswith("p"):
        return
    if refusal_of(ValueError, pick_of, text, CAPTURE) is None:
        assert set(pick_of(text, CAPTURE).tokens) == expected
        tally.right("picks")
    else:
        assert not expected
        tally.refused("picks")


@settings(max_examples=150 * TIMES)
@given(ranges)
def test_a_target_is_read_or_refused(tally: Tally, text: str) -> None:
    refused = refusal_of(ValueError, target_choice, text) is not None
    (tally.refused if refused else tally.right)("targets as they are typed")


# --- config.py and the network ------------------------------------------------------------------------------


@settings(max_examples=300 * TIMES)
@given(st.lists(st.tuples(st.sampled_from(sorted(config.RULES)), anything), min_size=1, max_size=4))
def test_config_takes_a_value_or_names_the_first_wrong_one(
    tally: Tally, changes: list[tuple[str, Any]]
) -> None:
    """In every order of changes, the setting that is named is the first in the file."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in changes:
            patch.setattr(config, name, value)
        wrong = [name for name, (_, accepts) in config.RULES.items() if not accepts(getattr(config, name))]
        line = refusal_of(ValueError, config.validate)
    if line is None:
        assert not wrong
        tally.right("config.py")
        return
    assert not wrong or line.startswith(f"config.py: {wrong[0]} must be ")
    tally.refused("config.py")


@settings(max_examples=200 * TIMES)
@given(
    st.dictionaries(st.sampled_from(sorted(VARIABLES)), anything, max_size=3),
    st.dictionaries(
        st.sampled_from([one for some in VARIABLES.values() for one in some]), ranges, max_size=3
    ),
)
def test_the_network_is_settled_or_the_wrong_setting_is_named(
    tally: Tally, command_line: dict[str, Any], variables: dict[str, str]
) -> None:
    typed = [str(value) for value in command_line.values()] + list(variables.values())
    if refusal_of(ValueError, network.chosen, command_line, variables, typed=tuple(typed)) is None:
        tally.right("network")
    else:
        tally.refused("network")

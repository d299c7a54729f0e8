"""What a word came from is hidden, and the question is asked again."""

import numpy as np
import pytest

from attention_processor import AttentionProcessor
from page.hiding import without_half
from page.sessions import Run
from page.site import Page
from page.sources import opened
from tests.choosing import wanted
from tests.page.callbacks.kit import form
from tests.page.kit import NEW
from tests.page.telling import refused, request, viewed
from tests.serving import noise

pytestmark = pytest.mark.timeout(120)


def test_the_question_is_asked_about_the_picture_without_it(page: Page, run: Run, mine: str) -> None:
    asked = form({}, reuse=False)[
        1:-1
    ]  # the question and its settings, neither picture nor whether it is known
    first, *_, last = page.again.on_hide(request(), mine, None, "1-2", wanted(), *asked, None)
    heat = AttentionProcessor(run.capture).get_attention_heatmap_for_token([1, 2])
    source = first[page.sources.image]
    hidden = without_half(noise(0), heat)
    assert np.array_equal(np.asarray(opened(source)[0]), np.asarray(hidden))
    assert not np.array_equal(np.asarray(hidden), np.asarray(noise(0)))
    seen = viewed(page, last)
    assert seen["value"]["facts"]["source"] == source
    assert len(seen["value"]["answer"]["tokens"]) == NEW
    assert seen["notice"]["text"].endswith("is hidden in this picture.")


def test_without_an_answer_there_is_nothing_to_hide(page: Page) -> None:
    outputs, line = refused(page.again.on_hide(request(), None, None, "1", wanted(), *form({})[1:-1], None))
    assert line == "There is no answer yet: ask something first."
    assert all(page.sources.image not in one for one in outputs)

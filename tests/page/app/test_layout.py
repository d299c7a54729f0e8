"""The page as it is served: what a person reads."""

import pytest

from attention_extractor import AttentionExtractor
from drawing.characters import plain_text
from page.selection import Pick, pick_of
from page.sessions import Run
from page.shown import caption, choices
from page.site import Page
from tests.page.app.kit import NEW, chosen
from tests.serving import PROMPT, noise

pytestmark = [
    pytest.mark.timeout(240),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]


def test_every_word_and_token_is_in_the_list(run: Run) -> None:
    listed = [key for _, key in choices(run)]
    assert len(listed) == len(set(listed))
    assert listed[0] == "all"
    words = [Pick(word.tokens) for word in run.processor.words()]
    words += [Pick(word.tokens, of_prompt=True) for word in run.processor.prompt_words()]
    tokens = [Pick((token,)) for token in range(NEW)]
    for pick in words + tokens:
        assert pick.key in listed
        assert pick_of(pick.key, run.capture) == pick
    assert "p0-7" in listed  # "Describe"


def test_the_line_beneath_says_what_is_shown(run: Run) -> None:
    subject = chosen(run, "2", "0-1", "1", aggregation="max")
    image, prompt, answer = run.capture.shares[2, :2, 1].mean(dim=0).tolist()
    probability = float(run.capture.logprobs[2].exp())
    assert caption(run, subject) == (
        f'token 2 "{plain_text(run.capture.tokens[2])}" · layers 0–1 · head 1 · max · '
        f"{image * 100:.0f} % of its attention on the image "
        f"(prompt {prompt * 100:.0f} %, answer so far {answer * 100:.0f} %) · p = {probability:.2f}"
    )
    assert "p = " not in caption(run, chosen(run, "p0-7"))
    assert 'prompt tokens 0–7 "Describe"' in caption(run, chosen(run, "p0-7"))


def test_layers_that_were_not_recorded_are_named(site: tuple[Page, str]) -> None:
    loaded = site[0].room.loaded
    assert loaded is not None
    extractor = AttentionExtractor(loaded.model, loaded.processor, layers=[1])
    run = Run(extractor.generate(noise(0), PROMPT, max_new_tokens=2), (noise(0),))
    assert chosen(run, "0").selection.layers == (1,)
    with pytest.raises(ValueError, match=r"None of these layers was recorded; recorded: 1\."):
        chosen(run, "0", "2")


def test_picks_have_keys() -> None:
    assert Pick((3,)).key == "3"
    assert Pick((0, 1, 2, 5), of_prompt=True).key == "p0-2,5"

"""The page in a browser: several pictures of one question, and the moments of a clip."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Page as Tab

from attention_extractor import AttentionExtractor
from attention_processor import AttentionProcessor
from page.site import Page
from records.capture import Capture
from records.videos import open_video
from tests.clips import write_clip
from tests.page.browser.kit import NEW, allow, becomes, generate, says, upload
from tests.page.browser.test_accessible import in_both_themes
from tests.seeing import draws, part, said, state
from tests.serving import PROMPT, noise

pytestmark = [
    pytest.mark.timeout(280),
    # Gradio's queue statistics use what this pandas deprecates.
    pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning"),
]
NAMES = ("a.png", "b.png", "tall.png")


@pytest.fixture(scope="module")
def pictures(files: Path) -> tuple[Image.Image, ...]:
    """Pictures of three shapes, in the folder too."""
    tall = noise(5, (168, 84))
    tall.save(files / "tall.png")
    return noise(0), noise(1), tall


@pytest.fixture(scope="module")
def clip(files: Path) -> Path:
    return write_clip(files / "clip.mp4", frames=8, size=(112, 168), rate=Fraction(2))


def extractor(site: tuple[Page, str]) -> AttentionExtractor:
    loaded = site[0].room.loaded
    assert loaded is not None
    return AttentionExtractor(loaded.model, loaded.processor)


@pytest.fixture(scope="module")
def several(site: tuple[Page, str], pictures: tuple[Image.Image, ...]) -> Capture:
    """The answer about all three, generated without the page."""
    return extractor(site).generate(pictures, PROMPT, max_new_tokens=NEW)


def choose_files(tab: Tab, *files: Path) -> None:
    """Choose files at once, and wait until they are what is asked about."""
    tab.set_input_files("#image input[type=file]", [str(file) for file in files])
    tab.wait_for_selector("#image .tile:not([aria-busy])")
    for file in files:
        tab.wait_for_selector(f'#image .thumb[title="{file.name}"][aria-pressed=true]', state="attached")


def ask_all(tab: Tab, files: Path) -> None:
    choose_files(tab, *(files / name for name in NAMES))
    allow(tab, NEW)
    generate(tab)


def shares_shown(tab: Tab) -> list[str]:
    return [said(one) for one in tab.locator(".lens-visual-share").all()]


def part_of(capture: Capture, key: str, visual: int) -> np.ndarray:
    """Return the picture's part (h, w) of the map of tokens such as "2" or "all", worked out directly."""
    tokens = range(len(capture.token_ids)) if key == "all" else [int(end) for end in key.split("-")]
    chosen = list(tokens) if key == "all" else list(range(tokens[0], tokens[-1] + 1))
    return AttentionProcessor(capture).get_attention_heatmap_for_token(chosen, visual=visual)


def expect_part(tab: Tab, capture: Capture, visual: int) -> None:
    becomes(tab, "plane", visual)
    truth = part_of(capture, state(tab)["pick"]["key"], visual)
    whole = max(float(np.ptp(part_of(capture, state(tab)["pick"]["key"], one))) for one in range(3))
    draws(tab, truth, 2 * whole / 65535 + 1e-7)


def test_several_files_are_one_question_and_each_picture_has_its_part_of_the_map(
    tab: Tab, files: Path, pictures: tuple[Image.Image, ...], several: Capture
) -> None:
    ask_all(tab, files)
    key = state(tab)["pick"]["key"]
    sums = [part_of(several, key, visual).sum() for visual in range(3)]
    most = int(np.argmax(sums))
    expect_part(tab, several, most)  # the picture with most of the picked word's map is shown
    shown = [float(text.removesuffix(" %")) for text in shares_shown(tab)]
    assert shown == pytest.approx([100 * one / sum(sums) for one in sums], abs=0.51)
    for visual in range(3):
        tab.locator(".lens-visual-show").nth(visual).click()
        expect_part(tab, several, visual)
        canvas = part(tab, "picture").bounding_box()
        assert canvas is not None
        width, height = pictures[visual].size
        assert canvas["width"] / canvas["height"] == pytest.approx(width / height, rel=0.02)
    tab.locator(".lens-visual-show").nth(2).click()  # let go: it follows the word again
    expect_part(tab, several, most)


def test_keys_go_from_picture_to_picture(tab: Tab, files: Path, several: Capture, pictures: object) -> None:
    ask_all(tab, files)
    tab.keyboard.press("Escape")
    tab.keyboard.press("Shift+Digit1")
    expect_part(tab, several, 0)
    tab.keyboard.press("]")
    expect_part(tab, several, 1)
    tab.keyboard.press("]")
    tab.keyboard.press("]")  # there is none beyond the last
    expect_part(tab, several, 2)
    tab.keyboard.press("[")
    expect_part(tab, several, 1)
    first = tab.locator(".lens-visual-show").first
    first.focus()
    tab.keyboard.press("3")
    expect_part(tab, several, 2)
    assert state(tab)["look"]["view"] == "overlay"  # a digit there is no view


def test_pictures_are_added_removed_and_put_in_another_order(
    tab: Tab, files: Path, site: tuple[Page, str], pictures: tuple[Image.Image, ...]
) -> None:
    upload(tab, files / "a.png")
    assert part(tab, "strip").is_hidden()
    tab.click("#image .several")
    upload(tab, files / "b.png")
    upload(tab, files / "tall.png")
    items = tab.locator(".lens-visual")
    assert [one.get_attribute("title") for one in tab.locator(".lens-visual-show").all()] == list(NAMES)
    says(tab, "notice", "Ask to see what these pictures bring")
    tab.locator(".lens-visual-show").nth(2).focus()
    tab.keyboard.press("Alt+ArrowLeft")
    titles = "[...document.querySelectorAll('.lens-visual-show')].map((one) => one.title)"
    tab.wait_for_function(f"{titles}.join() === 'a.png,tall.png,b.png'")
    items.nth(0).hover()
    items.nth(0).locator(".lens-visual-remove").click()
    tab.wait_for_function(f"{titles}.join() === 'tall.png,b.png'")
    allow(tab, NEW)
    generate(tab)
    capture = extractor(site).generate([pictures[2], pictures[1]], PROMPT, max_new_tokens=NEW)
    assert [visual.grid for visual in capture.visuals] == [(1, 6, 3), (1, 5, 8)]
    key = state(tab)["pick"]["key"]
    sums = [part_of(capture, key, visual).sum() for visual in range(2)]
    assert state(tab)["visualShares"] == pytest.approx([one / sum(sums) for one in sums], abs=1e-3)


def test_dragging_a_picture_puts_it_where_it_is_dropped(tab: Tab, files: Path, pictures: object) -> None:
    choose_files(tab, *(files / name for name in NAMES))
    items = tab.locator(".lens-visual")
    items.nth(2).wait_for()
    items.nth(0).drag_to(items.nth(2))
    titles = "[...document.querySelectorAll('.lens-visual-show')].map((one) => one.title)"
    tab.wait_for_function(f"{titles}.join() === 'b.png,tall.png,a.png'")


def test_one_that_is_no_picture_is_named_and_the_others_stay(tab: Tab, files: Path) -> None:
    tab.set_input_files(
        "#image input[type=file]", [str(files / name) for name in ("a.png", "text.png", "b.png")]
    )
    tab.wait_for_function("document.querySelector('.sources-line').textContent.startsWith('text.png: ')")
    tab.wait_for_function("document.querySelectorAll('#image .thumb[aria-pressed=true]').length === 2")
    allow(tab, NEW)
    generate(tab)
    assert len(shares_shown(tab)) == 2


def test_the_map_of_a_word_is_tested_on_the_picture_that_has_most_of_it(
    tab: Tab, site: tuple[Page, str], files: Path, several: Capture, pictures: object
) -> None:
    ask_all(tab, files)
    key = state(tab)["pick"]["key"]
    most = int(np.argmax([part_of(several, key, visual).sum() for visual in range(3)]))
    tab.keyboard.press("t")
    tab.wait_for_selector(".lens-try")
    tab.locator(".lens-try").nth(2).wait_for()
    (*_, run) = site[0].sessions._runs.values()
    (kept,) = run.checks.values()
    assert kept.visual == most
    h, w = several.visuals[most].grid[1:]
    assert kept.patches == h * w
    heat = part_of(several, key, most)
    assert kept.hottest_cells[0] == heat.argmax()


def test_a_clip_has_its_moments(tab: Tab, site: tuple[Page, str], clip: Path) -> None:
    upload(tab, clip)
    allow(tab, NEW)
    generate(tab)
    capture = extractor(site).generate(open_video(clip), PROMPT, max_new_tokens=NEW)
    (visual,) = capture.visuals
    steps = visual.grid[0]
    assert steps == 4
    key = state(tab)["pick"]["key"]
    chosen = range(len(capture.token_ids)) if key == "all" else range(*ends(key))
    found = AttentionProcessor(capture).get_attention_heatmap_for_token(list(chosen))  # (t, h, w)
    hottest = int(found.sum(axis=(1, 2)).argmax())
    becomes(tab, "plane", hottest)  # the moment that the word looks at most
    within = 2 * float(np.ptp(found)) / 65535 + 1e-7
    draws(tab, found[hottest], within)
    assert said(part(tab, "momentOf")) == f"frame pair {hottest + 1} of 4"
    part(tab, "scrub").fill("0")
    draws(tab, found[0], within)
    tab.keyboard.press("]")
    draws(tab, found[1], within)
    tab.wait_for_function(  # the texts are written with the next picture
        """time => {
             const { textContent } = document.querySelector('[data-part=moment]');
             return Math.abs(Number.parseFloat(textContent) - time) < 0.051;
           }""",
        arg=visual.times[1],
    )
    share = found[1].sum() / found.sum()
    assert float(said(part(tab, "momentShare")).split(" %")[0]) == pytest.approx(100 * share, abs=0.51)
    part(tab, "frames").locator("button").nth(2).click()
    draws(tab, found[2], within)
    part(tab, "play").click()
    becomes(tab, "plane", 3)  # it plays to the end
    tab.wait_for_function("document.querySelector('[data-part=play]').getAttribute('aria-label') === 'Play'")


def ends(key: str) -> tuple[int, int]:
    first, *rest = key.split("-")
    return int(first), int((rest or [first])[0]) + 1


def test_a_clips_map_is_tested_and_the_moment_of_what_is_hidden_is_shown(
    tab: Tab, site: tuple[Page, str], clip: Path
) -> None:
    upload(tab, clip)
    allow(tab, NEW)
    generate(tab)
    tab.keyboard.press("t")
    tab.locator(".lens-try").nth(2).wait_for()
    (*_, run) = site[0].sessions._runs.values()
    (kept,) = run.checks.values()
    (visual,) = run.capture.visuals
    assert (kept.patches, kept.visual) == (visual.count, 0)
    _, h, w = visual.grid
    steps = np.bincount(kept.hottest_cells[: kept.telling] // (h * w), minlength=visual.grid[0])
    nothing, hottest, _ = tab.locator(".lens-try p span").all_inner_texts()
    for name in (nothing, hottest):
        at = float(name.partition(" at ")[2].removesuffix(" s"))
        assert at == pytest.approx(visual.times[int(steps.argmax())], abs=0.051)
    assert hottest.startswith(f"{kept.telling} hottest hidden")


def test_an_example_joins_with_the_button_pressed_and_takes_the_place_without(tab: Tab, files: Path) -> None:
    thumbs = tab.locator("#image .thumb")
    thumbs.nth(1).click()
    assert tab.locator("#image .thumb[aria-pressed=true]").count() == 1
    tab.click("#image .several")
    thumbs.nth(3).click()
    tab.wait_for_function("document.querySelectorAll('.lens-visual').length === 2")
    thumbs.nth(1).click()  # again: it is taken out
    tab.wait_for_function("document.querySelectorAll('#image .thumb[aria-pressed=true]').length === 1")
    tab.click("#image .several")
    thumbs.nth(2).click()
    assert tab.locator("#image .thumb[aria-pressed=true]").count() == 1


def test_axe_finds_nothing_in_strip_and_moments(tab: Tab, files: Path, clip: Path) -> None:
    choose_files(tab, files / "a.png", clip)
    allow(tab, NEW)
    generate(tab)
    tab.keyboard.press("Shift+Digit2")
    part(tab, "scrubber").wait_for()
    assert in_both_themes(tab, "light", "several") == []

"""What came from a browser, checked: the picture, the question, the settings. And what is told of an error.

Goes in: values as they were sent, which may be anything. Comes out: values that can be used, or one line
that says why not. Knows nothing of Gradio.
"""

import logging
from typing import Any

import config
from model import ModelError
from page.queue import FullError
from page.sessions import RunGoneError
from records.generation import GenerationSettings
from records.grad_cam import LABELS
from utils import HALF, WHOLE, disk_problem, is_broken, one_line

UNEXPECTED = "Something went wrong. The terminal in which the page was started shows what."
MOST_NEW_TOKENS = max(1024, config.MAX_NEW_TOKENS)
MOST_ANSWER_CHARACTERS = 20_000  # of an answer that was written elsewhere
MOST_SAMPLES = max(50, config.GRADCAM_SAMPLES)

log = logging.getLogger(__name__)


class RefusedError(ValueError):
    """Something that the person can put right; the message is one line."""


def refusal(error: Exception) -> str:
    """Return the one line that a person is told; what they cannot put right is logged in full."""
    kinds = {kind.__name__ for kind in type(error).__mro__}
    if "OutOfMemoryError" in kinds or isinstance(error, MemoryError):
        return "There is not enough memory. A smaller picture or fewer new tokens need less."
    if isinstance(error, (ModelError, ValueError, RunGoneError, FullError)):
        return one_line(error, WHOLE)
    log.error("unexpected", exc_info=error)
    if problem := disk_problem(error):
        return f"This page cannot write what it needs to: {problem}. Whoever runs it can mend that."
    return UNEXPECTED


def asked(prompt: Any) -> str:
    """Return the question if it is one; the model's tokenizer has the last word."""
    if not isinstance(prompt, str) or not prompt.strip():
        raise RefusedError("Type a question first.")
    return _held(prompt, "question", config.MAX_PROMPT_CHARACTERS).strip()


def system_prompt(text: Any) -> str | None:
    """Return the text of a system turn; None where there is none, and the chat template has its own."""
    if text is None or text == "":
        return None
    if not isinstance(text, str):
        raise RefusedError("The system prompt must be a text.")
    return _held(text, "system prompt", config.MAX_PROMPT_CHARACTERS)


def _held(text: str, name: str, limit: int) -> str:
    """Return a text that is whole and of at most so many characters; RefusedError for another."""
    if len(text) > limit:
        raise RefusedError(f"The {name} has {len(text):,} characters; at most {limit:,} are allowed.")
    if is_broken(text):
        raise RefusedError(f"The {name} {HALF}.")
    return text


def generation_settings(
    max_new_tokens: Any,
    temperature: Any,
    top_p: Any,
    seed: Any,
    generation: Any = None,
    top_k: Any = None,
    repetition_penalty: Any = None,
    thinking: Any = None,
) -> dict[str, Any]:
    """Return the settings as keywords of `GenerationSettings.of`; None is config's, or none of one's own."""
    limit = whole_within(max_new_tokens, "Max new tokens", 1, MOST_NEW_TOKENS)
    start = whole_within(seed, "The seed", 0, 2**53)
    own = {
        "temperature": _own(temperature, "The temperature", 0, 10),
        "top_p": _own(top_p, "Top-p", 0, 1, above=True),
        "top_k": None if top_k is None else whole_within(top_k, "Top-k", 0, 1_000_000),
        "repetition_penalty": _own(repetition_penalty, "The repetition penalty", 0, 10, above=True),
    }
    settings = {
        "generation": generation,
        "max_new_tokens": limit,
        "seed": start,
        "thinking": thinking,
        **own,
    }
    GenerationSettings.of(**settings)
    return settings


def menu_settings(
    max_new_tokens: Any, seed: Any, generation: Any, thinking: Any, *own: Any, asks: bool
) -> tuple[Any, ...]:
    """Return the menu's settings in the order of `generation_settings`.

    `own` are temperature, top-p, top-k and repetition penalty, which the menu shows only where they count; so
    it does `thinking`, where the model `asks` for it.
    """
    temperature, top_p, top_k, penalty = own if generation == "own" else [None] * 4
    thinks = thinking is True if asks else None
    return max_new_tokens, temperature, top_p, seed, generation, top_k, penalty, thinks


def given_answer(text: Any) -> str | None:
    """Return an answer that was written elsewhere; None where there is none, and the model is to answer."""
    if text is None or text == "":
        return None
    if not isinstance(text, str) or not text.strip():
        raise RefusedError("The answer to explain is empty.")
    return _held(text, "answer", MOST_ANSWER_CHARACTERS)


def _own(value: Any, name: str, low: float, high: float, *, above: bool = False) -> float | None:
    """Return a value of one's own from low to high, `above` low; None stays None."""
    if value is None:
        return None
    number = number_within(value, name, low, high)
    if above and number == low:
        raise RefusedError(f"{name} must be above {low:g}.")
    return float(number)


def gradient_settings(method: Any, samples: Any, noise: Any, seed: Any) -> dict[str, Any]:
    """Return the settings of Smooth Grad-CAM as keywords for it."""
    if not isinstance(method, str) or method not in LABELS:
        raise RefusedError(f"The method must be one of {', '.join(LABELS)}.")
    return {
        "method": method,
        "num_samples": whole_within(samples, "Samples", 1, MOST_SAMPLES),
        "noise_std": float(number_within(noise, "The noise", 0, 10)),
        "seed": whole_within(seed, "The seed", 0, 2**53),
    }


def whole_within(value: Any, name: str, low: int, high: int) -> int:
    """Return a whole number from low to high, which may be written as 3.0; RefusedError for anything else."""
    number = number_within(value, name, low, high)
    if number != int(number):
        raise RefusedError(f"{name} must be a whole number.")
    return int(number)


def number_within(value: Any, name: str, low: float, high: float) -> float:
    """Return a number from low to high; RefusedError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise RefusedError(f"{name} must be a number from {low:g} to {high:,.0f}.")
    return value

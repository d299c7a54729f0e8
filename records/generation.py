"""How an answer is generated: as the checkpoint says, greedily, or by values of one's own.

Goes in: what a person chose; what is left open is read from `config`. Comes out: `GenerationSettings`,
checked. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast, get_args

import config
from utils import shown

Generation = Literal["checkpoint", "greedy", "own"]
OWN = ("temperature", "top_p", "top_k", "repetition_penalty")  # count with generation "own" only


@dataclass(frozen=True)
class GenerationSettings:
    """How an answer is generated.

    `generation` is "checkpoint" (the checkpoint's own generation_config), "greedy" (the likeliest token each
    time) or "own" (the four values below, which are None otherwise).
    """

    generation: Generation
    max_new_tokens: int
    seed: int  # of the draw
    temperature: float | None = None  # 0 takes the likeliest token, above 0 draws
    top_p: float | None = None  # draw from the likeliest tokens that together reach this probability
    top_k: int | None = None  # draw from so many of the likeliest tokens; 0 from all
    repetition_penalty: float | None = None  # above 1 makes tokens that were there less likely
    thinking: bool | None = None  # whether the template has the model think aloud first; None: by `config`

    def __post_init__(self) -> None:
        """Refuse what is out of range, and a value that would not count."""
        if self.generation not in get_args(Generation):
            known = ", ".join(get_args(Generation))
            raise ValueError(f"generation must be one of {known}; got {shown(self.generation)}")
        if not _is_whole(self.max_new_tokens):
            raise ValueError(f"max_new_tokens must be a whole number; got {shown(self.max_new_tokens)}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1; got {shown(self.max_new_tokens)}")
        if not _is_whole(self.seed) or not 0 <= self.seed < 2**63:
            raise ValueError(f"seed must be a whole number from 0 to 2**63 - 1; got {shown(self.seed)}")
        if self.thinking is not None and not isinstance(self.thinking, bool):
            raise ValueError(f"thinking must be True or False; got {shown(self.thinking)}")
        if self.generation == "own":
            self._check_own()
        elif given := [name for name in OWN if getattr(self, name) is not None]:
            raise ValueError(f'{given[0]} counts only with generation="own"; got "{self.generation}"')

    def _check_own(self) -> None:
        """Raise unless the four values are there and within their ranges."""
        if not _is_number(self.temperature) or not 0 <= cast(float, self.temperature) < math.inf:
            raise ValueError(f"temperature must be 0 (greedy) or above; got {shown(self.temperature)}")
        if not _is_number(self.top_p) or not 0 < cast(float, self.top_p) <= 1:
            raise ValueError(f"top_p must be above 0 and at most 1; got {shown(self.top_p)}")
        if not _is_whole(self.top_k) or cast(int, self.top_k) < 0:
            raise ValueError(
                f"top_k must be a whole number, 0 (all tokens) or above; got {shown(self.top_k)}"
            )
        if not _is_number(self.repetition_penalty) or not 0 < cast(float, self.repetition_penalty) < math.inf:
            raise ValueError(f"repetition_penalty must be above 0; got {shown(self.repetition_penalty)}")

    @classmethod
    def of(
        cls,
        generation: str | None = None,
        max_new_tokens: int | None = None,
        temperature: float | None = None,
        top_p: float | None = None,
        top_k: int | None = None,
        repetition_penalty: float | None = None,
        seed: int | None = None,
        thinking: bool | None = None,
    ) -> GenerationSettings:
        """Return the settings; what is None is read from `config`.

        Without `generation`, a value of one's own means "own".

        Raises:
            ValueError: for a value out of range, or one that would not count.
        """
        own: dict[str, Any] = dict(zip(OWN, (temperature, top_p, top_k, repetition_penalty), strict=True))
        if generation is None:
            has_own = any(value is not None for value in own.values())
            generation = "own" if has_own else config.GENERATION
        if generation == "own":
            own |= {name: getattr(config, name.upper()) for name in OWN if own[name] is None}
        return cls(
            cast(Generation, generation),
            max_new_tokens=config.MAX_NEW_TOKENS if max_new_tokens is None else max_new_tokens,
            seed=config.SEED if seed is None else seed,
            thinking=thinking,
            **own,
        )

    @property
    def identity(self) -> dict[str, Any]:
        """What of these settings can change the answer, JSON-ready; a greedy one has no use for a seed."""
        known = asdict(self)
        del known["thinking"]
        if self.generation == "greedy" or self.temperature == 0:
            known |= {"generation": "greedy", "seed": None, **dict.fromkeys(OWN)}
            known["repetition_penalty"] = float(self.repetition_penalty or 1)
        elif self.generation == "own":
            known |= {name: float(known[name]) for name in OWN}
        return known | thinking_identity(self.thinking)


def thinking_identity(thinking: bool | None) -> dict[str, bool]:
    """Return what thinking aloud first adds to an answer's identity; None is read from `config`."""
    return {"thinking": config.THINKING if thinking is None else thinking}


def asked_again(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return how an answer was generated, from a capture's settings, as keywords of `GenerationSettings.of`.

    Of one that was given, not generated, whether it thinks aloud first: the rest is read from `config`.
    """
    how, names = settings.get("generation"), ["thinking"]
    if how in get_args(Generation):
        names += ["generation", "max_new_tokens", "seed", *(OWN if how == "own" else ())]
    return {name: settings[name] for name in names if name in settings}


def generation_text(settings: Mapping[str, Any]) -> str:
    """Return how an answer was generated, from a capture's settings: what chose its words, each value."""
    by = {
        "checkpoint": ["as the checkpoint says"],
        "own": ["by own values"],
        "given": ["given, not generated"],
    }
    how = list(by.get(settings.get("generation", ""), []))
    if settings.get("generation") != "given":
        how.append("drawn" if settings.get("temperature") else "greedy")
    apart = ("generation", "verified", "boxes", "cell", "system", "crop", "parent")
    values = sorted((name, value) for name, value in settings.items() if name not in apart)
    return ", ".join([*how, *(f"{name.replace('_', ' ')} {value}" for name, value in values)])


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)

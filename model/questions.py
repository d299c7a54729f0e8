"""A question as a checkpoint's chat template writes it, and where the person's text stands in it.

Goes in: a processor, a prompt, and what stands before it or between its words. Comes out: the text, and the
places of its parts. Knows nothing of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

import config
from model.errors import PromptError
from model.families import Processor
from model.thinking import template_keywords
from records.tokens import Span, spelled
from records.visuals import PLACEHOLDERS, Kind, placeholders
from utils import HALF, is_broken

if TYPE_CHECKING:
    from model.encoding import Encoded

OF_PICTURES = re.compile("vision|image|video")  # in the names of tokens that stand for them, or around them
# This and those after it stand for texts in a chat template; they are for private use, so that none has them.
MARK = "\ue000"


class Slot(NamedTuple):
    """A place in a question where a picture or a clip stands."""

    kind: Kind


@dataclass(frozen=True)
class Written:
    """A question in the checkpoint's own chat template, one token for each picture."""

    text: str
    starts: tuple[int, ...]  # where each part of the person's text stands in it
    parts: tuple[str, ...]  # these parts; pictures may stand between them


def token_of(processor: Processor, kind: Kind) -> str:
    """Return the token that the chat template writes for a picture, or for a clip."""
    return str(processor.image_token if kind == "image" else processor.video_token)


def visual_tokens(processor: Processor) -> re.Pattern[str]:
    """Return what finds these tokens in a chat."""
    return re.compile("|".join(re.escape(token_of(processor, kind)) for kind in PLACEHOLDERS))


def written_question(
    processor: Processor, prompt: str, kinds: Sequence[Kind], thinking: bool, system: str | None = None
) -> Written:
    """Return the question in the chat template; PromptError for a prompt that cannot be read."""
    _check_prompt(prompt)
    check_system(system)
    content = content_of(prompt, kinds)
    parts = [part for part in content if isinstance(part, str)]
    texts = [*([system] if system else []), *parts]
    around = template_around(processor, content, thinking, system)
    for text in parts:
        check_tokens(processor.tokenizer, "".join(around), text)
    check_tokens(processor.tokenizer, "".join(around), system or "", "system prompt")
    whole, starts = around[0], []
    for text, after in zip(texts, around[1:], strict=True):
        starts.append(len(whole))
        whole += text + after
    expected = [token_of(processor, kind) for kind in kinds]
    if visual_tokens(processor).findall(whole) != expected:
        missing = "a clip" if "video" in kinds else "a picture"
        raise PromptError(f"The checkpoint's chat template has no place for {missing}.")
    return Written(whole, tuple(starts[-len(parts) :]), tuple(parts))


def content_of(prompt: str, kinds: Sequence[Kind]) -> list[str | Slot]:
    """Return the texts of a question in order, and visuals: first, or where the prompt says so."""
    place = placeholders(kinds)
    places, expected = place.findall(prompt), [PLACEHOLDERS[kind] for kind in kinds]
    slots = [Slot(kind) for kind in kinds]
    if not places:
        return [*slots, prompt]
    if places != expected:
        raise PromptError(
            f"The prompt says {_listed(places)} and is about {_counted(kinds)}: it has to say so for each of "
            "them, in their order, or for none."
        )
    content: list[str | Slot] = []
    for slot, part in zip([None, *slots], place.split(prompt), strict=True):
        content += [slot] if slot else []
        content += [part] if part else []
    if not any(isinstance(part, str) and part.strip() for part in content):
        raise PromptError("The prompt is empty.")
    return content


def _listed(places: Sequence[str]) -> str:
    """Return places as they are said: "<image> twice", "<image>, <video>"."""
    if len(set(places)) > 1:
        return ", ".join(places)
    times = {1: "once", 2: "twice"}.get(len(places), f"{len(places)} times")
    return f"{places[0]} {times}"


def _counted(kinds: Sequence[Kind]) -> str:
    """Return how many there are of each: "one picture", "2 pictures and one clip"."""
    names = {"image": "picture", "video": "clip"}
    counts = {names[kind]: kinds.count(kind) for kind in dict.fromkeys(kinds)}
    return " and ".join(f"one {name}" if count == 1 else f"{count} {name}s" for name, count in counts.items())


def in_prompt(offsets: Tensor, written: Written, processor: Processor, characters: Sequence[int]) -> Tensor:
    """Return whether each token (token,) has a character of the person's text.

    Offsets count in the text as it was read, where so many characters stand for each visual's one token.
    """
    tokens = visual_tokens(processor).finditer(written.text)
    ends = [(token.end(), count - len(token[0])) for token, count in zip(tokens, characters, strict=True)]
    found = offsets.new_zeros(len(offsets), dtype=torch.bool)
    for start, part in zip(written.starts, written.parts, strict=True):
        longer = sum(more for end, more in ends if end <= start)
        found |= _within(offsets, start + longer, len(part))
    return found


def _within(offsets: Tensor, start: int, length: int) -> Tensor:
    """Return whether each token (token,) has a character among so many from `start` on."""
    return (offsets[:, 0] < start + length) & (offsets[:, 1] > start)


def check_system(system: str | None) -> None:
    """Raise PromptError unless a system prompt is plain text of a sensible length; it may be empty."""
    if system is None or system == "":
        return
    check_text(system, "system prompt")
    if len(system) > config.MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"The system prompt has {len(system):,} characters; "
            f"at most {config.MAX_PROMPT_CHARACTERS:,} are allowed."
        )


def _check_prompt(prompt: str) -> None:
    """Raise PromptError unless the prompt is plain text of a sensible length."""
    check_text(prompt, "prompt")
    if len(prompt) > config.MAX_PROMPT_CHARACTERS:
        raise PromptError(
            f"The prompt has {len(prompt):,} characters; "
            f"at most {config.MAX_PROMPT_CHARACTERS:,} are allowed."
        )


def check_text(text: str, name: str) -> None:
    """Raise PromptError for what is no text, or an empty one; `name` says what it is."""
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"The {name} is empty.")
    if is_broken(text):
        raise PromptError(f"The {name} {HALF}.")


def check_tokens(
    tokenizer: Any, template: str, text: str, name: str = "prompt", allowed: Collection[str] = ()
) -> None:
    """Raise PromptError for a token that parts turns, texts, pictures or videos: it would change the layout.

    Other added tokens, such as `<tool_call>` and `<|box_start|>`, are read as the tokenizer reads them, and
    so are those that are `allowed`.
    """
    added = tokenizer.added_tokens_decoder
    layout = set(tokenizer(template, add_special_tokens=False)["input_ids"])
    layout |= {tokenizer.bos_token_id, tokenizer.eos_token_id, tokenizer.pad_token_id}
    for token_id in tokenizer(text, add_special_tokens=False)["input_ids"]:
        token = added.get(token_id)
        if token is None or not token.special or token.content in allowed:
            continue
        if token_id in layout or OF_PICTURES.search(token.content):
            raise PromptError(f"The {name} may not contain the control token {token.content}.")


def check_length(tokens: int, model: Any, name: str = "prompt") -> None:
    """Raise PromptError for more tokens than the model reads."""
    limit = model.config.text_config.max_position_embeddings
    if tokens >= limit:
        raise PromptError(
            f"The picture and the {name} are {tokens:,} tokens, and the model reads fewer than {limit:,}; "
            f"lower MAX_PIXELS or shorten the {name}."
        )


def check_known(ids: Tensor, model: Any, processor: Processor) -> None:
    """Raise PromptError for a token that the tokenizer was given after training, without weights for it."""
    beyond = ids[ids >= model.get_input_embeddings().num_embeddings]
    if len(beyond):
        token = processor.tokenizer.convert_ids_to_tokens(int(beyond[0]))
        raise PromptError(f"The model has no weights for {token}, which is in the prompt; leave it out.")


def template_around(
    processor: Processor, content: Sequence[str | Slot], thinking: bool, system: str | None = None
) -> list[str]:
    """Return the chat template's text before, between and after the texts: of a system turn, of a question.

    An empty system turn is no text of its own: it stands in what is around.
    """
    keywords = template_keywords(processor.chat_template, thinking)
    texts = [*([system] if system else []), *(part for part in content if isinstance(part, str))]
    marks = [chr(ord(MARK) + number) for number in range(len(texts))]
    marked = turns(content, marks, system)
    around = re.split("|".join(marks), _rendered(processor, marked, keywords))
    if len(around) != len(texts) + 1:
        raise PromptError("The checkpoint's chat template has no place for a system prompt; leave it out.")
    whole = "".join(part for pair in zip(around, [*texts, ""], strict=True) for part in pair)
    if _rendered(processor, turns(content, texts, system), keywords) != whole:
        raise PromptError("The checkpoint's chat template changes the prompt; leave out spaces around it.")
    return around


def turns(content: Sequence[str | Slot], texts: Sequence[str], system: str | None) -> list[dict[str, Any]]:
    """Return the turns of a chat as a template takes them, with these texts for those that they have."""
    rest = iter(texts)
    first = []
    if system is not None:
        first = [{"role": "system", "content": [{"type": "text", "text": next(rest) if system else ""}]}]
    parts = [
        {"type": part.kind} if isinstance(part, Slot) else {"type": "text", "text": next(rest)}
        for part in content
    ]
    return [*first, {"role": "user", "content": parts}]


def _rendered(processor: Processor, chat: list[dict[str, Any]], keywords: Mapping[str, Any]) -> str:
    """Return a chat in the template, up to where the answer begins."""
    return processor.apply_chat_template(chat, tokenize=False, add_generation_prompt=True, **keywords)


def written_prompt(encoded: Encoded, pieces: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
    """Return the person's text from what each of its tokens spells, and where each token stands in it.

    Where pictures stand between its words, `<image>` or `<video>` stands in their places, as it was written.
    """
    first_of_each = [int(encoded.image_positions[visual.first]) for visual in encoded.visuals]
    named = [PLACEHOLDERS[visual.kind].encode() for visual in encoded.visuals]
    asked = encoded.prompt_positions.tolist()
    if first_of_each[-1] < asked[0]:
        return spelled(pieces)
    whole = sorted([*zip(asked, pieces, strict=True), *zip(first_of_each, named, strict=True)])
    text, spans = spelled([piece for _, piece in whole])
    shown = set(first_of_each)
    return text, tuple(span for (at, _), span in zip(whole, spans, strict=True) if at not in shown)

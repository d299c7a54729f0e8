"""A question as a checkpoint's chat template writes it, and where the person's text stands in it.

Goes in: a processor, a prompt, and what stands before it or between its words: pictures, a system turn, a
conversation. Comes out: the text, and the places of its parts. Knows nothing of pixels.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import config
from model.chats import Answer, Slot, answer_of, chat_of, template_around
from model.errors import PromptError
from model.families import Processor
from records.tokens import Span, spelled
from records.turns import Turn, kinds_of_turns
from records.visuals import PLACEHOLDERS, Kind, placeholders
from utils import HALF, is_broken

if TYPE_CHECKING:
    from model.encoding import Encoded

OF_TOKENS = ("input_ids", "attention_mask", "mm_token_type_ids", "offset_mapping")  # a value for each token
OF_PICTURES = re.compile("vision|image|video")  # in the names of tokens that stand for them, or around them


@dataclass(frozen=True)
class Written:
    """A question in the checkpoint's own chat template, a token for each picture and each earlier answer."""

    text: str
    starts: tuple[int, ...]  # where each part of the person's text stands in it
    parts: tuple[str, ...]  # these parts; pictures may stand between them
    answers: tuple[tuple[int, tuple[int, ...]], ...] = ()  # where each earlier answer stands, and its ids


def token_of(processor: Processor, kind: Kind) -> str:
    """Return the token that the chat template writes for a picture, or for a clip."""
    return str(processor.image_token if kind == "image" else processor.video_token)


def visual_tokens(processor: Processor) -> re.Pattern[str]:
    """Return what finds these tokens in a chat."""
    return re.compile("|".join(re.escape(token_of(processor, kind)) for kind in PLACEHOLDERS))


def written_question(
    processor: Processor,
    prompt: str,
    kinds: Sequence[Kind],
    thinking: bool,
    system: str | None = None,
    history: Sequence[Turn] = (),
) -> Written:
    """Return the question in the chat template; PromptError for a prompt that cannot be read.

    `kinds` are of the visuals that the question itself brings; an earlier turn has its own.
    """
    _check_prompt(prompt)
    check_system(system)
    _check_places(prompt, kinds, history)
    tokenizer, content = processor.tokenizer, content_of(prompt, kinds)
    chat = chat_of(content, system, [earlier_of(tokenizer, turn) for turn in history])
    around, between = template_around(processor, chat, thinking)
    for number, part in enumerate(between):
        if isinstance(part, str):
            is_system = system is not None and number == 0
            check_tokens(tokenizer, "".join(around), part, "system prompt" if is_system else "prompt")
    whole, starts, answers = around[0], [], []
    for part, after in zip(between, around[1:], strict=True):
        if isinstance(part, str):
            starts.append(len(whole))
            whole += part + after
        else:
            answers.append((len(whole), part.ids))
            whole += tokenizer.eos_token + after
    parts = [part for part in content if isinstance(part, str)]
    asked = [*kinds_of_turns(history), *kinds]
    if visual_tokens(processor).findall(whole) != [token_of(processor, kind) for kind in asked]:
        missing = "a clip; ask about pictures" if "video" in asked else "a picture"
        raise PromptError(f"The checkpoint's chat template has no place for {missing}.")
    return Written(whole, tuple(starts[-len(parts) :]), tuple(parts), tuple(answers))


def earlier_of(tokenizer: Any, turn: Turn) -> tuple[list[str | Slot], Answer]:
    """Return an earlier question as a template takes it, and its answer."""
    return content_of(turn.prompt, turn.kinds), answer_of(tokenizer, turn.token_ids)


def _check_places(prompt: str, kinds: Sequence[Kind], history: Sequence[Turn]) -> None:
    """Raise PromptError for a question that brings no visual and says where one of earlier turns stands."""
    earlier = kinds_of_turns(history)
    if not kinds and earlier and (place := placeholders(earlier).search(prompt)):
        raise PromptError(
            f"The prompt says {place[0]} and brings none: it stands for new ones only; say in words which "
            "earlier one is meant."
        )


def content_of(prompt: str, kinds: Sequence[Kind]) -> list[str | Slot]:
    """Return the texts of a question in order, and visuals: first, or where the prompt says so."""
    if not kinds:
        return [prompt]
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
    found = offsets.new_zeros(len(offsets), dtype=torch.bool)
    starts = _as_read(written.starts, written, processor, characters)
    for start, part in zip(starts, written.parts, strict=True):
        found |= _within(offsets, start, len(part))
    return found


def with_answers(
    inputs: Mapping[str, Tensor], written: Written, processor: Processor, characters: Sequence[int]
) -> dict[str, Tensor]:
    """Return a model's inputs with the ids of earlier answers in the places that stand for them.

    `offset_mapping` (1, token, 2) is among them, and counts as for `in_prompt`. What else has a value for
    each token has that of the place for each token of the answer.
    """
    if not written.answers:
        return dict(inputs)
    offsets, answers = inputs["offset_mapping"][0], [ids for _, ids in written.answers]
    starts = _as_read([start for start, _ in written.answers], written, processor, characters)
    rows = torch.searchsorted(offsets[:, 0].contiguous(), torch.tensor(starts))
    if inputs["input_ids"][0, rows].tolist() != [processor.tokenizer.eos_token_id] * len(rows):
        raise ValueError("expected a token of its own in the place of each earlier answer")
    times, is_answer = torch.ones(len(offsets), dtype=torch.long), torch.zeros(len(offsets), dtype=torch.bool)
    times[rows], is_answer[rows] = torch.tensor([len(ids) for ids in answers]), True
    found = {
        name: value.repeat_interleave(times, dim=1) if name in OF_TOKENS else value
        for name, value in inputs.items()
    }
    said = [token for ids in answers for token in ids]
    found["input_ids"][0, is_answer.repeat_interleave(times)] = torch.tensor(said, dtype=torch.long)
    return found


def _as_read(
    places: Sequence[int], written: Written, processor: Processor, characters: Sequence[int]
) -> list[int]:
    """Return where places of the text stand once so many characters stand for each visual's one token."""
    tokens = visual_tokens(processor).finditer(written.text)
    ends = [(token.end(), count - len(token[0])) for token, count in zip(tokens, characters, strict=True)]
    return [place + sum(more for end, more in ends if end <= place) for place in places]


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


def check_answers(history: Sequence[Turn], model: Any, processor: Processor) -> None:
    """Raise PromptError for an earlier answer with ids that cannot be read again."""
    count, visual = model.get_input_embeddings().num_embeddings, visual_ids(model)
    for token in (token for turn in history for token in turn.token_ids):
        if not 0 <= token < count:
            raise PromptError(f"An earlier answer has the token id {token}; the model has 0 to {count - 1}.")
        if token in visual:
            written = processor.tokenizer.convert_ids_to_tokens(token)
            raise PromptError(f"An earlier answer has the control token {written}: it cannot be read again.")


def visual_ids(model: Any) -> tuple[int, int]:
    """Return the ids of the tokens that stand for a picture, and for a clip."""
    return model.config.image_token_id, model.config.video_token_id


def check_known(ids: Tensor, model: Any, processor: Processor) -> None:
    """Raise PromptError for a token that the tokenizer was given after training, without weights for it."""
    beyond = ids[ids >= model.get_input_embeddings().num_embeddings]
    if len(beyond):
        token = processor.tokenizer.convert_ids_to_tokens(int(beyond[0]))
        raise PromptError(f"The model has no weights for {token}, which is in the prompt; leave it out.")


def written_prompt(encoded: Encoded, pieces: Sequence[bytes]) -> tuple[str, tuple[Span, ...]]:
    """Return the person's text from what each of its tokens spells, and where each token stands in it.

    Where pictures stand between its words, `<image>` or `<video>` stands in their places, as it was written.
    """
    own = encoded.visuals[encoded.earlier :]
    first_of_each = [int(encoded.image_positions[visual.first]) for visual in own]
    named = [PLACEHOLDERS[visual.kind].encode() for visual in own]
    asked = encoded.prompt_positions.tolist()
    if not own or first_of_each[-1] < asked[0]:
        return spelled(pieces)
    whole = sorted([*zip(asked, pieces, strict=True), *zip(first_of_each, named, strict=True)])
    text, spans = spelled([piece for _, piece in whole])
    shown = set(first_of_each)
    return text, tuple(span for (at, _), span in zip(whole, spans, strict=True) if at not in shown)

"""What the published checkpoints of each family have, for folders in which it is missing or of no use.

Goes in: a `model_type`. Comes out: a chat template and settings for pictures. Knows nothing of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

Channels = tuple[float, float, float]

IMAGE_PROCESSOR = "Qwen2VLImageProcessor"  # of all families

_SYSTEM = (
    "{% if loop.first and message['role'] != 'system' %}<|im_start|>system\n"
    "You are a helpful assistant.<|im_end|>\n{% endif %}"
)
_TURN = (
    "<|im_start|>{{ message['role'] }}\n"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}"
    "{% if part['type'] == 'image' or 'image' in part or 'image_url' in part %}"
    "<|vision_start|><|image_pad|><|vision_end|>"
    "{% elif part['type'] == 'video' or 'video' in part %}<|vision_start|><|video_pad|><|vision_end|>"
    "{% elif 'text' in part %}{{ part['text'] }}{% endif %}{% endfor %}{% endif %}<|im_end|>\n"
)
# Of an earlier answer, its thoughts left out.
_SAID = (
    "{% if message['role'] == 'assistant' %}{{ part['text'].split('</think>')[-1].lstrip('\\n') }}"
    "{% else %}{{ part['text'] }}{% endif %}"
)
_THINKING = "{% if enable_thinking %}<think>\n{% else %}<think>\n\n</think>\n\n{% endif %}"


@dataclass(frozen=True)
class Standard:
    """A family's chat template, in the ChatML layout, and what its processor does to pictures and clips."""

    system_turn: bool = False  # whether a chat without a system turn gets one
    # Whether the template asks to think aloud, begins the thought or closes it, and forgets earlier thoughts.
    thinking: bool = False
    min_pixels: int = 65_536  # of the resized picture
    max_pixels: int = 16_777_216
    video_min_pixels: int = (
        4096  # of all resized frames of a clip together, or of each: `VideoLayout.together`
    )
    video_max_pixels: int = 25_165_824
    mean: Channels = (0.5, 0.5, 0.5)
    std: Channels = (0.5, 0.5, 0.5)

    @property
    def template(self) -> str:
        """The chat template, as Jinja."""
        system, thought = (_SYSTEM if self.system_turn else ""), (_THINKING if self.thinking else "")
        begun = "{% if add_generation_prompt %}<|im_start|>assistant\n" + thought + "{% endif %}"
        turn = _TURN.replace("{{ part['text'] }}", _SAID) if self.thinking else _TURN
        return "{% for message in messages %}" + system + turn + "{% endfor %}" + begun


_CLIP_MEAN: Channels = (0.48145466, 0.4578275, 0.40821073)
_CLIP_STD: Channels = (0.26862954, 0.26130258, 0.27577711)
_FIRST = Standard(  # Qwen2-VL and Qwen2.5-VL
    system_turn=True,
    min_pixels=3136,
    max_pixels=12_845_056,
    video_min_pixels=100_352,
    video_max_pixels=602_112,
    mean=_CLIP_MEAN,
    std=_CLIP_STD,
)
_STANDARDS: Mapping[str, Standard] = MappingProxyType(
    {
        "qwen2_vl": _FIRST,
        "qwen2_5_vl": _FIRST,
        "qwen3_5": Standard(thinking=True),
        "qwen3_5_moe": Standard(thinking=True),
    }
)


def standard_of(model_type: str) -> Standard:
    """Return what is standard in a family; of one that is not listed, what the latest ones have in common."""
    return _STANDARDS.get(model_type, Standard())

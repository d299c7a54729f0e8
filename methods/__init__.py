"""More ways to explain a word: one signature for every method, sinks, and a choice of heads.

Goes in: a `Capture`, and for most methods the model, its processor and the picture that it was made from.
Comes out: `TokenMaps`, a raw map (h, w) for each token. Knows nothing of pictures' pixels on a screen and of
pages.
"""

from internals.teacher_forcing import Reading
from methods.heads import HeadRank, rank_heads, top_heads
from methods.maps import Options, token_maps
from methods.occlusion import covered, covering
from methods.reading import Question
from methods.record import METHODS, Cost, Method, TokenMaps
from methods.sinks import Sink, sink_patches, without_sinks

__all__ = [
    "METHODS",
    "Cost",
    "HeadRank",
    "Method",
    "Options",
    "Question",
    "Reading",
    "Sink",
    "TokenMaps",
    "covered",
    "covering",
    "rank_heads",
    "sink_patches",
    "token_maps",
    "top_heads",
    "without_sinks",
]

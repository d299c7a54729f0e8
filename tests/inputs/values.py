"""Texts and values of every kind, as a person, a program or a mistake may send them.

Comes out: texts for prompts, and values of any type for settings.
"""

from typing import Any

from hypothesis import strategies as st

from tests.tiny import PLAIN_ADDED_TOKENS, SPECIAL_TOKENS

LONG = 100_000  # characters
HUGE = 10**400  # more than a float holds
ADDED = (*SPECIAL_TOKENS, *PLAIN_ADDED_TOKENS, "<think>", "</think>", "<|im_sep|>", "[INST]", "</s>")

# Of these each is a text by itself, and stands inside others.
ODD = (
    *("\0", "\x07", "\x1b[31mred", "\x7f", "\r", "\r\n", "\n\n", "\t", "\x0b", "\x1c", "\x85", "\u2028"),
    *("\u200b", "\u200d", "\ufeff", "\u00ad", "\u202e", "\u2066", "\u2069", "\ue000", "\uffff", "\U0010ffff"),
    *("שלום", "مرحبا بالعالم", "ما هذا؟", "\u202eabc", "สวัสดี", "नमस्ते", "வணக்கம்", "中文", "한국어"),
    *("e\u0301", "z" + "\u0300" * 200, "👩‍👩‍👧", "🇩🇪", "👍🏽", "ﬁ", "①", "\u1112\u1161\u11ab"),
    *("{{ 7*7 }}", "{% raw %}", "<script>alert(1)</script>", "&lt;", "%s %n", "${x}", "$(x)", "`x`", "'\"\\"),
    *("../../etc/passwd", "data:image/png;base64,AAAA", "http://127.0.0.1:1/a.png", "file:///etc/passwd"),
)
LONE = (
    "\ud800",
    "\udc00 x",
    "a\udfff",
    "\ud83d",
    "\udc80",
)  # half a character; the last as a shell writes bytes
# As the viewer sends them: how a map is drawn, and what it is made of.
LOOK = {
    "colormap": "magma",
    "opacity": 0.5,
    "contrast": 0,
    "view": "overlay",
    "cells": "smooth",
    "scale": "own",
}
WANTED = {"method": "attention", "layers": None, "heads": None, "aggregation": "mean", "no_sinks": False}
EMPTY = ("", " ", "\n\t ", "\u2028\x1c", "\u3000")

texts = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from((*ODD, *ADDED, " ", "a", "What is it?")), min_size=1, max_size=6).map("".join),
    st.sampled_from((*ODD, *LONE, *EMPTY, *ADDED)),
)
numbers: st.SearchStrategy[Any] = st.one_of(
    st.integers(-(2**70), 2**70),
    st.integers(-3, 100),
    st.floats(),
    st.floats(-1, 12),
    st.sampled_from([HUGE, -HUGE, 10**9, 2**53, 2**63, 1e300, -0.0, True, False]),
)
names = st.sampled_from(  # of what there is
    [
        *("own", "shared", "smooth", "cells", "overlay", "heatmap", "jet", "glow", "viridis", "max", "mean"),
        *("checkpoint", "greedy", "attention", "tam", "grad-cam", "gradient-norm", "word", "token", "answer"),
        *("all", "auto", "late", "0", "1", "0-2", "pdf", "npz", 0, 1, 2, 0.5),
    ]
)
plain: st.SearchStrategy[Any] = st.one_of(st.none(), numbers, texts, names)
anything: st.SearchStrategy[Any] = st.one_of(
    plain,
    st.sampled_from(["x" * LONG, "0," * 5000 + "0", b"bytes", [[]], {"": {}}]),
    st.lists(plain, max_size=3),
    st.dictionaries(st.sampled_from(["path", "key", "name", "layers"]), plain, max_size=2),
)
ranges = st.one_of(
    st.sampled_from(["all", "auto", "late", "middle", "words", "answer", "pall", "p0", "p1-2", "last", ""]),
    st.text("0123456789-, p:/xe.+_٣", max_size=12),
    st.lists(st.integers(-9, 30).map(str), min_size=1, max_size=4).map(",".join),
    st.tuples(st.integers(-5, 9), st.integers(-5, 9)).map(lambda ends: f"{ends[0]}-{ends[1]}"),
    texts,
)

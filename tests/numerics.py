"""Comparing numbers that were computed in two ways.

Two float computations of one value agree to rounding, never to the bit: another processor, thread count or
batch size adds the terms in another order. What rounding leaves grows with the type's step and with the
largest term that went in, not with the result: a difference of two logits is as exact as they are, however
small it is.
"""

from typing import Any

import numpy as np
import torch

STEPS = (
    1024  # of the number type, at the size of the largest term: what many sums one after the other may leave
)


def tolerance(terms: Any, dtype: torch.dtype = torch.float32, steps: float = STEPS) -> float:
    """Return what two computations of a value may differ by: so many steps of its largest term."""
    size = float(np.abs(np.asarray(terms, dtype=np.float64)).max(initial=0))
    return steps * torch.finfo(dtype).eps * size


def assert_same(
    found: Any, expected: Any, terms: Any = None, dtype: torch.dtype = torch.float32, steps: float = STEPS
) -> None:
    """Raise unless shape and values agree; `terms` went into them where something was taken from something.

    Without `terms` their size is that of the largest value expected. In float32 that lets 0.012 % of it pass.
    """
    found, expected = (np.asarray(one, dtype=np.float64) for one in (found, expected))
    assert found.shape == expected.shape, f"expected shape {expected.shape}, found {found.shape}"
    allowed = tolerance(expected if terms is None else terms, dtype, steps)
    np.testing.assert_allclose(found, expected, rtol=0, atol=max(allowed, 1e-30))

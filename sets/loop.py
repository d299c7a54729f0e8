"""One item after the other."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TypeVar

from utils import Stopped, Watch

T = TypeVar("T")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)  # true of every other item too


def each(
    items: Iterable[T],
    one: Callable[[T], object],
    count: int,
    watch: Watch,
    failed: Callable[[T, Exception], object] | None = None,
) -> None:
    """Do one after the other; `count` is of the items, for `watch`.

    `failed` hears of an item that raised and of its error, and the next one's turn comes; without it the
    error ends the work. What is true of every other item (a full disk) ends it either way.

    Raises:
        Stopped: once `watch` was stopped, between two items or within one.
    """
    watch.tell(0, count)
    for number, item in enumerate(items, 1):
        watch.check()
        try:
            one(item)
        except Stopped:
            raise
        except Exception as error:
            if failed is None or (isinstance(error, OSError) and error.errno in FULL):
                raise
            failed(item, error)
        watch.tell(number, count)

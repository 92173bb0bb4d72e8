"""Parts of files, worked on side by side: what verification is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Span = tuple[str, int, int]
"""A part of a file: its name, where the part begins, and how many bytes it has."""

_Result = TypeVar("_Result")
_WORTH_THREADS_BYTES = 4 << 20  # below, starting threads takes longer than they save


def side_by_side(work: Callable[[Span], _Result], spans: Sequence[Span], threads: int) -> list[_Result]:
    """Return what ``work`` returns for each span, in their order.

    Args:
        work: raises what shall be raised; no further span is begun then.
        spans: large ones gain by threads, if ``work`` lets go of the interpreter.
        threads: how many at most.
    """
    if threads == 1 or sum(size_bytes for _, _, size_bytes in spans) < _WORTH_THREADS_BYTES:
        return [work(span) for span in spans]
    from concurrent.futures import ThreadPoolExecutor  # with logging: a small bundle wakes without

    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(work, spans))

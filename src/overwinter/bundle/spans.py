"""Parts of files, processed in parallel during verification."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

Span = tuple[str, int, int]
"""A part of a file: its name, the part's offset, and its size in bytes."""

_Result = TypeVar("_Result")
_WORTH_THREADS_BYTES = 4 << 20  # below, starting threads takes longer than they save


def side_by_side(work: Callable[[Span], _Result], spans: Sequence[Span], threads: int) -> list[_Result]:
    """Return the result of ``work`` for each span, in order.

    Args:
        work: function of a span; its exception is passed on, and no further span is started.
        spans: parts of files; threads help with large ones, if ``work`` releases the interpreter lock.
        threads: The largest number of threads.
    """
    if threads == 1 or sum(size_bytes for _, _, size_bytes in spans) < _WORTH_THREADS_BYTES:
        return [work(span) for span in spans]
    from concurrent.futures import ThreadPoolExecutor  # imports logging, which a small bundle does not need

    with ThreadPoolExecutor(max_workers=threads) as pool:
        return list(pool.map(work, spans))

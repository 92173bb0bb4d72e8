"""Reading of a number from a kernel file, tolerating short failures (EAGAIN, EIO, half a line)."""

from __future__ import annotations

import errno
from collections.abc import Callable
from typing import Generic, TypeVar

Value = TypeVar("Value", int, float)

_MAX_FAILURES = 10  # in a row: about a second
_LASTING = {errno.EACCES, errno.EPERM, errno.ENOENT, errno.ENODEV, errno.EISDIR, errno.ENOTDIR}


class Patient(Generic[Value]):
    """Returns the last value while a reading fails for a short time; a counter then catches up.

    Args:
        read: A function that returns the value, or raises OSError or ValueError.
    """

    def __init__(self, read: Callable[[], Value]) -> None:
        self._read: Callable[[], Value] = read
        self._last: Value | None = None
        self._failures = 0

    def __call__(self) -> Value:
        """Return the value.

        Raises:
            OSError, ValueError: there is no earlier value, or reading keeps failing.
        """
        try:
            self._last = self._read()
        except (OSError, ValueError) as error:
            self._failures += 1
            lasting = isinstance(error, OSError) and error.errno in _LASTING
            if lasting or self._last is None or self._failures > _MAX_FAILURES:
                raise
        else:
            self._failures = 0
        return self._last

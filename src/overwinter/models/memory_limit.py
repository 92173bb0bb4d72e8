"""Limit on the memory of this process while it handles untrusted input."""

from __future__ import annotations

import contextlib
import re
import resource
from collections.abc import Iterator
from pathlib import Path

_STATUS = Path("/proc/self/status")
_DATA = re.compile(r"^VmData:\s+(\d+) kB$", re.MULTILINE)


@contextlib.contextmanager
def memory_limited(more_bytes: int) -> Iterator[None]:
    """Limit, within the context, the memory that this process may add (Linux).

    Exceeding it raises `MemoryError` (or torch's error). The previous limit is restored afterwards.
    """
    found = _DATA.search(_STATUS.read_text()) if _STATUS.is_file() else None
    if found is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = (int(found[1]) << 10) + more_bytes
    limits = [limit for limit in (wanted, soft, hard) if limit != resource.RLIM_INFINITY]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))

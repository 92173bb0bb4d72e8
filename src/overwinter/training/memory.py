"""Memory that a step frees is kept for the next one, instead of being given back to the operating system."""

from __future__ import annotations

import ctypes
import sys

# Of glibc's <malloc.h>; https://man7.org/linux/man-pages/man3/mallopt.3.html
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 2**30
_OLD_LIMIT_BYTES = 2**25  # the largest threshold that older versions take


def keep_freed_memory() -> bool:
    """Let the C library keep up to a gigabyte of freed memory, in this process from now on.

    Activations of a few megabytes are otherwise given back after every step, and the kernel clears their pages again in
    the next: a tenth to a fifth of the CPU time of small convolutional networks.

    Returns:
        whether there is a C library that can do it: glibc.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    sizes = (_KEPT_BYTES, _OLD_LIMIT_BYTES)
    return all(any(mallopt(option, size) for size in sizes) for option in (_MMAP_THRESHOLD, _TRIM_THRESHOLD))

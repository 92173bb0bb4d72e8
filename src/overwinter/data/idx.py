"""Reading IDX, the file format of MNIST: a magic number, the sizes, the bytes.

The format: bytes 0 and 1 are zero, byte 2 is the type (0x08: unsigned byte), byte 3 the number of
dimensions, then one big-endian 32-bit size per dimension (http://yann.lecun.com/exdb/mnist, "THE IDX FILE
FORMAT").
"""

from __future__ import annotations

import gzip
import math
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from overwinter.errors import IntegrityError

_UNSIGNED_BYTE = 0x08


def read_idx(path: Path, *, dimensions: int) -> NDArray[np.uint8]:
    """Return the array in an IDX file of unsigned bytes, gzipped or plain.

    Args:
        path: the file; gzip is recognised by its content, not its name.
        dimensions: The expected number of dimensions.

    Raises:
        IntegrityError: the file is unreadable, damaged, truncated, too long, or of another type or shape.
    """
    content = _uncompressed(path)
    header_bytes = 4 + 4 * dimensions
    magic = bytes([0, 0, _UNSIGNED_BYTE, dimensions])
    if content[:4] != magic:
        raise IntegrityError(
            f"{path} begins with {content[:4].hex()}, not with {magic.hex()}: it is not an IDX file of "
            f"unsigned bytes in {dimensions} dimensions. Get it again."
        )
    shape = [int.from_bytes(content[start : start + 4]) for start in range(4, header_bytes, 4)]
    expected_bytes = header_bytes + math.prod(shape)
    if len(content) != expected_bytes:
        raise IntegrityError(
            f"{path} has {len(content)} bytes, but its header declares {expected_bytes} ({shape}): "
            "it was truncated or altered. Get it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header_bytes).reshape(shape)


def _uncompressed(path: Path) -> bytes:
    try:
        content = path.read_bytes()
        return gzip.decompress(content) if content[:2] == b"\x1f\x8b" else content
    except (OSError, EOFError, zlib.error) as error:
        raise IntegrityError(f"{path} cannot be read: {error}. Get it again.") from None

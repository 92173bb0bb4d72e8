"""A small program that prints the PCI addresses of the GPUs visible to CUDA, one per line, in CUDA's order.

It creates no context on any of them. Standard library only; it exits with 1 if CUDA fails.
"""

from __future__ import annotations

import ctypes
import sys

_LENGTH = 32


def main() -> int:
    """Print the PCI addresses from CUDA."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
        count = ctypes.c_int()
        _check(cuda.cuInit(0))
        _check(cuda.cuDeviceGetCount(ctypes.byref(count)))
        print("\n".join(_address(cuda, index) for index in range(count.value)))
    except (OSError, AttributeError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _address(cuda: ctypes.CDLL, index: int) -> str:
    device, text = ctypes.c_int(), ctypes.create_string_buffer(_LENGTH)
    _check(cuda.cuDeviceGet(ctypes.byref(device), index))
    _check(cuda.cuDeviceGetPCIBusId(text, _LENGTH, device))
    return text.value.decode().lower()


def _check(code: int) -> None:
    if code:
        raise OSError(f"CUDA returned error {code}")


if __name__ == "__main__":
    sys.exit(main())

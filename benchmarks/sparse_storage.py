"""Sparse tensors on disk: bytes over dense's and dense bytes unpacked per CPU-second, by data type and density.

    python benchmarks/sparse_storage.py

Random masks, the hardest for a bitmap, on one thread. Reading of a file's pages is not counted. The time is this
process's own CPU time, the least of repeated runs: what else runs on the core's other hardware thread lengthens it.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

import common
from overwinter.models.sparse_storage import DTYPES, pack_sparse, unpack_sparse

NAME = "sparse_storage"
ELEMENTS = 8_000_000
TYPES = ("float32", "bfloat16", "uint8")
DENSITIES = (0.5, 0.2, 0.1)
REPEATS = 25
ASKED_GB_PER_S = 0.6


def main() -> None:
    """Measure, write, print the table."""
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    torch.set_num_threads(1)
    rows = [measured(dtype, density) for dtype in TYPES for density in DENSITIES]
    slowest = min(row["unpacked_gb_per_s"] for row in rows)
    result = {
        "elements": ELEMENTS,
        "repeats": REPEATS,
        "rows": rows,
        "slowest_gb_per_s": slowest,
        "asked_gb_per_s": ASKED_GB_PER_S,
        "reached": slowest >= ASKED_GB_PER_S,
    }
    table = Table("data type", "zeros", "bytes over dense's", "unpacked, GB/s of dense bytes", "packed, GB/s")
    for row in rows:
        figures = (f"{row[key]:.2f}" for key in ("size_ratio", "unpacked_gb_per_s", "packed_gb_per_s"))
        table.add_row(row["dtype"], f"{1 - row['density']:.0%}", *figures)
    Console().print(table)
    print(f"written to {common.write_result(NAME, result).name}")


def measured(dtype: str, density: float) -> dict[str, Any]:
    """Pack and unpack one tensor, and check that every bit came back."""
    generator = torch.Generator().manual_seed(0)
    kept = torch.rand(ELEMENTS, generator=generator) < density
    values = torch.randn(ELEMENTS, generator=generator) if dtype != "uint8" else torch.full((ELEMENTS,), 7)
    tensor = values.to(DTYPES[dtype]).masked_fill_(~kept, 0)
    packed = pack_sparse(tensor)
    assert packed is not None
    stored, levels = packed
    entry = {"shape": [ELEMENTS], "dtype": dtype, "packed": {"levels": levels}}
    assert torch.equal(unpack_sparse(dtype, stored, entry, most_bytes=tensor.nbytes), tensor)
    return {
        "dtype": dtype,
        "density": density,
        "size_ratio": stored.nbytes / tensor.nbytes,
        "unpacked_gb_per_s": tensor.nbytes
        / 1e9
        / _cpu_s(lambda: unpack_sparse(dtype, stored, entry, most_bytes=tensor.nbytes)),
        "packed_gb_per_s": tensor.nbytes / 1e9 / _cpu_s(lambda: pack_sparse(tensor)),
    }


def _cpu_s(work: Any) -> float:
    """Return the least CPU time of a call."""
    found = []
    for _ in range(REPEATS):
        begun = time.process_time()
        work()
        found.append(time.process_time() - begun)
    return min(found)


if __name__ == "__main__":
    main()

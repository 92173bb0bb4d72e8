"""Ranks of a distributed run: local rank 0 meters for its node."""

from __future__ import annotations

import re
from collections.abc import Mapping

_LOCAL_RANK = (
    "LOCAL_RANK",  # torchrun, accelerate, deepspeed
    "SLURM_LOCALID",
    "OMPI_COMM_WORLD_LOCAL_RANK",
    "MPI_LOCALRANKID",  # Intel MPI, MPICH
    "PALS_LOCAL_RANKID",  # Cray
)
_LOCAL_SIZE = (
    "LOCAL_WORLD_SIZE",
    "SLURM_STEP_TASKS_PER_NODE",  # of the srun step only, such as 8(x2); a batch script has no siblings
    "OMPI_COMM_WORLD_LOCAL_SIZE",
    "MPI_LOCALNRANKS",
    "PALS_LOCAL_SIZE",
)


def local_rank(environ: Mapping[str, str]) -> int:
    """Return this process's rank on its node; 0 without a launcher."""
    return _first(environ, _LOCAL_RANK, default=0)


def ranks_on_node(environ: Mapping[str, str]) -> int:
    """Return the number of ranks on this node; 1 if unknown."""
    return max(1, _first(environ, _LOCAL_SIZE, default=1))


def _first(environ: Mapping[str, str], names: tuple[str, ...], default: int) -> int:
    for name in names:
        number = re.match(r"\d+", environ.get(name, ""))
        if number:
            return int(number[0])
    return default

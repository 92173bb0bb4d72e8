"""The local rank, from whatever started the ranks."""

from __future__ import annotations

import pytest

from overwinter.energy.ranks import local_rank, ranks_on_node


@pytest.mark.parametrize(
    ("environ", "rank", "ranks"),
    [
        ({}, 0, 1),
        ({"LOCAL_RANK": "2", "LOCAL_WORLD_SIZE": "4"}, 2, 4),
        ({"SLURM_LOCALID": "1", "SLURM_STEP_TASKS_PER_NODE": "8(x2)"}, 1, 8),
        ({"OMPI_COMM_WORLD_LOCAL_RANK": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "4"}, 3, 4),
        (
            {"LOCAL_RANK": "0", "SLURM_LOCALID": "5"},
            0,
            1,
        ),  # torchrun inside a SLURM task: the inner launcher decides
        ({"SLURM_LOCALID": "0", "SLURM_NTASKS_PER_NODE": "8"}, 0, 1),  # the batch script, not a step of it
        ({"LOCAL_RANK": "nonsense"}, 0, 1),
    ],
)
def test_launchers(environ: dict[str, str], rank: int, ranks: int) -> None:
    assert local_rank(environ) == rank
    assert ranks_on_node(environ) == ranks

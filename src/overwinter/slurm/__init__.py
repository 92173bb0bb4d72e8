"""Sweeps on Slurm: each distinct stage and gate is one job, along the prefix tree of the sweep's points.

- `programs`: the stages and gates that points need, each once; `arrays`: their job arrays and dependencies.
- `submitting`: arrays through submitit; `task`: what a job does on its node; `state`: the files that both share.
- `queue`: Slurm's own commands, and its refusals in words for the user.
- `running`: the loop that submits, follows the queue and the records of the jobs, and submits again what was lost.
- `beginning`: the start of a sweep by the carbon forecast; `accounting`: our joules beside those of Slurm.

Slurm and the file system are shared by all nodes; no decision compares the clocks of two machines.
"""

from overwinter.slurm.running import run_on_slurm

__all__ = ["run_on_slurm"]

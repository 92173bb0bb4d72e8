"""Submitting programs as job arrays, through submitit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.config.groups.slurm import Resources, SlurmSettings
from overwinter.slurm.arrays import Array, Place
from overwinter.slurm.programs import Program
from overwinter.slurm.queue import check_accepted, explained
from overwinter.slurm.task import ProgramTask, SubmittedPoint, SubmittedSweep
from overwinter.sweep.points import Point

_MIB = 1024


class Submitter:
    """Submits the programs of one sweep.

    Args:
        sweep: What its jobs have in common.
        settings: What they ask for.
        begin_s: Seconds after which the first jobs may start.
    """

    def __init__(self, sweep: SubmittedSweep, settings: SlurmSettings, *, begin_s: int = 0) -> None:
        self._sweep, self._settings, self._begin_s = sweep, settings, begin_s

    def check(self, programs: Mapping[str, Program]) -> None:
        """Ask Slurm whether it would take a job of each kind, before the first is submitted.

        Raises:
            OverwinterError: it would not; a ConfigError if a setting is wrong.
        """
        kinds = {None if each.is_gate else each.stage for each in programs.values()}
        for stage in sorted(kinds, key=str):
            check_accepted(_flags(self._settings.resources(stage)), setting=_setting(stage))

    def submit(self, array: Array, places: Mapping[str, Place]) -> dict[str, Place]:
        """Submit an array; return where its programs are.

        Args:
            array: The programs.
            places: Where those are that they wait for.

        Raises:
            OverwinterError: Slurm refuses, as `queue.explained` says.
        """
        import submitit
        from submitit.core.utils import FailedJobError, FailedSubmissionError

        stage = None if array.programs[0].is_gate else array.programs[0].stage
        resources = self._settings.resources(stage)
        executor = submitit.SlurmExecutor(folder=self._sweep.folder.jobs, max_num_timeout=self._settings.timeouts)
        executor.update_parameters(**self._parameters(array, resources, places))
        tasks = [self._task(each, resources) for each in array.programs]
        for each in array.programs:
            self._sweep.folder.forget(each.id)
        try:
            with executor.batch():
                jobs = [executor.submit(task) for task in tasks]
        except (FailedJobError, FailedSubmissionError) as error:
            raise explained(str(error), setting=_setting(stage)) from None
        return {each.id: _place(job.job_id) for each, job in zip(array.programs, jobs, strict=True)}

    def _task(self, program: Program, resources: Resources) -> ProgramTask:
        points = [_submitted(point) for point in program.last_of or [program.example]]
        return ProgramTask(
            self._sweep,
            id_=program.id,
            name=program.name,
            points=points,
            saves=bool(program.last_of),
            cpus=resources.cpus,
        )

    def _parameters(self, array: Array, resources: Resources, places: Mapping[str, Place]) -> dict[str, Any]:
        more: dict[str, Any] = {"requeue": True, "kill-on-invalid-dep": "yes", **resources.options}
        dependency = array.dependency(places)
        if dependency is None and self._begin_s:
            more["begin"] = f"now+{self._begin_s}"  # by the clock of Slurm's controller, whatever this machine's says
        asked = {
            "job_name": f"overwinter-{self._sweep.name}-{array.programs[0].name}",
            "partition": resources.partition,
            "time": resources.time_min,
            "cpus_per_task": resources.cpus,
            "mem": None if resources.mem_gb is None else _megabytes(resources.mem_gb),
            "gpus_per_node": resources.gpus or None,
            "dependency": dependency,
            # Since Slurm 22.05, srun takes no processors over from sbatch by itself.
            "srun_args": [] if resources.cpus is None else [f"--cpus-per-task={resources.cpus}"],
        }
        fixed = {"array_parallelism": self._settings.workers, "signal_delay_s": self._settings.grace_s}
        return {
            **{name: value for name, value in asked.items() if value is not None},
            **fixed,
            "additional_parameters": more,
        }


def _submitted(point: Point) -> SubmittedPoint:
    return SubmittedPoint(name=point.name, overrides=point.overrides, keys=dict(point.keys))


def _flags(resources: Resources) -> Sequence[str]:
    asked = {
        "partition": resources.partition,
        "time": resources.time_min,
        "cpus-per-task": resources.cpus,
        "mem": None if resources.mem_gb is None else _megabytes(resources.mem_gb),
        "gpus-per-node": resources.gpus or None,
        **resources.options,
    }
    return [f"--{name}={value}" for name, value in asked.items() if value is not None]


def _megabytes(gibibytes: float) -> str:
    return f"{max(1, round(gibibytes * _MIB))}M"


def _setting(stage: str | None) -> str:
    return "hydra.launcher.gates" if stage is None else f"hydra.launcher.stages.{stage}"


def _place(job: str) -> Place:
    array, _, task = job.partition("_")
    return array, int(task) if task else None

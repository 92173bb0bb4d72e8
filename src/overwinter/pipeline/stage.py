"""The context of a stage: its inputs, its outputs, and its supervision while it runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.config import Config
from overwinter.data.local_files import remote_places
from overwinter.energy.record import ENERGY_FILE
from overwinter.errors import EXIT_DONE, ConfigError, IntegrityError, OverwinterError, RefusedError
from overwinter.files import digest, read_json, write_json
from overwinter.ledger import checkpoint_folder, has_checkpoint
from overwinter.metrics import EvaluationMetrics, ModelMetrics
from overwinter.pipeline.events import emit
from overwinter.pipeline.finished import FinishedWork, artifact_digest, described, result_key, work_lock
from overwinter.pipeline.identity import lineage, workload
from overwinter.pipeline.locks import locked_in_turn
from overwinter.pipeline.outputs import Outputs
from overwinter.pipeline.prefix import prefix_keys
from overwinter.pipeline.render import gate_name, versions_out
from overwinter.pipeline.supervised import Supervised
from overwinter.programs import EXIT_INTERRUPTED
from overwinter.records import to_json, write_record

if TYPE_CHECKING:
    from overwinter.energy import EnergyRecord
    from overwinter.ledger import Execution
    from overwinter.pipeline.invocation import Invocation
    from overwinter.power.control.pausing import PausedWork
    from overwinter.training.rank_group import RankGroup

_EVENT_INTERVAL_S = 0.25
_VARIANTS = ("model", "given")  # outputs that are variants of the model
PROBE_S = "OVERWINTER_PROBE_S"  # seconds of steps after which a probed stage stops


class Stage(Supervised):
    """The context of a stage program.

    Attributes:
        name: The stage's name.
        config: The whole typed configuration.
        folder: The final folder of its outputs.
        checkpoints: A folder that survives a kill, specific to this configuration and these inputs.
        ranks: The processes that torchrun started for this stage, of which this is one; None: the stage works alone.
    """

    def __init__(self, call: Invocation) -> None:
        super().__init__(call.stage, call.config)
        self.config: Config = call.config
        self.folder = call.folder
        self.scratch = call.scratch
        self._project = call.project
        self.ranks: RankGroup | None = None
        self._kept = False
        self.paused_work: PausedWork | None = None
        self._last_event_s = 0.0
        self._probe_s = float(os.environ[PROBE_S]) if PROBE_S in os.environ else None
        self._probe_ends_s: float | None = None
        self._metrics: dict[str, Any] = {}
        if self.name not in self.config.pipeline.stages:
            raise ConfigError(f"pipeline.stages does not name {self.name!r}. Add it, then run `overwinter compose`.")
        if not call.scratch:
            self._require_gates()
        self._lineage = lineage(self.config, self._project, self.name)
        if not call.scratch:
            self._require_checked_versions()
        self._outputs = Outputs(call.folder)
        self._finished = None if call.scratch or "DVC_STAGE" not in os.environ else self._finished_work()
        self.checkpoints = checkpoint_folder(call.project.state, self.name, self.configuration_key())

    # For stage programs.

    @property
    def is_main(self) -> bool:
        """Whether this process writes the outputs, which one of several does."""
        return self.ranks is None or self.ranks.is_main

    def input(self, stage: str, out: str = "model") -> Path:
        """Return the path of an earlier stage's output.

        Raises:
            OverwinterError: the stage is not in this one's `needs`.
        """
        if stage not in self._spec.needs:
            raise OverwinterError(f"pipeline.stages.{self.name}.needs does not name {stage!r}. Add it there.")
        return self._project.outputs / stage / out

    def earlier_models(self) -> dict[str, Path]:
        """Return stage -> folder of its model, of all stages that this one builds on, directly or through others.

        One that this stage does not need itself may be missing on a machine that took its result from a cache.
        """
        stages = self.config.pipeline.stages
        names, waiting = [], list(self._spec.needs)
        while waiting:
            name = waiting.pop()
            if name not in names:
                names.append(name)
                waiting += stages[name].needs
        return {name: self._project.outputs / name / "model" for name in names if "model" in stages[name].outs}

    def variants(self) -> dict[str, Path]:
        """Return the models of the stages in `needs`: variant -> saved model, the simplest first.

        They are the outputs `model`, and `given`: the file that a model came in.

        Raises:
            IntegrityError: a model is missing or altered, or two stages have different models of the same name.
        """
        from overwinter.models import find_variants

        return find_variants(
            {
                need if out == "model" else f"{need}/{out}": self.input(need, out)
                for need in self._spec.needs
                for out in _VARIANTS
                if out in self.config.pipeline.stages[need].outs
            }
        )

    def variant(self, name: str) -> Path:
        """Return one of `variants`.

        Raises:
            ConfigError: no stage in `needs` makes it.
        """
        variants = self.variants()
        if name not in variants:
            raise ConfigError(
                f"No stage in pipeline.stages.{self.name}.needs makes the variant {name!r}. Available: "
                f"{', '.join(variants)}. Add the stage that makes it to needs."
            )
        return variants[name]

    def out(self, name: str = "model") -> Path:
        """Return the path to write an output to: a new folder, or a file's path if ``name`` has a suffix.

        The output is moved to its final path when the stage succeeds.
        """
        return self._outputs.staging(name)

    @contextlib.contextmanager
    def quiet_device(self) -> Iterator[None]:
        """Have the devices to itself inside the context, for a measurement: other runs leave them at their next step.

        The wait for them counts neither as time nor as energy.
        """
        if self.devices is None:
            yield
            return
        with self.devices.alone(self.meter.paused):
            yield

    def progress(self, done: float, total: float, **figures: float) -> None:
        """Report a step of work that has a checkpoint, or saves one when it is stopped.

        Raises:
            RefusedError: the stage's budget is or will be exceeded; save a checkpoint and do not catch it.
            InterruptedStageError: the stage was interrupted.
            PausedError: the power policy pauses the work.
        """
        self._advance(done, total, figures, kept=True)

    def unsaved_progress(self, done: float, total: float) -> None:
        """Report a step of work that has no checkpoint, and whose steps may differ in cost.

        As `progress`, but the budget counts only what is already spent, without a projection, and the work is paused
        only before its first step.
        """
        self._advance(done, total, {}, kept=False)

    def _advance(self, done: float, total: float, figures: Mapping[str, float], *, kept: bool) -> None:
        self._reach(done, total)
        self._kept = kept
        self._stop_if_interrupted()
        if self.devices is not None:
            self.devices.give_way(self.meter.paused)
        if kept:
            self._note_step(done, total)
        self._hold_to_budget(done, total, kept=kept)
        self._follow_policy(done, total, pausable=kept or done == 0)
        if self.last_progress_s - self._last_event_s >= _EVENT_INTERVAL_S or done >= total:
            self._last_event_s = self.last_progress_s
            emit("progress", self.name, done=done, total=total, figures=figures, **self._spent())
        self._end_probe(done, total)

    def _stop_if_interrupted(self) -> None:
        if self.interrupted:
            (done, total), next_run = self.position, "resumes from there" if self._kept else "starts over"
            at = "" if done is None else f" at {done:g} of {total:g} steps"
            raise InterruptedStageError(
                f"{self.name} was interrupted{at}. The next run {next_run}; finished stages are kept."
            )

    def kept(self) -> str:
        """Return what is kept if the stage is interrupted now, before its next step, and how to go on."""
        if self.has_checkpoint():
            return "Its last checkpoint is kept: the next run resumes from there; finished stages are kept, too."
        return "It had saved nothing: the next run starts it over; finished stages are kept."

    def _stop_waiting(self) -> None:
        """Count a wait as a step, so that the first signal ends it as it ends the work."""
        self.last_progress_s = time.monotonic()
        self._stop_if_interrupted()

    def _follow_policy(self, done: float, total: float, *, pausable: bool) -> None:
        if self.control is None:
            return
        self.control.step(done, total)
        if self.control.pause is not None and done < total and pausable:
            from overwinter.power.control.pausing import PausedError

            self.paused_work = self.control.paused_work()
            raise PausedError(self.control.pause)

    def profile_place(self, folder: str) -> Path:
        """Return the file of this stage's power profile in ``folder``, relative to the main root."""
        return self._project.state.parent / folder / f"{self.name}.json"

    def workload(self) -> dict[str, Any]:
        """Return the settings that determine one step of the stage."""
        return workload(self.config, self.name)

    def _end_probe(self, done: float, total: float) -> None:
        """Stop the stage if it is only probed and the probe's time is over."""
        if self._probe_s is None:
            return
        self._probe_ends_s = self._probe_ends_s or self.last_progress_s + self._probe_s
        if self.last_progress_s >= self._probe_ends_s and done < total:
            raise ProbeEndedError(f"{self.name} was probed up to {done:g} of {total:g}.")

    def save_metrics(self, metrics: Mapping[str, Any] | ModelMetrics | EvaluationMetrics) -> None:
        """Write metrics.json: numbers, strings and mappings of them."""
        self._metrics = dict(metrics) if isinstance(metrics, Mapping) else to_json(metrics)
        write_json(self.out("metrics.json"), self._metrics)

    def log(self, text: str) -> None:
        """Print one line for the user."""
        print(f"{self.name}: {text}", flush=True)
        emit("say", self.name, text=text)

    def lineage(self) -> dict[str, Any]:
        """Return the digests of the stage's inputs and parameters, and the code's version."""
        return dict(self._lineage)

    # For run_stage.

    @property
    def metrics(self) -> dict[str, Any]:
        """Return the saved metrics."""
        return self._metrics

    def rank_logs(self) -> Path:
        """Return an empty folder for what the processes of a distributed stage write."""
        folder = self._project.state / "ranks" / self.checkpoints.name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    @property
    def _spec(self) -> Any:
        return self.config.pipeline.stages[self.name]

    def configuration_key(self) -> str:
        """Return the digest of everything that determines the result: parameters, inputs and the code's version."""
        return digest(self._lineage)

    def prefix_key(self) -> str | None:
        """Return the digest of what determines the result and is known before the pipeline runs; None for scratch."""
        return None if self.scratch else prefix_keys(self.config, self._project)[self.name]

    def has_checkpoint(self) -> bool:
        """Return whether there is a checkpoint to resume from."""
        return has_checkpoint(self.checkpoints)

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Do this work alone: meanwhile no other tree uses its checkpoints or its finished result."""
        place = work_lock(self._project.state, self.checkpoints.name)
        begin_s = time.monotonic()
        with locked_in_turn(place, on_wait=self._report_wait) as waited:
            self.waited_s = time.monotonic() - begin_s if waited else 0.0
            yield

    def _report_wait(self, holder: str) -> None:
        self.log(f"waits for process {holder}, which does the same work")

    @contextlib.contextmanager
    def sharing_devices(self) -> Iterator[None]:
        """Use the stage's devices beside other runs, after a measurement that has them now."""
        from overwinter.energy.quiet import QuietDevices, devices_of

        devices = QuietDevices(devices_of(self.config.device), notify=self.log, stop=self._stop_waiting)
        with devices:
            self.waited_s, devices.waited_s = self.waited_s + devices.waited_s, 0.0
            self.devices = devices
            yield

    def complete(self, energy: EnergyRecord, execution: Execution) -> str:
        """Complete the outputs with energy.json, keep them until DVC has committed them, and return their digest."""
        write_record(self.out(ENERGY_FILE), energy)
        staged = self._outputs.complete()
        files = described(staged)
        result = artifact_digest(self._spec.outs, files)
        if self._finished is not None:
            row = execution.done_row(energy=energy, metrics=self.metrics or None, artifact_digest=result)
            try:
                self._finished.keep(staged, files, row)
            except OverwinterError as error:
                self.log(f"the result is not kept until DVC has committed it, so a kill before that costs it: {error}")
        return result

    def publish(self) -> None:
        """Publish the outputs, and delete the checkpoints."""
        self._outputs.publish()
        shutil.rmtree(self.checkpoints, ignore_errors=True)

    def finished(self) -> dict[str, Any] | None:
        """Return the ledger's row of an execution that finished this work, and whose result DVC has not committed."""
        return None if self._finished is None else self._finished.find()

    def publish_finished(self) -> None:
        """Publish the result of that execution instead of a new one."""
        if self._finished is not None:
            self._finished.take(self._outputs)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
            emit("restored", self.name)
            self.log("its finished result was kept when an earlier run was killed, or came from another tree")

    def _finished_work(self) -> FinishedWork:
        return FinishedWork(
            project=self._project,
            stage=self.name,
            configuration_key=self.configuration_key(),
            result_key=result_key(self.config, self._project, self.name, self._lineage),
        )

    def discard(self) -> None:
        """Remove outputs written under temporary names, and keep the checkpoints."""
        self._outputs.discard()

    def _require_gates(self) -> None:
        """Raise RefusedError unless every gate before this stage has passed, which DVC alone does not guarantee."""
        for stage in self.config.pipeline.stages:
            if stage == self.name:
                return
            path = self._project.outputs / stage / "gate.json"
            remedy = f"Run `dvc repro {gate_name(stage)}`."
            if not path.exists():
                raise RefusedError(f"{self.name} does not start: the gate after {stage} has not passed. {remedy}")
            if read_json(path, remedy=remedy) != {"stage": stage, "pass": True}:
                raise IntegrityError(f"{path} is not the verdict of the gate after {stage}. {remedy}")

    def _require_checked_versions(self) -> None:
        """Raise IntegrityError if what is at an address changed since the check: DVC would record what was there."""
        for group in remote_places(self.config).keys() & self._lineage.keys():
            versions = self._lineage[group]
            if read_json(self._project.root / versions_out(group), remedy="Run `dvc repro check`.") != versions:
                raise IntegrityError(f"{', '.join(versions)} changed since the check. Run the same command again.")


class InterruptedStageError(OverwinterError):
    """The stage was interrupted (Ctrl-C, SIGTERM) and stopped at a step."""

    exit_code = EXIT_INTERRUPTED


class ProbeEndedError(InterruptedStageError):
    """The stage was only probed, and the probe's time is over."""

    exit_code = EXIT_DONE

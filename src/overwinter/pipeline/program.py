"""The entry point of a stage program: from its command line to its exit code.

A stage opens in this order: parent watch, configuration, lock on the outputs, gates, lock on the work, devices, ledger,
meter, guard. It closes in the reverse order, and the ledger records every end. A result that an earlier run finished,
and was killed before DVC committed it, is published without running again.
"""

from __future__ import annotations

import contextlib
import os
import platform
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, NoReturn

from overwinter.ledger.kept import STATE_FOLDER
from overwinter.models.description import own_models
from overwinter.pipeline.capping import WAITED, stage_command, wait_and_return
from overwinter.pipeline.current import alone
from overwinter.pipeline.events import emit
from overwinter.pipeline.identity import artifacts_read, declared_work, likeness
from overwinter.pipeline.invocation import Invocation, invocation, serve_hydra_flags
from overwinter.pipeline.locks import locked
from overwinter.pipeline.parent_watch import experiment, run_id, watch_parent
from overwinter.pipeline.rank import is_rank, run_rank
from overwinter.pipeline.ranks import distributed_work
from overwinter.pipeline.records import energy_record, write_power_csv
from overwinter.pipeline.reported import run_program
from overwinter.pipeline.signals import restore_termination
from overwinter.pipeline.stage import Stage
from overwinter.pipeline.supervising import metered, signals_handled, status_of
from overwinter.programs import explained

if TYPE_CHECKING:
    from overwinter.budget import StageGuard
    from overwinter.energy import EnergyRecord
    from overwinter.ledger import Execution, Ledger


def run_stage(name: str, work: Callable[[Stage], None], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run a stage program, ``python stages/NAME.py [overrides]``, and end the process with its exit code.

    Args:
        name: The stage's name.
        work: The function that does the stage's work.
        arguments: Hydra overrides; by default those of the command line.
    """
    # Before torch starts its threads: spinning threads waste joules, and with a busy neighbour took nine times as long.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    words = list(sys.argv[1:] if arguments is None else arguments)
    if serve_hydra_flags(words):
        sys.exit(0)
    if is_rank():
        run_rank(name, work, words)
    run_program(name, lambda: _run_stage(name, work, words))


def _run_stage(name: str, work: Callable[[Stage], None], words: Sequence[str]) -> int:
    restore_termination()  # dvc may have to outlive a signal that is meant for the stage
    watch_parent()
    emit("start", name)
    call = invocation(name, words)
    sys.path.append(str(call.project.root))  # the user's own package may be next to dvc.yaml
    stage = _paused_or_done(call, work, words)
    if stage.paused_work is not None:
        wait_and_return(stage.paused_work, stage_command(words))
    if call.scratch:
        stage.log(f"scratch results are in {call.folder}")
    return 0


def _paused_or_done(call: Invocation, work: Callable[[Stage], None], words: Sequence[str]) -> Stage:
    """Do the work, here or in processes that torchrun starts.

    If the power policy pauses it, everything is closed and the checkpoint is kept.
    """
    from overwinter.power.control.pausing import PausedError

    with _outputs_locked(call):
        stage = Stage(call)
        with stage.working():
            if _finished_earlier(stage, call):
                return stage
            try:
                with own_models(), signals_handled(stage), stage.sharing_devices(), _accounted(stage, call):
                    (distributed_work(call, words) or work)(stage)
            except PausedError as error:
                stage.log(str(error))
    return stage


def _outputs_locked(call: Invocation) -> contextlib.AbstractContextManager[object]:
    """Lock the stage's outputs in this tree; a scratch folder is new and belongs to this call."""
    if call.scratch:
        return contextlib.nullcontext()
    place = call.project.root / STATE_FOLDER / "locks" / f"{call.stage}.lock"
    return locked(place, what=f"The output of the stage {call.stage}")


def _finished_earlier(stage: Stage, call: Invocation) -> bool:
    """Publish the result of an execution that finished and was killed, close that execution, and return whether."""
    from overwinter.ledger import Ledger, ledger_path

    row = stage.finished()
    if row is None:
        return False
    with Ledger.open(ledger_path(call.project.root)) as ledger:
        ledger.settle(row)
    stage.publish_finished()
    return True


@contextlib.contextmanager
def _accounted(stage: Stage, call: Invocation) -> Iterator[None]:
    """Meter the stage, record it in the ledger, and publish the outputs if it succeeds."""
    from overwinter.ledger import Ledger, ledger_path

    with alone(stage), Ledger.open(ledger_path(call.project.root)) as ledger:
        ledger.reap()
        execution = _begun(ledger, stage)
        try:
            stage.guard = _admitted(ledger, stage)
            with _metered(stage, execution) as record:
                yield
            energy = record()
            result = stage.complete(energy, execution)
            stage.publish()
        except BaseException as error:
            stage.discard()
            message, code = explained(error)
            execution.finish(status=status_of(error), exit_code=code, metrics=stage.metrics or None, message=message)
            raise
        execution.finish(
            status="done",
            exit_code=0,
            energy=energy,
            metrics=stage.metrics or None,
            artifact_digest=result,
        )


def _begun(ledger: Ledger, stage: Stage) -> Execution:
    from overwinter.ledger import SCRATCH, origin_of

    key = stage.configuration_key()
    stage.resumed = ledger.earlier(stage=stage.name, configuration_key=key) if stage.has_checkpoint() else None
    return ledger.begin(
        stage=stage.name,
        run_id=run_id(),
        configuration_key=key,
        prefix_key=stage.prefix_key(),
        experiment=experiment() or (SCRATCH if stage.scratch else None),
        params_digest=stage.lineage()["parameters_sha256"],
        work=declared_work(stage.config, stage.name),
        workload=likeness(stage.config, stage.name),
        inputs=artifacts_read(stage.lineage()),
        resumed=stage.resumed,
        origin=origin_of(ledger.path, **asdict(stage.config.ledger)),
    )


def _admitted(ledger: Ledger, stage: Stage) -> StageGuard:
    """Check the stage's forecast against the remaining budget, and return the guard of its spending."""
    from overwinter.budget import StageGuard, admit, forecast
    from overwinter.ledger import Filter

    budget, key = stage.budget, stage.configuration_key()
    spent_run, spent_stage = ledger.spent(run_id=run_id()), ledger.spent(run_id=run_id(), stage=stage.name)
    expected = forecast(
        ledger.executions(Filter(stage=stage.name)),
        stage=stage.name,
        configuration_key=key,
        work=declared_work(stage.config, stage.name),
        workload=likeness(stage.config, stage.name),
        inputs=artifacts_read(stage.lineage()),
        host=platform.node(),
    )
    for warning in admit(budget, stage=stage.name, forecast=expected, spent_run=spent_run, spent_stage=spent_stage):
        stage.log(warning)
    return StageGuard(budget, stage=stage.name, spent_run=spent_run, spent_stage=spent_stage)


@contextlib.contextmanager
def _metered(stage: Stage, execution: Execution) -> Iterator[Callable[[], EnergyRecord]]:
    """Meter the work inside the context; afterwards, the yielded function returns the content of energy.json."""
    with metered(stage, execution, since_process_start=WAITED not in os.environ) as spent:
        yield lambda: energy_record(stage, spent(), execution=execution.id)
    write_power_csv(stage, stage.meter.samples, spent())

"""`watch`: the context manager and decorator that supervises a script, from its configuration to its ledger entry."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import secrets
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Never, ParamSpec, TypeVar

from overwinter.errors import ConfigError, OverwinterError
from overwinter.pipeline.current import alone, current_work
from overwinter.watching.arguments import Options, refuse_positional
from overwinter.watching.run import Run

if TYPE_CHECKING:
    from overwinter.budget import StageGuard
    from overwinter.config.groups.supervision import Supervision
    from overwinter.energy import EnergyRecord
    from overwinter.ledger import Execution, Ledger
    from overwinter.pipeline.watch import Spent

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def watch(
    *positional: Never,
    budget: str | None = None,
    power: str | None = None,
    carbon: str | None = None,
    project: str | None = None,
    name: str | None = None,
    checkpoint: Callable[[], object] | None = None,
    resumes: bool = False,
    energy_json: str | Path | None = None,
    emissions_csv: str | Path | None = None,
    on_reading: Callable[[Run, Spent], object] | None = None,
    track: Sequence[str] = (),
    overrides: Sequence[str] = (),
    log: Callable[[str], None] | None = None,
) -> Watching:
    """Meter, limit and record a part of a script, as a context manager or a decorator.

    What is not given comes from the Overwinter project around the current folder, or else from the package's
    defaults: no budget, no power limit, the world's average carbon intensity.

    Args:
        positional: None: each argument is named, and the decorator is written `@overwinter.watch()`.
        budget: The limit on the run, such as `50 kJ`, `0.5 kWh and 2 h` or `100 gCO2e`.
        power: The power policy, an option of the group `power/`, such as `static` or `carbon_aware`.
        carbon: The source of the carbon intensity, an option of the group `carbon/`, such as `country`.
        project: The project's name in the ledger; by default the name of the ledger's folder.
        name: The run's name in the ledger; by default the script's.
        checkpoint: A function that saves the work's state. It is called between two steps, before the run is stopped.
            With it, a run that will exceed its budget is stopped early; without it, once it has exceeded it.
        resumes: Whether the script continues from such a checkpoint: what the unfinished runs of this project and name
            have spent since the last finished one then counts against the budget, too.
        energy_json: A file for the figures, as a stage writes them; it is written however the run ends.
        emissions_csv: A file to which a row in CodeCarbon's format is appended, however the run ends.
        on_reading: A function that gets the run and its costs twice a second, in a thread, and at the end: for plots.
        track: Where the curves go: `tensorboard`, `mlflow`, or a tracker of another package.
        overrides: Further settings of the groups energy, hardware, carbon, power, budget and ledger in Hydra's
            grammar, such as `power=static` and `power.limit=150 W`.
        log: A function that shows one line to the user; by default, on standard error.

    Returns:
        A context manager; its value is the `Run`. As a decorator, `overwinter.current_run` returns it.

    Raises:
        ConfigError: An argument has a wrong type, or no name.
    """
    refuse_positional(positional)
    return Watching(
        Options(
            budget=budget,
            power=power,
            carbon=carbon,
            project=project,
            name=name,
            checkpoint=checkpoint,
            resumes=resumes,
            energy_json=energy_json,
            emissions_csv=emissions_csv,
            on_reading=on_reading,
            track=track,
            overrides=overrides,
            log=_to_standard_error if log is None else log,
        )
    )


def current_run() -> Run:
    """Return the run that `watch` supervises now.

    Raises:
        ConfigError: There is none in this process.
    """
    run = current_work()
    if not isinstance(run, Run):
        raise ConfigError("No run is watched here. Put the work into `with overwinter.watch() as run:`.")
    return run


class Watching:
    """What `watch` returns: a context manager, usable several times in turn, and a decorator."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._entered: contextlib.AbstractContextManager[Run] | None = None

    def __enter__(self) -> Run:
        entered = _watched(self._options)
        run = entered.__enter__()
        self._entered = entered
        return run

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        entered, self._entered = self._entered, None
        if entered is not None:
            entered.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        """Watch each call of ``function``.

        Raises:
            ConfigError: It is a generator or a coroutine, whose call ends before its work begins.
        """
        if any(
            kind(function)
            for kind in (inspect.isgeneratorfunction, inspect.iscoroutinefunction, inspect.isasyncgenfunction)
        ):
            raise ConfigError(
                f"{getattr(function, '__name__', function)} is a generator or a coroutine: its call ends before its "
                "work begins. Put `with overwinter.watch():` inside it."
            )

        @functools.wraps(function)
        def watched(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            with Watching(self._options):
                return function(*args, **kwargs)

        return watched


@contextlib.contextmanager
def _watched(options: Options) -> Iterator[Run]:
    """Supervise the work inside the context, and record its end, whatever it is."""
    from overwinter.energy.ranks import local_rank
    from overwinter.ledger import Ledger, ledger_path
    from overwinter.pipeline.supervising import metered
    from overwinter.watching.ranks import followed

    options = _from_here(options)
    run = _opened(options)
    if local_rank(os.environ):
        with alone(run), followed(run):
            yield run
        return
    with alone(run), Ledger.open(ledger_path(), log=options.log) as ledger:
        ledger.reap()
        execution = _begun(ledger, run, run.config, options)
        spent: Callable[[], Spent] | None = None
        try:
            run.guard = _admitted(ledger, run, execution)
            with _signals_handled(run), _tracked(run, execution.run_id, options), metered(run, execution) as spent:
                yield run
        except BaseException as error:
            _finish(run, execution, _recorded(run, execution, spent), error)
            _write(run, ledger, options)
            raise
        _finish(run, execution, _recorded(run, execution, spent), None)
        _write(run, ledger, options)


def _opened(options: Options) -> Run:
    from overwinter.energy.ranks import local_rank
    from overwinter.ledger import ledger_path
    from overwinter.watching.settings import supervision_for_script

    config = supervision_for_script(
        budget=options.budget,
        power=options.power,
        carbon=options.carbon,
        project=options.project,
        overrides=options.overrides,
    )
    _check_files(options)
    return Run(
        options.name or _script_name(),
        config,
        checkpoint=options.checkpoint,
        log=options.log if local_rank(os.environ) == 0 else _say_nothing,
        state=ledger_path().parent,
        on_reading=options.on_reading,
    )


def _begun(ledger: Ledger, run: Run, config: Supervision, options: Options) -> Execution:
    from overwinter.files import digest
    from overwinter.ledger import origin_of

    key = digest({"watch": run.title, "project": config.ledger.project})
    run.resumed = ledger.earlier(stage=run.name, configuration_key=key) if options.resumes else None
    return ledger.begin(
        stage=run.name,
        run_id=f"watch-{datetime.now(UTC):%Y%m%dT%H%M%S}-{secrets.token_hex(3)}",
        configuration_key=key,
        resumed=run.resumed,
        origin=origin_of(ledger.path, **asdict(config.ledger)),
    )


def _admitted(ledger: Ledger, run: Run, execution: Execution) -> StageGuard:
    """Refuse a run of whose budget nothing is left, and return the guard of its spending."""
    from overwinter.budget import Forecast, StageGuard, admit

    spent = ledger.spent(run_id=execution.run_id)
    unknown = Forecast(stage=run.title, basis="unknown")
    admit(run.budget, stage=run.title, forecast=unknown, spent_run=spent, spent_stage=spent)
    return StageGuard(run.budget, stage=run.title, spent_run=spent, spent_stage=spent)


@contextlib.contextmanager
def _tracked(run: Run, run_id: str, options: Options) -> Iterator[None]:
    """Send the run's figures to the trackers that were asked for; of none, load nothing."""
    if not options.track:
        yield
        return
    from overwinter.tracking import open_tracking

    tracking = open_tracking(options.track, folder=run.state, run=run_id, log=run.log)
    run.on_event = tracking
    try:
        yield
    finally:
        tracking.close()


@contextlib.contextmanager
def _signals_handled(run: Run) -> Iterator[None]:
    """Stop at the next step on the signals that the script does not handle itself."""
    from overwinter.pipeline.signals import default_interrupts_handled

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    with default_interrupts_handled(run.interrupt):
        yield


def _recorded(run: Run, execution: Execution, spent: Callable[[], Spent] | None) -> EnergyRecord | None:
    """Return the content of energy.json; None if the meter was not opened."""
    from overwinter.pipeline.records import energy_record

    if spent is not None:
        run.record = energy_record(run, spent(), execution=execution.id)
    return run.record


def _finish(run: Run, execution: Execution, record: EnergyRecord | None, error: BaseException | None) -> None:
    status, exit_code, message = _end(run, error)
    if record is not None and status == "done" and (over := run.overspent(record)):
        message = over
        run.log(f"{over}; a run is stopped between the steps that it reports, and this one ended by itself")
    execution.finish(
        status=status, exit_code=exit_code, energy=record, metrics=run.figures or None, message=message or None
    )
    if record is not None:
        run.log(_in_words(record, status))


def _end(run: Run, error: BaseException | None) -> tuple[str, int, str]:
    """Return the ledger's status, the exit code and the message of a run that ended with ``error``."""
    from overwinter.pipeline.supervising import status_of

    if error is None:
        return "done", 0, ""
    if isinstance(error, SystemExit):
        code = error.code if isinstance(error.code, int) else int(error.code is not None)
        if run.signal is not None:
            return "interrupted", code, f"ended by signal {run.signal}"
        return ("failed", code, f"the script ended with {error.code!r}") if code else ("done", 0, "")
    if isinstance(error, OverwinterError):
        return status_of(error), error.exit_code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return "interrupted", 130, str(error) or "interrupted"
    return "failed", 1, f"{type(error).__name__}: {error}"


def _in_words(record: EnergyRecord, status: str) -> str:
    from overwinter.units import format_duration, format_si

    energy = f"{format_si(record.energy_j, 'J')} ± {format_si(record.uncertainty_j, 'J')}"
    share = f"{record.measured_fraction:.0%} measured" if record.measured_fraction else "modelled"
    carbon = "" if record.carbon_g is None else f", {format_si(record.carbon_g, 'gCO2e')}"
    return f"{status}: {energy} ({share}){carbon} in {format_duration(record.duration_s)}"


def _from_here(options: Options) -> Options:
    """Return the options with absolute paths: the script may change its folder."""

    def absolute(path: str | Path | None) -> Path | None:
        return None if path is None else Path(path).absolute()

    return replace(options, energy_json=absolute(options.energy_json), emissions_csv=absolute(options.emissions_csv))


def _check_files(options: Options) -> None:
    """Refuse files that cannot be written, before any work."""
    from overwinter.outputs import check_output

    for path in (options.energy_json, options.emissions_csv):
        if path is not None:
            check_output(Path(path))
    if options.emissions_csv is not None:
        from overwinter.disclosure.emissions_csv import check_emissions

        check_emissions(Path(options.emissions_csv))


def _write(run: Run, ledger: Ledger, options: Options) -> None:
    """Write the files that were asked for; the run has ended, so an error is only reported."""
    if run.record is None:
        return
    try:
        if options.energy_json is not None:
            _write_record(Path(options.energy_json), run.record)
        if options.emissions_csv is not None:
            _append_row(Path(options.emissions_csv), ledger, run.record)
    except OverwinterError as error:
        run.log(f"{error} The ledger has the figures.")


def _write_record(path: Path, record: EnergyRecord) -> None:
    import json

    from overwinter.outputs import write_output
    from overwinter.records import to_json

    write_output(path, json.dumps(to_json(record), indent=2, allow_nan=False) + "\n")


def _append_row(path: Path, ledger: Ledger, record: EnergyRecord) -> None:
    from overwinter.disclosure import append_emissions
    from overwinter.ledger import Filter

    own = ledger.executions(Filter(stage=record.stage), documents=True)
    append_emissions(path, [each for each in own if each.id == record.execution])


def _script_name() -> str:
    name = Path(sys.argv[0] if sys.argv else "").name
    if name.startswith("ipykernel"):
        return "notebook"
    return "python" if name in ("", "-", "-c") else name


def _to_standard_error(text: str) -> None:
    print(f"overwinter: {text}", file=sys.stderr, flush=True)


def _say_nothing(text: str) -> None:
    """Show nothing: local rank 0 speaks for its node."""

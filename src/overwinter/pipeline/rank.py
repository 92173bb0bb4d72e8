"""A stage program as one of the ranks that torchrun started: it does the stage's work.

A rank has no meter and no ledger. Only the main one reports, through the stage's process, and writes outputs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from overwinter.errors import EXIT_DONE, EXIT_FAILED, ConfigError, OverwinterError
from overwinter.models.description import own_models
from overwinter.pipeline.invocation import Invocation, invocation
from overwinter.pipeline.parent_watch import end_with
from overwinter.pipeline.rank_link import LinkAddress, RankLink
from overwinter.pipeline.stage import Stage
from overwinter.programs import explained
from overwinter.records import to_json

if TYPE_CHECKING:
    from overwinter.metrics import EvaluationMetrics, ModelMetrics

_STARTED_BY_TORCHRUN = "TORCHELASTIC_RUN_ID"


def is_rank() -> bool:
    """Return whether torchrun started this program."""
    return _STARTED_BY_TORCHRUN in os.environ


def run_rank(name: str, work: Callable[[Stage], None], words: Sequence[str]) -> NoReturn:
    """Do a stage's work as one rank, and end the process with its exit code.

    An error that a new start would not cure is told to the stage, which then ends all ranks; after any other, torchrun
    starts them again.
    """
    address = LinkAddress.from_environment()
    end_with([os.getppid(), *([] if address is None else [address.pid])], agent=os.getppid())
    link = None if address is None else RankLink(address)
    try:
        with tempfile.TemporaryDirectory() as scratch:
            _work(name, work, words, link, Path(scratch))
        code = EXIT_DONE
    except BaseException as error:  # noqa: BLE001 - the edge of the program
        code = _reported(error, link)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)  # the threads of a broken process group would keep the process


def _work(name: str, work: Callable[[Stage], None], words: Sequence[str], link: RankLink | None, scratch: Path) -> None:
    call = replace(invocation(name, words), folder=scratch, scratch=True)
    sys.path.append(str(call.project.root))
    with own_models(), _opened(call, link) as stage:
        work(stage)
        if stage.is_main:
            stage.finish()


def _reported(error: BaseException, link: RankLink | None) -> int:
    """Tell the stage why this rank ends; return the exit code."""
    from overwinter.training.result import StoppedRankError

    if isinstance(error, StoppedRankError):
        return EXIT_DONE
    message, code = explained(error)
    # Whatever breaks a process group is a RuntimeError, and so is a GPU that ran out of memory.
    curable = not isinstance(error, OverwinterError) and isinstance(error, RuntimeError | OSError)
    traceback.print_exception(error)
    if link is not None:
        with contextlib.suppress(OSError):
            link.tell("raised" if curable else "failed", text=message, code=code, rank=os.environ["RANK"])
    return code or EXIT_FAILED


@contextlib.contextmanager
def _opened(call: Invocation, link: RankLink | None) -> Iterator[RankStage]:
    from overwinter.training.distributed import joined

    settings, stage = getattr(call.config, call.stage), RankStage(call, link)
    if getattr(settings, "distributed", "none") == "none":
        raise ConfigError(
            f"torchrun started the stage {call.stage}, and {call.stage}.distributed is none. Start it with "
            "`overwinter run`, or set it to ddp or fsdp."
        )
    key = stage.configuration_key()
    if link is not None and link.address.configuration_key != key:
        raise ConfigError(
            f"Rank {os.environ['RANK']} has another configuration, input or code than the stage {call.stage} had when "
            "it started it. Do not change them during a run; start it again."
        )
    if link is not None:
        link.tell("joined", rank=int(os.environ["RANK"]), restarts=int(os.environ["TORCHELASTIC_RESTART_COUNT"]))
    with joined(
        settings.distributed,
        device=call.config.device,
        configuration_key=key,
        may_be_main=link is not None,
        timeout_s=call.config.torchrun.rendezvous_timeout_s,
    ) as ranks:
        stage.ranks = ranks
        yield stage


class RankStage(Stage):
    """The stage as its program sees it in one rank."""

    def __init__(self, call: Invocation, link: RankLink | None) -> None:
        super().__init__(call)
        self._link = link
        self._stage_spent_j = 0.0

    @property
    def _reports(self) -> RankLink | None:
        """The link, of the main rank."""
        return self._link if self.is_main else None

    def out(self, name: str = "model") -> Path:
        """Return the path to write an output to, the stage's own for the main rank."""
        return super().out(name) if self._reports is None else Path(self._reports.ask("out", name=name)["path"])

    def log(self, text: str) -> None:
        """Have the stage print one line for the user."""
        if self._reports is not None:
            self._reports.tell("log", text=text)

    def save_metrics(self, metrics: Mapping[str, Any] | ModelMetrics | EvaluationMetrics) -> None:
        """Have the stage write metrics.json."""
        if self._reports is not None:
            content = dict(metrics) if isinstance(metrics, Mapping) else to_json(metrics)
            self._reports.tell("metrics", metrics=content)

    def spent_j(self) -> float:
        """Return the joules of the stage so far, as of the latest report of progress."""
        return self._stage_spent_j

    @contextlib.contextmanager
    def quiet_device(self) -> Iterator[None]:
        """Do nothing: the stage's process has the devices."""
        yield

    def finish(self) -> None:
        """Tell the stage that the work is done."""
        if self._link is not None:
            self._link.tell("done")

    def _advance(self, done: float, total: float, figures: Mapping[str, float], *, kept: bool) -> None:
        from overwinter.training.result import StoppedRankError

        self._reach(done, total)
        if self._reports is None:
            return
        answer = self._reports.ask("progress", done=done, total=total, figures=dict(figures), kept=kept)
        self._stage_spent_j = answer["spent_j"]
        if answer["stop"]:
            raise StoppedRankError(f"The stage was stopped at {done:g} of {total:g}.")

"""A stage whose work torchrun does in several processes: started, listened to, stopped and ended by the stage's own.

The stage's process meters all of them, as it meters any child, holds them to the budget and the power policy, and has
the one entry in the ledger.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil

from overwinter.errors import EXIT_DONE, ConfigError, OverwinterError
from overwinter.pipeline.capping import stage_command
from overwinter.pipeline.events import EVENTS_FILE
from overwinter.pipeline.rank_link import LINK, LinkAddress, listening, received, send

if TYPE_CHECKING:
    from overwinter.pipeline.invocation import Invocation
    from overwinter.pipeline.stage import Stage

# Else torch 2.13 gives ranks that start again the store of those before, and gloo waits at the addresses of the dead.
_FRESH_STORE = "TORCH_DISABLE_SHARE_RDZV_TCP_STORE"
_POLL_S = 0.2
_STOPPING_S = 120.0  # for a last checkpoint


def distributed_work(call: Invocation, words: Sequence[str]) -> Callable[[Stage], None] | None:
    """Return the work of a stage that torchrun does; None if it is done in the stage's own process.

    Args:
        call: The call of the stage program.
        words: Its command line.
    """
    settings: Any = getattr(call.config, call.stage, None)
    if getattr(settings, "distributed", "none") == "none":
        return None

    def work(stage: Stage) -> None:
        _refuse_too_many(stage.name, settings.processes)
        with _RankService(stage, settings.processes, settings.nodes, stage_command(words)) as service:
            service.run()

    return work


class RankError(OverwinterError):
    """An error of a rank, with that rank's exit code."""

    def __init__(self, message: str, exit_code: int) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class _RankService:
    """Starts torchrun, and answers its ranks until all have ended."""

    def __init__(self, stage: Stage, processes: int, nodes: int, command: Sequence[str]) -> None:
        self._stage, self._processes, self._nodes = stage, processes, nodes
        self._command = command
        self._ended = False
        self._done = self._joined = False
        self._restarts = 0
        self._stopped_by: BaseException | None = None
        self._raised = ""
        self._closing = contextlib.ExitStack()

    def __enter__(self) -> _RankService:
        with contextlib.ExitStack() as opened:
            folder = Path(opened.enter_context(tempfile.TemporaryDirectory(prefix="overwinter-ranks-")))
            self._selector = opened.enter_context(selectors.DefaultSelector())
            listener = opened.enter_context(contextlib.closing(listening(folder / "link")))
            self._selector.register(listener, selectors.EVENT_READ, self._accept)
            self._logs = self._stage.rank_logs()
            agent_log = opened.enter_context((self._logs / "torchrun.log").open("wb"))
            self._agent = opened.enter_context(self._started(folder, agent_log))
            self._closing = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    def run(self) -> None:
        """Answer the ranks until torchrun has ended.

        Raises:
            OverwinterError: a rank cannot work, the ranks died too often, or never met.
            BaseException: whatever stopped the stage: its budget, a signal, its power policy.
        """
        deadline_s = None
        while not self._ended:
            self._answer(_POLL_S)
            self._ended = self._agent.poll() is not None
            if self._stopped_by is not None:
                deadline_s = deadline_s or time.monotonic() + _STOPPING_S
                if time.monotonic() > deadline_s:
                    break
        self._answer(0)
        if self._stopped_by is not None:
            raise self._stopped_by
        if self._agent.returncode != EXIT_DONE or not self._done:
            raise OverwinterError(self._explanation())

    @contextlib.contextmanager
    def _started(self, folder: Path, log: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        """Run torchrun in a session of its own, since it would end its ranks at a signal to the whole group."""
        address = LinkAddress(
            socket=str(folder / "link"), pid=os.getpid(), configuration_key=self._stage.configuration_key()
        )
        environment = {key: value for key, value in os.environ.items() if key != EVENTS_FILE}
        threads = self._stage.config.threads or max(1, _cores() // self._processes)
        environment |= {LINK: address.to_environment(), "OMP_NUM_THREADS": str(threads), _FRESH_STORE: "1"}
        with subprocess.Popen(
            self._torchrun(), env=environment, stdin=subprocess.DEVNULL, stderr=log, start_new_session=True
        ) as agent:
            try:
                yield agent
            finally:
                _end(agent)

    def _torchrun(self) -> list[str]:
        settings = self._stage.config.torchrun
        meeting = ["--standalone"]
        if settings.rendezvous is not None:
            meeting = [
                f"--nnodes={self._nodes}",
                "--rdzv-backend=c10d",
                f"--rdzv-endpoint={settings.rendezvous}",
                f"--rdzv-id=overwinter-{self._stage.name}",
                f"--rdzv-conf=timeout={settings.rendezvous_timeout_s},join_timeout={settings.rendezvous_timeout_s}",
            ]
        python, program, *overrides = self._command
        return [
            python,
            "-m",
            "torch.distributed.run",
            *meeting,
            f"--nproc-per-node={self._processes}",
            f"--max-restarts={settings.max_restarts}",
            f"--log-dir={self._logs}",
            "--redirects=2",
            "--local-ranks-filter=0",
            program,
            *overrides,
        ]

    def _answer(self, timeout_s: float) -> None:
        """Handle what the ranks have sent, waiting for it for a while."""
        for key, _ in self._selector.select(timeout_s):
            connection: Any = key.fileobj
            key.data(connection)

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._selector.register(connection, selectors.EVENT_READ, self._serve)

    def _serve(self, connection: socket.socket) -> None:
        message = received(connection)
        if message is None:
            self._selector.unregister(connection)
            connection.close()
            return
        answer = getattr(self, f"_on_{message.pop('kind')}")(**message)
        if answer is not None:
            with contextlib.suppress(OSError):  # the rank was killed meanwhile
                send(connection, answer)

    # What a rank sends.

    def _on_joined(self, rank: int, restarts: int) -> None:
        del rank
        self._joined = True
        if restarts > self._restarts:
            self._restarts = restarts
            allowed = self._stage.config.torchrun.max_restarts
            self._stage.log(f"a process died; all start again from the last checkpoint ({restarts} of {allowed} times)")

    def _on_progress(self, done: float, total: float, figures: dict[str, float], *, kept: bool) -> dict[str, Any]:
        try:
            if self._stopped_by is None:
                if kept:
                    self._stage.progress(done, total, **figures)
                else:
                    self._stage.unsaved_progress(done, total)
        except BaseException as error:  # noqa: BLE001 - whatever stops the stage: the ranks keep their work first
            self._stopped_by = error
        return {"stop": self._stopped_by is not None, "spent_j": self._stage.spent_j()}

    def _on_out(self, name: str) -> dict[str, Any]:
        return {"path": str(self._stage.out(name).absolute())}

    def _on_log(self, text: str) -> None:
        self._stage.log(text)

    def _on_metrics(self, metrics: dict[str, Any]) -> None:
        self._stage.save_metrics(metrics)

    def _on_done(self) -> None:
        self._done = True

    def _on_raised(self, text: str, code: int, rank: str) -> None:
        del code
        self._raised = f"rank {rank}: {text.splitlines()[0]}"

    def _on_failed(self, text: str, code: int, rank: str) -> None:
        """End all ranks: to start them again would not help."""
        del rank
        if self._stopped_by is None:
            self._stopped_by = RankError(text, code)
        _end(self._agent)

    def _explanation(self) -> str:
        logs = f"Their output is in {self._logs}."
        if not self._joined:
            settings = self._stage.config.torchrun
            if settings.rendezvous is None:
                return f"torchrun could not start the processes of {self._stage.name}. {logs}"
            return (
                f"The {self._nodes} machines did not meet at torchrun.rendezvous={settings.rendezvous} in "
                f"{settings.rendezvous_timeout_s} s.\nStart all of them, with one address that each can reach. {logs}"
            )
        return (
            f"The processes of {self._stage.name} died {self._restarts + 1} times"
            f"{f' ({self._raised})' if self._raised else ''}.\n"
            f"The next run resumes from the last checkpoint. {logs}"
        )


def _refuse_too_many(stage: str, processes: int) -> None:
    if processes > _cores():
        raise ConfigError(
            f"{stage}.processes={processes}, and this machine has {_cores()} CPU cores for them. Each process, of a "
            "GPU too, needs one. Lower it."
        )


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def _end(agent: subprocess.Popen[bytes]) -> None:
    """Kill torchrun and then its ranks, which it would otherwise start again."""
    try:
        ranks = psutil.Process(agent.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return
    agent.kill()
    for rank in ranks:
        with contextlib.suppress(psutil.NoSuchProcess):
            rank.kill()
    agent.wait()

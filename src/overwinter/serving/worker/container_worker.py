"""A worker in a container, controlled through its engine's command line.

`serve.worker.launcher` is then `[podman, run, ..., IMAGE]`, or docker's. A parked worker is paused, so that it cannot
use a core; any request resumes it. The image has its own Python with Overwinter, and must see the
bundle at the same path.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Sequence
from pathlib import Path

from overwinter.serving.worker.frames import Frame
from overwinter.serving.worker.records import PARK, Record
from overwinter.serving.worker.worker_process import WorkerProcess, start_program_as

_ENGINES = ("docker", "podman")
_RUN = "run"
_LABEL = "overwinter.supervisor"
_numbers = itertools.count()
_swept: set[tuple[str, ...]] = set()


def is_container(launcher: Sequence[str]) -> bool:
    """Return whether the words run a container."""
    return bool(launcher) and Path(launcher[0]).name in _ENGINES and _RUN in launcher


class ContainerWorker(WorkerProcess):
    """A `WorkerProcess` of the engine's client, attached to a container; construct it with `start_container`."""

    engine: tuple[str, ...]
    name: str
    _paused = False

    async def ask(self, record: Record, body: bytes = b"", *, within_s: float) -> Frame:
        """See `WorkerProcess`; a paused container is resumed before, and a parked one is paused after."""
        await self._resume()
        response = await super().ask(record, body, within_s=within_s)
        if record == PARK:
            await _output_of(*self.engine, "pause", self.name)
            self._paused = True
        return response

    async def stop(self, *, within_s: float) -> None:
        """See `WorkerProcess`; killing the engine's process would leave the container behind."""
        await self._resume()
        self._writer.close()
        await asyncio.wait({self._exit}, timeout=within_s)
        if self.alive:
            await _output_of(*self.engine, "kill", self.name)
            await asyncio.wait({self._exit}, timeout=within_s)
            await super().stop(within_s=0)

    async def _resume(self) -> None:
        if self._paused:
            self._paused = False
            await _output_of(*self.engine, "unpause", self.name)


async def start_container(launcher: Sequence[str], program: Sequence[str]) -> WorkerProcess:
    """Run a worker in a container, with the supervisor's socket as standard input.

    Args:
        launcher: The engine with its options, `run`, and the options and the image of the container.
        program: The command to run, with its first word from the image's own PATH.

    Raises:
        WorkerDied: The engine cannot be started.
    """
    at = launcher.index(_RUN)
    engine, options = tuple(launcher[:at]), launcher[at + 1 :]
    await _sweep(engine)
    name = f"overwinter-{os.getpid()}-{next(_numbers)}"
    own = ["--rm", "--interactive", f"--name={name}", f"--label={_LABEL}={os.getpid()}"]
    worker = await start_program_as(ContainerWorker, [*engine, _RUN, *own, *options, *program])
    worker.engine, worker.name = engine, name
    return worker


async def _sweep(engine: tuple[str, ...]) -> None:
    """Remove containers of killed supervisors: a paused container does not notice the end of its supervisor."""
    if engine in _swept:
        return
    _swept.add(engine)
    pattern = f'{{{{.ID}}}} {{{{index .Labels "{_LABEL}"}}}}'
    listed = await _output_of(*engine, "ps", "--all", "--filter", f"label={_LABEL}", "--format", pattern)
    for container, _, supervisor in (line.partition(" ") for line in listed.splitlines()):
        if not Path(f"/proc/{supervisor}").exists():
            await _output_of(*engine, "rm", "--force", container)


class _Command(WorkerProcess):
    """A command that prints something and exits."""

    async def output(self) -> str:
        """Return the command's output."""
        text = await self._reader.read()
        self._writer.close()
        await self.ended()
        return text.decode(errors="replace")


async def _output_of(*words: str) -> str:
    return await (await start_program_as(_Command, [*words])).output()

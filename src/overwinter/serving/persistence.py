"""The state that one model keeps over sleep and restarts, in the folder `serve.state`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.messages import Call, Reply, read_kind
from overwinter.serving.metrics import Log
from overwinter.serving.plan import ModelPlan
from overwinter.serving.response_cache import ResponseCache
from overwinter.serving.sleep import SleepPolicy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

_MODE = 0o600


class Persistence:
    """The configured caches of a model; without a folder, none.

    Args:
        model: The model's plan.
        serve: The group `serve/`.
        log: Receives read and write errors, which do not stop the model.

    Attributes:
        prefix: The file of a language model's prefix cache; None: no cache.
    """

    def __init__(self, model: ModelPlan, serve: ServeConfig, log: Log) -> None:
        self._log, self._name = log, model.name
        self._policy_file = self._responses = self.prefix = None
        if serve.state is None:
            return
        folder = Path(serve.state).resolve() / "models" / model.name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._policy_file = folder / "policy.json"
        if serve.persistence.response_cache_bytes:
            self._responses = ResponseCache(
                folder / "responses", bundle=model.digest, max_bytes=serve.persistence.response_cache_bytes
            )
        if serve.persistence.prefix_cache and read_kind(model.kind)[1]:
            self.prefix = folder / "prefix.safetensors"

    def restore(self, policy: SleepPolicy) -> None:
        """Restore a policy's state; a policy that cannot be restored starts afresh."""
        if self._policy_file is None or not self._policy_file.exists():
            return
        try:
            policy.restore(files.read_json(self._policy_file, remedy="Delete it."))
        except OverwinterError as error:
            self._log("not restored", model=self._name, message=str(error))

    def save(self, policy: SleepPolicy) -> None:
        """Save a policy's state."""
        if self._policy_file is None or not (state := policy.state()):
            return
        try:
            files.write_json(self._policy_file, state, _MODE)
        except OverwinterError as error:
            self._log("not kept", model=self._name, message=str(error))

    def respond(self, call: Call) -> Reply | None:
        """Return the cached response to an equal call; None if there is none."""
        return self._responses.find(call) if self._responses is not None and call.repeatable else None

    def note(self, call: Call, reply: Reply) -> None:
        """Keep a response for equal calls."""
        if self._responses is not None and call.repeatable:
            self._responses.add(call, reply)

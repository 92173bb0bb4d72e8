"""What one model keeps over sleep and restarts, in a folder that the user has named (`serve.state`)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from overwinter import files
from overwinter.errors import OverwinterError
from overwinter.serving.messages import LANGUAGE, Call, Reply
from overwinter.serving.metrics import Log
from overwinter.serving.plan import ModelPlan
from overwinter.serving.response_cache import ResponseCache
from overwinter.serving.sleep import SleepPolicy

if TYPE_CHECKING:
    from overwinter.config.groups.serve import ServeConfig

_MODE = 0o600


class Persistence:
    """Keeps what the configuration names; without a folder, nothing.

    Args:
        model: whose.
        serve: the group `serve/`.
        log: receives what cannot be read or written: it is left out then, and the model serves anyway.

    Attributes:
        prefix: file of a language model's last conversation; None keeps none.
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
        if serve.persistence.prefix_cache and model.kind == LANGUAGE:
            self.prefix = folder / "prefix.safetensors"

    def restore(self, policy: SleepPolicy) -> None:
        """Let a policy go on with what it had learned; one that cannot begins afresh."""
        if self._policy_file is None or not self._policy_file.exists():
            return
        try:
            policy.restore(files.read_json(self._policy_file, remedy="Delete it."))
        except OverwinterError as error:
            self._log("not restored", model=self._name, message=str(error))

    def save(self, policy: SleepPolicy) -> None:
        """Write down what a policy has learned."""
        if self._policy_file is None or not (state := policy.state()):
            return
        try:
            files.write_json(self._policy_file, state, _MODE)
        except OverwinterError as error:
            self._log("not kept", model=self._name, message=str(error))

    def respond(self, call: Call) -> Reply | None:
        """Return what was answered to an equal call; None if it must be asked."""
        return self._responses.find(call) if self._responses is not None and call.repeatable else None

    def note(self, call: Call, reply: Reply) -> None:
        """Keep a response for equal calls."""
        if self._responses is not None and call.repeatable:
            self._responses.add(call, reply)

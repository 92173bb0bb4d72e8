"""A callback for Hugging Face's `Trainer` (and those derived from it, as trl's), with what `overwinter.watch` does.

    from overwinter.integrations.transformers import OverwinterCallback

    trainer = Trainer(..., callbacks=[OverwinterCallback(budget="50 kJ")])

A run that is stopped saves the trainer's own checkpoint; `trainer.train(resume_from_checkpoint=True)` goes on.
"""

from __future__ import annotations

from typing import Any, Unpack

from overwinter.errors import ConfigError, RefusedError
from overwinter.integrations.ranks import agreed
from overwinter.integrations.watched import Watched, WatchOptions

try:
    from transformers import TrainerCallback
except ImportError as error:
    raise ConfigError("transformers is not installed. Run `pip install 'overwinter[trainer]'`.") from error


class OverwinterCallback(TrainerCallback):
    """Meters, limits and records each `train` of a trainer; inside a `with overwinter.watch()`, for that run.

    When the run is stopped, by its budget, Ctrl-C or SIGTERM, the trainer saves a checkpoint and ends, and `train`
    raises what stopped it: RefusedError, KeyboardInterrupt or SystemExit.

    Args:
        options: The arguments of `overwinter.watch`.
    """

    def __init__(self, **options: Unpack[WatchOptions]) -> None:
        self._options = options
        self._watched: Watched | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Open the run."""
        # The trainer saves the checkpoint after the step; with one, a run stops before its budget is exceeded.
        self._watched = Watched.begin(checkpoint=_nothing, resumes=state.global_step > 0, **self._options)
        self._report(args, state, control)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Report the step; save and stop if the run must."""
        self._report(args, state, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002 -- the library's
        """Close the run, with the training's loss.

        Raises:
            RefusedError: The budget stopped it; its checkpoint is saved.
            KeyboardInterrupt: Ctrl-C stopped it; its checkpoint is saved.
            SystemExit: SIGTERM stopped it; its checkpoint is saved.
        """
        watched, self._watched = self._watched, None
        if watched is None:
            return
        watched.run.metrics(**_final_figures(state.log_history))
        watched.end(watched.stop)
        if watched.stop is not None:
            raise watched.stop

    def _report(self, args: Any, state: Any, control: Any) -> None:
        watched = self._watched
        if watched is None:
            return
        stop = watched.step(state.global_step, state.max_steps)
        if agreed(stop, state.global_step, args.device):
            watched.stop = watched.stop or RefusedError("stopped with local rank 0, which meters for its node")
            control.should_save, control.should_training_stop = True, True


def _nothing() -> None:
    """Save nothing."""


def _final_figures(history: list[dict[str, Any]]) -> dict[str, float]:
    """Return the latest loss and the latest figures of an evaluation."""
    latest: dict[str, float] = {}
    for entry in history:
        latest.update({name: value for name, value in entry.items() if _is_result(name) and isinstance(value, float)})
    return latest


def _is_result(name: str) -> bool:
    return name == "train_loss" or (name.startswith("eval_") and not name.endswith(("_runtime", "_per_second")))

"""A callback for Lightning's `Trainer`, with what `overwinter.watch` does.

    from overwinter.integrations.lightning import OverwinterCallback

    trainer = Trainer(..., callbacks=[OverwinterCallback(budget="50 kJ")])

A run that is stopped saves `overwinter.ckpt` in the trainer's `default_root_dir`; `trainer.fit(model,
ckpt_path="overwinter.ckpt")` goes on from there.
"""

from __future__ import annotations

import math
import signal
from pathlib import Path
from typing import Any, Unpack

from overwinter.errors import ConfigError, RefusedError
from overwinter.integrations.ranks import agreed
from overwinter.integrations.watched import Watched, WatchOptions

try:
    from lightning.pytorch import Callback
except ImportError:
    try:
        from pytorch_lightning import Callback
    except ImportError as error:
        raise ConfigError("lightning is not installed. Run `pip install 'overwinter[lightning]'`.") from error

CHECKPOINT = "overwinter.ckpt"


class OverwinterCallback(Callback):  # type: ignore[misc]  # Lightning's types are not read
    """Meters, limits and records each `fit` of a trainer; inside a `with overwinter.watch()`, for that run.

    When the run is stopped, by its budget, Ctrl-C or SIGTERM, a checkpoint is saved, and `fit` raises what stopped it.
    Lightning itself ends the program with exit code 1 on Ctrl-C.

    Args:
        options: The arguments of `overwinter.watch`.
    """

    def __init__(self, **options: Unpack[WatchOptions]) -> None:
        super().__init__()
        self._options = options
        self._watched: Watched | None = None
        self._total: float | None = None

    def on_fit_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 -- the library's
        """Open the run; by now a checkpoint is loaded, except by strategies that load it later (FSDP, DeepSpeed)."""
        # Several ranks save together, once they agreed to stop.
        self._watched = Watched.begin(checkpoint=_nothing, resumes=trainer.ckpt_path is not None, **self._options)

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:  # noqa: ARG002 -- the library's
        """Report where the work begins."""
        total = trainer.estimated_stepping_batches
        self._total = float(total) if math.isfinite(total) and total > 0 else None
        self._report(trainer)

    def on_train_batch_end(self, trainer: Any, *_: Any, **__: Any) -> None:
        """Report the step; save a checkpoint and stop if the run must.

        Raises:
            RefusedError: The budget stopped it; its checkpoint is saved.
            KeyboardInterrupt: Ctrl-C stopped it; its checkpoint is saved.
            SystemExit: SIGTERM stopped it; its checkpoint is saved.
        """
        self._report(trainer)

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:  # noqa: ARG002
        """Close the run with what ended the fit."""
        if self._watched is not None and type(exception).__name__ == "SIGTERMException":
            self._watched.run.signal = signal.SIGTERM  # Lightning handles this signal itself
        self._end(trainer, exception)

    def teardown(self, trainer: Any, pl_module: Any, stage: str) -> None:  # noqa: ARG002 -- the library's
        """Close the run of a fit."""
        if stage == "fit":
            self._end(trainer, None)

    def _report(self, trainer: Any) -> None:
        watched = self._watched
        if watched is None:
            return
        stop = watched.step(trainer.global_step, self._total)
        if agreed(stop, trainer.global_step, trainer.strategy.root_device):
            watched.stop = watched.stop or RefusedError("stopped with local rank 0, which meters for its node")
            place = Path(trainer.default_root_dir) / CHECKPOINT
            trainer.save_checkpoint(place)
            watched.run.log(f"checkpoint saved: {place}")
            raise watched.stop

    def _end(self, trainer: Any, error: BaseException | None) -> None:
        watched, self._watched = self._watched, None
        if watched is None:
            return
        watched.run.metrics(**trainer.callback_metrics)
        watched.end(error)


def _nothing() -> None:
    """Save nothing."""

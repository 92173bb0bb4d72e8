"""MLflow: a run on the server of MLFLOW_TRACKING_URI, in the experiment of MLFLOW_EXPERIMENT_NAME."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path

from overwinter.errors import ConfigError

_EXPERIMENT = "overwinter"
_NEEDED = "MLFLOW_TRACKING_URI"


class MlflowTracker:
    """Logs metrics to the script's active run of MLflow, or else to one of its own.

    Args:
        folder: The ledger's folder, which MLflow does not need.
        run: The run's name.

    Raises:
        ConfigError: MLflow is not installed, or no server is named or responds.
    """

    def __init__(self, *, folder: Path, run: str) -> None:
        del folder
        try:
            import mlflow
        except ImportError:
            raise ConfigError("MLflow is not installed: pip install 'overwinter[tracking]'.") from None
        active = mlflow.active_run()
        if active is None and not os.environ.get(_NEEDED):
            raise ConfigError(f"MLflow needs a server. Set {_NEEDED}, such as http://127.0.0.1:5000.")
        self._client, self._owned = mlflow.MlflowClient(), active is None
        try:
            self._run_id = self._created(run) if active is None else active.info.run_id
        except mlflow.MlflowException as error:
            raise ConfigError(f"MLflow cannot record a run: {error}\nCheck {_NEEDED}.") from None

    def log(self, figures: Mapping[str, float], *, step: int) -> None:
        """Add a point to the curve of each figure."""
        from mlflow.entities import Metric

        now_ms = round(1000 * time.time())
        metrics = [Metric(key=name, value=value, timestamp=now_ms, step=step) for name, value in figures.items()]
        self._client.log_batch(self._run_id, metrics=metrics)

    def close(self) -> None:
        """End the run, if it is this tracker's own."""
        if self._owned:
            self._client.set_terminated(self._run_id)

    def _created(self, name: str) -> str:
        experiment = os.environ.get("MLFLOW_EXPERIMENT_NAME", _EXPERIMENT)
        known = self._client.get_experiment_by_name(experiment)
        number = self._client.create_experiment(experiment) if known is None else known.experiment_id
        return str(self._client.create_run(number, run_name=name).info.run_id)

"""The rows of one training in two processes, and of what befell the jobs of a sweep on Slurm."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from figure_rows import Row, result


def distributed_rows() -> Iterator[Row]:
    """Yield the rows of two ranks beside one process: losses, weights after a killed rank, joules."""
    found = result("distributed")
    losses, error, kills = found["losses"], found["energy_error"], found["kills"]
    what = f"two processes beside one of the whole batch, losses over {losses['steps']} steps: largest difference"
    limit = f"{losses['tolerance']:g}"
    for kind in ("ddp", "fsdp"):
        yield f"{what}, {kind} in float64", _difference(losses[kind]["float64"]), limit
        yield f"{what}, {kind} in float32", _difference(losses[kind]["float32"]), limit
    yield "one process in float32 beside itself in float64, likewise", _difference(losses["float32_from_float64"]), ""
    what = "a rank killed at a random step: trainings that end with the very weights of an undisturbed one"
    yield what, f"{found['same_weights']} of {kills}", "all"
    what = f"joules of two ranks beside an outside observer's, {len(found['runs'])} trainings: median, worst difference"
    yield what, f"{error['median']:.2%}, {error['worst']:.2%}", "2 %"


def _difference(compared: Mapping[str, Any]) -> str:
    return f"{compared['max_difference']:.1e} (within for {compared['steps_within']} steps)"


def kill_rows(killed: Mapping[str, Any], executions: str) -> Iterator[Row]:
    """Yield the row of a sweep whose jobs were cancelled, timed out, and lost their node."""
    kinds = [each["kind"] for each in killed["disturbances"]]
    befell = ", ".join(f"{kind} {kinds.count(kind)}" for kind in ("scancel", "node down"))
    what = (
        f"the same, disturbed at random moments ({befell}, time limit {killed['timeouts']}), and the same command again"
    )
    value = f"{executions}; {killed['resumed']} from a checkpoint, {killed['executed_twice']} twice"
    yield what, value, "2; 6; 12"

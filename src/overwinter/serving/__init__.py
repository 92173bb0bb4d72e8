"""The hibernating server: a small process that holds the port, and worker processes that exist only while needed.

- `make_plan` turns a validated configuration and verified bundles into a `ServePlan`; `overwinter serve` does so, and
  then replaces itself by the supervisor (`python -m overwinter.serving`), which knows the plan alone. The
  supervisor imports neither torch nor numpy nor Hydra, and opens no GPU.
- `http` is the door on the sockets of `listening`: `seats` bounds its connections, `wire` (h11 on asyncio) speaks on
  one, `heads` reads requests strictly, `access` and `origins` say who may come in, `routing` finds the handler;
  `inference` (Open Inference Protocol), `triton` (its extensions), `openai` and `control` are the handlers.
- `model` holds a model's queue and asks its sleep policy (`overwinter.serving.sleep`); `replica` is one worker at its
  sleep level; `worker.worker_start` forks it, `worker.worker_process` speaks `worker.frames` with it. What it does is
  `overwinter.serving.worker.main`.
- `persistence` and `response_cache` hold what outlives sleep; `deferral` lets requests wait for a greener hour
  (`carbon_forecast`, `greenest`, `deferred`).
- `metrics` counts seconds, joules, wakes and requests, for `/metrics` and `overwinter status`.
- `measure_power_draw` meters a served model at each sleep level and at its wakes, which a claim of joules saved rests
  on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.serving.plan import ModelPlan, ServePlan, make_plan
    from overwinter.serving.power_draw import PowerDraw, Served, measure_power_draw

__all__ = [
    "ModelPlan",
    "PowerDraw",
    "ServePlan",
    "Served",
    "make_plan",
    "measure_power_draw",
]

# Loaded when first used: the supervisor needs none of what meters a model.
_HOMES = {
    "PowerDraw": "power_draw",
    "ModelPlan": "plan",
    "ServePlan": "plan",
    "Served": "power_draw",
    "make_plan": "plan",
    "measure_power_draw": "power_draw",
}

__getattr__ = lazily(__name__, _HOMES)

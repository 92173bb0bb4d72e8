"""The hibernating server: a small process that holds the port, and worker processes that exist only while needed.

- `make_plan` turns a validated configuration and verified bundles into a `ServePlan`; `overwinter serve` does so, and
  then replaces itself by the supervisor (`python -m overwinter.serving`), which has only the plan. The
  supervisor imports neither torch nor numpy nor Hydra, and opens no GPU.
- `http` is the HTTP server on the sockets of `listening`: `connection_slots` limits its connections, `wire` (h11 on
  asyncio) handles one, `heads` parses requests strictly, `access` and `origins` authorize them, `routing` finds the
  handler; `prediction` (samples in, the task's responses out), `inference` (Open Inference Protocol), `triton` (its
  extensions), `openai` and `control` are the handlers.
- `model` holds a model's queue and follows its sleep policy (`overwinter.serving.sleep`); `replica` is one worker at
  its sleep level; `worker.worker_start` forks it, `worker.worker_process` exchanges `worker.frames` with it. The
  worker's program is `overwinter.serving.worker.main`.
- `persistence` and `response_cache` keep state over sleep; `deferral` delays requests until an hour of lower carbon
  intensity (`carbon_forecast`, `greenest`, `deferred`).
- `metrics` counts seconds, joules, wakes and requests, for `/metrics` and `overwinter status`.
- `measure_power_draw` meters a served model at each sleep level and at its wakes, the basis of reported savings.
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

# Loaded when first used: the supervisor does not need the meters.
_HOMES = {
    "PowerDraw": "power_draw",
    "ModelPlan": "plan",
    "ServePlan": "plan",
    "Served": "power_draw",
    "make_plan": "plan",
    "measure_power_draw": "power_draw",
}

__getattr__ = lazily(__name__, _HOMES)

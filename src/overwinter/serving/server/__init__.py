"""The hibernating server: a small process that holds the port, and worker processes that exist only while needed.

- `make_plan` turns a validated configuration and verified bundles into a `Plan`; `overwinter serve` does so, and
  then replaces itself by the supervisor (`python -m overwinter.serving.server`), which knows the plan alone. The
  supervisor imports neither torch nor numpy nor Hydra, and opens no GPU.
- `http` is the door on the sockets of `listening`: `seats` bounds its connections, `wire` (h11 on asyncio) speaks on
  one, `heads` reads requests strictly, `access` and `origins` say who may come in, `routing` finds the handler;
  `inference` (Open Inference Protocol), `triton` (its extensions), `openai` and `control` are the handlers.
- `model` holds a model's queue and asks its sleep policy (`overwinter.serving.sleep`); `replica` is one worker
  on its rung; `worker_start` forks it, `worker_process` speaks `frames` with it. What the worker does is
  `overwinter.hibernation.worker`.
- `keeping` and `answers` hold what outlives sleep; `deferral` lets requests wait for a greener hour (`grid`,
  `greenest`, `deferred`).
- `accounts` counts seconds, joules, wakes and requests, for `/metrics` and `overwinter status`.
"""

from overwinter.serving.server.plan import ModelPlan, Plan, make_plan

__all__ = ["ModelPlan", "Plan", "make_plan"]

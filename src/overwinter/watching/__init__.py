"""The script you already have: metered, held to a budget, capped and recorded, as stages are. No torch.

`context` has `watch`, the context manager and decorator; `arguments` what it takes; `run` the `Run` that it yields,
with the script's steps; `settings` the configuration; `ranks` what the other ranks of a node do instead. The
supervision itself is the pipeline's (`pipeline.supervised`, `pipeline.supervising`). `overwinter.integrations` has
callbacks for training loops of other libraries.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.watching.context import Watching, current_run, watch
    from overwinter.watching.run import Run

__all__ = ["Run", "Watching", "current_run", "watch"]

__getattr__ = lazily(
    __name__,
    {"Run": "run", "Watching": "context", "current_run": "context", "watch": "context"},
)

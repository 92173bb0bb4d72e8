"""The ledger: a record of every execution of every stage, including failed, refused, interrupted and killed ones.

The ledger is one SQLite file in the project's `.overwinter/`, written by several processes at once. It records what
was *spent* at the time; the *cost to produce* an artifact is in its energy.json.

- `ledger`: the entry point, `Ledger`: begin, reap, and queries about spending.
- `execution`: a running execution, its heartbeats and its end.
- `records`, `aggregation`: the values read back, and their sums.
- `targets`: the joules that trainings to a target took.
- `merging`: the ledgers of several projects and machines in one file.
- `kept`: the results and checkpoints that still exist, from the project's files.
- `schema`, `database`: the tables and their migrations; the file, its locks, forks and corruption.
- `leftovers`: final records that could not be written because of a full disk.
- `origin`: the project and the user of an execution.
- `process`: the check whether an execution's process is alive.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.ledger.aggregation import SUM_KEYS, Total, group_of, total, total_spent, totals, wasted, wasted_in
    from overwinter.ledger.execution import Execution
    from overwinter.ledger.kept import Kept, checkpoint_folder, has_checkpoint, kept_in
    from overwinter.ledger.ledger import Ledger, ledger_path
    from overwinter.ledger.merging import Merged, merge_ledgers
    from overwinter.ledger.origin import Origin, origin_of
    from overwinter.ledger.records import (
        COMMAND_PREFIX,
        SCRATCH,
        SERVE_PREFIX,
        STATUSES,
        WATCH_PREFIX,
        ExecutionRecord,
        Filter,
        Spent,
    )
    from overwinter.ledger.targets import ToTarget, to_targets

__all__ = [
    "COMMAND_PREFIX",
    "SCRATCH",
    "SERVE_PREFIX",
    "STATUSES",
    "SUM_KEYS",
    "WATCH_PREFIX",
    "Execution",
    "ExecutionRecord",
    "Filter",
    "Kept",
    "Ledger",
    "Merged",
    "Origin",
    "Spent",
    "ToTarget",
    "Total",
    "checkpoint_folder",
    "group_of",
    "has_checkpoint",
    "kept_in",
    "ledger_path",
    "merge_ledgers",
    "origin_of",
    "to_targets",
    "total",
    "total_spent",
    "totals",
    "wasted",
    "wasted_in",
]

__getattr__ = lazily(
    __name__,
    {  # loaded on first use: a gate that passes opens no ledger
        "COMMAND_PREFIX": "records",
        "SCRATCH": "records",
        "SERVE_PREFIX": "records",
        "STATUSES": "records",
        "SUM_KEYS": "aggregation",
        "Execution": "execution",
        "ExecutionRecord": "records",
        "Filter": "records",
        "Kept": "kept",
        "Ledger": "ledger",
        "Merged": "merging",
        "Origin": "origin",
        "Spent": "records",
        "ToTarget": "targets",
        "Total": "aggregation",
        "WATCH_PREFIX": "records",
        "checkpoint_folder": "kept",
        "group_of": "aggregation",
        "has_checkpoint": "kept",
        "kept_in": "kept",
        "ledger_path": "ledger",
        "merge_ledgers": "merging",
        "origin_of": "origin",
        "to_targets": "targets",
        "total": "aggregation",
        "total_spent": "aggregation",
        "totals": "aggregation",
        "wasted": "aggregation",
        "wasted_in": "aggregation",
    },
)

"""Every execution of every stage, kept: also the failed, refused, interrupted and killed ones.

The ledger is one SQLite file in the project's `.overwinter/`, written by several processes at once. What it
holds is what was *spent now*; what an artifact *cost to produce* is in its energy.json.

- `ledger`: the door, `Ledger`: begin, reap, and the questions about spending.
- `execution`: a running execution, its heartbeats and its end.
- `records`, `totals`: the values read back, and their sums.
- `kept`: which results and checkpoints are still there, by the project's files.
- `schema`, `database`: the tables and their migrations; the file, its locks, forks and corruption.
- `leftovers`: final records that a full disk would not take.
- `origin`: the project and the user that an execution is of.
- `process`: whether an execution's process still lives.
"""

from overwinter.ledger.aggregation import SUM_KEYS, Total, total, total_spent, totals, wasted
from overwinter.ledger.execution import Execution
from overwinter.ledger.kept import Kept, checkpoint_folder, has_checkpoint, kept_in
from overwinter.ledger.ledger import Ledger, ledger_path
from overwinter.ledger.origin import Origin, origin_of
from overwinter.ledger.records import COMMAND_PREFIX, SCRATCH, STATUSES, ExecutionRecord, Filter, Spent

__all__ = [
    "COMMAND_PREFIX",
    "SCRATCH",
    "STATUSES",
    "SUM_KEYS",
    "Execution",
    "ExecutionRecord",
    "Filter",
    "Kept",
    "Ledger",
    "Origin",
    "Spent",
    "Total",
    "checkpoint_folder",
    "has_checkpoint",
    "kept_in",
    "ledger_path",
    "origin_of",
    "total",
    "total_spent",
    "totals",
    "wasted",
]

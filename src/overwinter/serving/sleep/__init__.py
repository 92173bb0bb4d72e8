"""Sleep policies, which the server and the simulation share.

- `SleepLevels` contains each `SleepLevel` of a model with its costs; their lower envelope gives break-even times.
- A `SleepPolicy` is notified of arrivals and of time passing, and returns a `Decision`: a sleep level, and
  until when. `open_policy` constructs one by name: `fixed`, `break_even`, `randomised`, `learned`, `scheduled`
  (windows by cron expression, and another policy outside them), or another package's; with a latency limit on
  top, if wanted.
- `overwinter.serving.sleep.simulation` replays recorded requests (`overwinter.serving.sleep.requests`)
  through a policy, against the offline optimum. It is not exported here: it needs numpy, which takes too much memory
  for the supervisor.
"""

from overwinter.serving.sleep.checking import check_sleep
from overwinter.serving.sleep.interface import Decision, SleepPolicy
from overwinter.serving.sleep.levels import Descent, SleepLevel, SleepLevels
from overwinter.serving.sleep.registry import open_policy, policy_names

__all__ = [
    "Decision",
    "Descent",
    "SleepLevel",
    "SleepLevels",
    "SleepPolicy",
    "check_sleep",
    "open_policy",
    "policy_names",
]

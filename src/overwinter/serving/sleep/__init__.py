"""When an idle model should sleep, and how deep: policies that the server and the simulation share.

- A `SleepLevels` of `SleepLevel`s says how a model can sleep, and what each way costs; its lower envelope gives
  break-even times.
- A `SleepPolicy` is notified of arrivals and of time passing, and answers with a `Decision`: which sleep level, and
  until when. `open_policy` makes one by name: `fixed`, `break_even`, `randomised`, `learned`, `scheduled`
  (windows by cron expression, and another policy outside them), or another package's; with a latency limit on
  top, if wanted.
- `overwinter.serving.sleep.simulation` replays recorded requests (`overwinter.serving.sleep.requests`)
  through a policy, against the offline optimum. It is no part of this door: it needs numpy, and the
  supervisor has no room for that.
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

"""What a sleep policy is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True, slots=True)
class Decision:
    """Where to rest from now on.

    Attributes:
        level: position on the sleep levels; 0 is the top, ready to answer.
        until_s: ask again then; infinite: stay there until the next request.
        reason: one of a few fixed words (the label of a metric): why it stays there.
    """

    level: int
    until_s: float
    reason: str


class SleepPolicy(Protocol):
    """Decides how deep an idle model sleeps, from what has happened so far and nothing else.

    All times are UNIX time in seconds (a trace may start at 0), and never run backwards from call to call.
    """

    def began_idle(self, time_s: float) -> None:
        """Be notified that the last request under way was answered, or that serving began."""

    def arrived(self, time_s: float) -> None:
        """Be notified of a request, whether the model was idle or busy."""

    def decide(self, time_s: float) -> Decision:
        """Say where to stay; asked only while idle. A sleep level above the present one means: wake now."""

    def state(self) -> dict[str, Any]:
        """Return what must survive sleep and restarts, as JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` returned.

        Raises:
            IntegrityError: ``state`` was not made by this policy.
        """

"""The fall-back chain: the first source that answers does, and the record says which one that was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Intensity, IntensitySource
from overwinter.carbon.provider import Point


class FallbackChain:
    """Asks its sources in order.

    Args:
        sources: the last one always answers: a constant, or a country's average.
    """

    def __init__(self, sources: Sequence[IntensitySource]) -> None:
        self._sources = list(sources)

    def at(self, time_utc: datetime) -> Intensity:
        """Return the first answer; where a fall-back gave it, its source says in place of what, and why.

        Raises:
            SourceError: none answers.
        """
        problems: list[str] = []
        for source in self._sources:
            try:
                response = source.at(time_utc)
            except SourceError as error:
                problems.append(str(error))
                continue
            if not problems:
                return response
            return replace(response, source=f"{response.source} (fall-back: {'; '.join(problems)})")
        raise SourceError("; ".join(problems))

    @property
    def notes(self) -> tuple[str, ...]:
        """What the user should know of the sources' answers, each once."""
        return tuple(dict.fromkeys(note for source in self._sources for note in getattr(source, "notes", ())))

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return the first forecast that one of the sources has; empty where none has."""
        for source in self._sources:
            forecast = getattr(source, "forecast", None)
            points: tuple[Point, ...] = forecast(time_utc) if forecast else ()
            if points:
                return points
        return ()

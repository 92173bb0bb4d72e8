"""Fall-back chain of intensity sources: the first that responds is used, and the record names it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from overwinter.carbon.http import SourceError
from overwinter.carbon.intensity import Intensity, IntensitySource
from overwinter.carbon.provider import Point


class FallbackChain:
    """A source that tries several sources in order.

    Args:
        sources: sources in order; the last never fails: a constant, or a country's average.
    """

    def __init__(self, sources: Sequence[IntensitySource]) -> None:
        self._sources = list(sources)

    def at(self, time_utc: datetime) -> Intensity:
        """Return the first intensity available; if a fall-back provided it, its source names the failures before it.

        Raises:
            SourceError: all sources failed.
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
        """The sources' notes for the user, without duplicates."""
        return tuple(dict.fromkeys(note for source in self._sources for note in getattr(source, "notes", ())))

    def forecast(self, time_utc: datetime) -> tuple[Point, ...]:
        """Return the first source's forecast that is not empty; empty if there is none."""
        for source in self._sources:
            forecast = getattr(source, "forecast", None)
            points: tuple[Point, ...] = forecast(time_utc) if forecast else ()
            if points:
                return points
        return ()

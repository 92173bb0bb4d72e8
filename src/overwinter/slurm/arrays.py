"""Job arrays along the prefix tree: few submissions, and every program waits for its own predecessor only.

Where the programs of an array have as many successors each, these form arrays of the same length whose tasks each wait
for the task of the same number (`--dependency=aftercorr`). Elsewhere, the successors of one program form an array that
waits for it (`afterok`). Whichever needs fewer submissions is taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from overwinter.slurm.programs import Program

Place = tuple[str, int | None]
"""Where a program was submitted: the job's id, and its number in the array; None for a job without an array."""


@dataclass(frozen=True, kw_only=True)
class Array:
    """Programs of the same name that are submitted together; one alone is a plain job.

    Attributes:
        programs: The programs, in the order of their numbers.
        after: The id of the program that all wait for; None if they wait for nothing, or each for its own.
        one_by_one: Whether each waits for the one of the same number, in the array of the first one's predecessor.
    """

    programs: tuple[Program, ...]
    after: str | None = None
    one_by_one: bool = False

    def dependency(self, places: Mapping[str, Place]) -> str | None:
        """Return the value of sbatch's `--dependency`; None for no dependency."""
        if self.one_by_one:
            return f"aftercorr:{places[str(self.programs[0].after)][0]}"
        return None if self.after is None else f"afterok:{job_name(places[self.after])}"


def job_name(place: Place) -> str:
    """Return a job's name as Slurm writes it: `12`, or `12_3` for a task of an array."""
    return place[0] if place[1] is None else f"{place[0]}_{place[1]}"


def next_arrays(programs: Mapping[str, Program], places: Mapping[str, Place], *, largest: int) -> list[Array]:
    """Return the arrays of those programs that can be submitted now, since what they wait for is.

    Args:
        programs: The programs that are needed, by their ids.
        places: Where programs were submitted.
        largest: The most tasks that an array may have.
    """
    ready = [
        each for each in programs.values() if each.id not in places and (each.after is None or each.after in places)
    ]
    first: dict[str, list[Program]] = {}
    behind: dict[tuple[str, str], dict[str, list[Program]]] = {}
    for each in ready:
        if each.after is None:
            first.setdefault(each.name, []).append(each)
        else:
            group = behind.setdefault((each.name, places[each.after][0]), {})
            group.setdefault(each.after, []).append(each)
    arrays = [Array(programs=part) for alike in first.values() for part in _parts(alike, largest)]
    for children in behind.values():
        arrays += _behind(children, places, largest)
    return arrays


def _behind(children: Mapping[str, Sequence[Program]], places: Mapping[str, Place], largest: int) -> list[Array]:
    """Return the arrays of the programs that wait for the tasks of one job."""
    ranks = list(_ranks(children, places))
    if len(ranks) < len(children) and all(_is_whole(rank, places) for rank in ranks):
        return [Array(programs=tuple(rank), one_by_one=True) for rank in ranks]
    return [Array(programs=part, after=parent) for parent, alike in children.items() for part in _parts(alike, largest)]


def _ranks(children: Mapping[str, Sequence[Program]], places: Mapping[str, Place]) -> Iterator[list[Program]]:
    """Yield the first child of each task that has one, in the order of the tasks, then the second of each, ..."""
    ordered = sorted(children.items(), key=lambda item: places[item[0]][1] or 0)
    for rank in range(max(len(alike) for alike in children.values())):
        yield [alike[rank] for _, alike in ordered if len(alike) > rank]


def _is_whole(rank: Sequence[Program], places: Mapping[str, Place]) -> bool:
    """Return whether the programs wait for the tasks 0, 1, ... of an array: submitit numbers its own so."""
    return len(rank) > 1 and [places[str(each.after)][1] for each in rank] == list(range(len(rank)))


def _parts(programs: Sequence[Program], largest: int) -> Iterator[tuple[Program, ...]]:
    for start in range(0, len(programs), largest):
        yield tuple(programs[start : start + largest])

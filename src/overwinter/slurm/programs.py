"""The prefix tree of a sweep: each distinct stage and gate once, and what it waits for.

A stage is one program, and the gate after it another, since the two ask Slurm for different resources. A program waits
for the one before it in the pipeline's order, in the first of the points that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field

from overwinter.pipeline.render import gate_name
from overwinter.sweep.points import Point

_KEY_DIGITS = 16

IsDone = Callable[[str, str], bool]
"""Whether the ledger has a finished execution of a stage with a prefix key."""


@dataclass(kw_only=True)
class Program:
    """A stage or a gate, which runs once for all points that have it.

    Attributes:
        id: Its name with the first digits of the stage's prefix key.
        name: Its name in dvc.yaml.
        stage: The stage, or the stage that the gate judges.
        after: The id of the program that it waits for; None if it can start at once.
        example: The point by whose configuration it runs.
        last_of: The points whose last program it is.
    """

    id: str
    name: str
    stage: str
    after: str | None
    example: Point
    last_of: list[Point] = field(default_factory=list)

    @property
    def is_gate(self) -> bool:
        """Whether it is a gate."""
        return self.name != self.stage


def program_ids(point: Point) -> list[str]:
    """Return the ids of all programs of a point, in order."""
    return [each for _, _, each in _programs(point)]


def make_programs(points: Sequence[Point], *, ended: Collection[str], is_done: IsDone) -> dict[str, Program]:
    """Return the programs that points still need, by their ids; each comes after the one that it waits for.

    A stage that is done, whoever ran it, has no program, and its gate neither: the program behind it restores both. The
    last gate of a point always has one, which saves the point.

    Args:
        points: The points that have not ended.
        ended: The ids of programs that have ended well.
        is_done: Whether a stage was finished before, so that DVC restores it.
    """
    programs: dict[str, Program] = {}
    for point in points:
        before: str | None = None
        last = list(point.keys)[-1]
        for stage, name, id_ in _programs(point):
            saves = stage == last and name != stage
            if not saves and (id_ in ended or is_done(stage, point.keys[stage])):
                before = None
                continue
            if id_ not in programs:
                programs[id_] = Program(id=id_, name=name, stage=stage, after=before, example=point)
            before = id_
            if saves:
                programs[id_].last_of.append(point)
    return programs


def _programs(point: Point) -> Iterator[tuple[str, str, str]]:
    for stage, key in point.keys.items():
        for name in (stage, gate_name(stage)):
            yield stage, name, f"{name}-{key[:_KEY_DIGITS]}"

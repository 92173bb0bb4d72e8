"""What supervisor and worker ask and tell each other, in the headers of their frames.

Each record is written by `header` and read by `read`. In a container, the worker may be of another version than the
supervisor: fields that this version does not know are ignored, and those that it needs and does not find are named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from overwinter.records import parse_record

_REMEDY = "Supervisor and worker are of different versions of Overwinter: install the same version in both."


@dataclass(frozen=True, kw_only=True)
class Record:
    """Fields that go through a frame's header as JSON."""

    def header(self) -> dict[str, Any]:
        """Return the fields, name to value."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def read(cls, header: Mapping[str, Any]) -> Self:
        """Return the record in a header.

        Raises:
            IntegrityError: a field without a default is missing, or one holds something else.
        """
        return parse_record(cls, header, where=f"A {cls.__name__}", remedy=_REMEDY)


@dataclass(frozen=True, kw_only=True)
class Order(Record):
    """What a worker has to do: `import`, `wake`, `keep`, `park`, `cancel`, or to answer a question."""

    operation: str


IMPORT, KEEP, PARK, CANCEL = (Order(operation=name) for name in ("import", "keep", "park", "cancel"))


@dataclass(frozen=True, kw_only=True)
class WakeOrder(Order):
    """The order to load a bundle.

    Attributes:
        bundle: where it is: a folder or a sealed file.
        digest: of the bundle that was verified; another one is refused.
        keys: files of public keys, one of which must have signed it.
        opening: sources of the keys that open a sealed bundle.
        trusted: packages whose model classes may be built.
        threads: that compute one response.
        json_values: at most, of the JSON of a request.
        response_tokens: at most, of a text.
        keeps_prefix: whether a language model keeps what it read last for a prompt that begins in the same way.
        prefix: file that this is kept in over sleep; None: in memory alone.
    """

    operation: str = "wake"
    bundle: str
    digest: str
    keys: Sequence[str]
    opening: Sequence[str]
    trusted: Sequence[str]
    threads: int
    json_values: int
    response_tokens: int
    keeps_prefix: bool
    prefix: str | None


@dataclass(frozen=True, kw_only=True)
class Question(Order):
    """A request to the woken model; its body is the frame's.

    Attributes:
        headers: what the operation needs of the request's headers.
        model: what the client calls the model.
        within_s: how long the response may take.
    """

    headers: Mapping[str, str]
    model: str
    within_s: float


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """How an order was carried out.

    Attributes:
        status: the sleep level that was reached; `refused`; of `keep`, `kept` or `not kept`.
        error: why it was refused.
        wake_s: duration of a wake, without the start of the process.
        steps_s: durations of its steps.
    """

    status: str
    error: str = ""
    wake_s: float = 0.0
    steps_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Piece(Record):
    """A frame of a response.

    Attributes:
        more: whether another one follows.
        broken: whether the response failed here, after it had begun.
    """

    more: bool = False
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class FirstPiece(Piece):
    """The first frame of a response, with the status and headers of the HTTP response."""

    status: int
    headers: Mapping[str, str]

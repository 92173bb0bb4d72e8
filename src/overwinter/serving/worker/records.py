"""The messages between supervisor and worker, in the headers of their frames.

`header` writes a record and `read` reads it. In a container, the worker may have another version than the supervisor:
unknown fields are ignored, and missing ones are named in the error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Self

from overwinter.records import parse_record

_REMEDY = "Supervisor and worker have different versions of Overwinter: install the same version in both."


@dataclass(frozen=True, kw_only=True)
class Record:
    """A record in a frame's JSON header."""

    def header(self) -> dict[str, Any]:
        """Return the fields, name to value."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @classmethod
    def read(cls, header: Mapping[str, Any]) -> Self:
        """Return the record in a header.

        Raises:
            IntegrityError: A field without a default is missing, or has the wrong type.
        """
        return parse_record(cls, header, where=f"A {cls.__name__}", remedy=_REMEDY)


@dataclass(frozen=True, kw_only=True)
class Order(Record):
    """An order to the worker: `import`, `wake`, `keep`, `park`, `cancel`, or a request's operation."""

    operation: str


IMPORT, KEEP, PARK, CANCEL = (Order(operation=name) for name in ("import", "keep", "park", "cancel"))


@dataclass(frozen=True, kw_only=True)
class WakeOrder(Order):
    """The order to load a bundle.

    Attributes:
        bundle: The path of the bundle: a folder or a sealed file.
        digest: The digest of the verified bundle; any other is refused.
        keys: The files of public keys, one of which must have signed it.
        opening: The sources of decryption keys for a sealed bundle.
        trusted: The packages whose model classes may be built.
        threads: The number of threads of one prediction.
        json_values: The maximum number of values in the JSON of a request.
        response_tokens: The maximum number of tokens of a response.
        keeps_prefix: Whether a language model caches its last prompt for a prompt with the same beginning.
        prefix: The file of that cache over sleep; None: in memory only.
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
        headers: The request's headers that the operation needs.
        model: The model's name for clients.
        within_s: The time limit of the response.
    """

    headers: Mapping[str, str]
    model: str
    within_s: float


@dataclass(frozen=True, kw_only=True)
class Report(Record):
    """The result of an order.

    Attributes:
        status: The reached sleep level, or `refused`; for `keep`, `kept` or `not kept`.
        error: The reason of a refusal.
        wake_s: The duration of a wake, without the start of the process.
        steps_s: The durations of its steps.
    """

    status: str
    error: str = ""
    wake_s: float = 0.0
    steps_s: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Piece(Record):
    """A frame of a response.

    Attributes:
        more: Whether another frame follows.
        broken: Whether the response failed after it had begun.
    """

    more: bool = False
    broken: bool = False


@dataclass(frozen=True, kw_only=True)
class FirstPiece(Piece):
    """The first frame of a response, with the status and headers of the HTTP response."""

    status: int
    headers: Mapping[str, str]

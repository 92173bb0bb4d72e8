"""The link between a stage and the ranks that torchrun started for it: messages over a local socket.

The stage keeps what there is one of: the meter, the budget, the power policy, the ledger, the outputs. A rank asks.
"""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import Any

LINK = "OVERWINTER_RANK_LINK"
_LARGEST = 1 << 17  # bytes of a message; Linux's default buffer holds somewhat more


@dataclass(frozen=True, kw_only=True)
class LinkAddress:
    """Where a stage listens to its ranks, in their environment as JSON.

    Attributes:
        socket: path of the socket.
        pid: process id of the stage.
        configuration_key: digest of what decides the stage's result, which has to be the ranks' too.
    """

    socket: str
    pid: int
    configuration_key: str

    def to_environment(self) -> str:
        """Return the value of the environment variable."""
        return json.dumps({"socket": self.socket, "pid": self.pid, "configuration_key": self.configuration_key})

    @classmethod
    def from_environment(cls) -> LinkAddress | None:
        """Return the address of the stage that this rank belongs to; None on a machine without one."""
        text = os.environ.get(LINK)
        return None if text is None else cls(**json.loads(text))


def listening(path: Path) -> socket.socket:
    """Return a socket on which ranks connect; a message is read whole or not at all."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener.bind(str(path))
    listener.listen()
    return listener


def send(connection: socket.socket, message: dict[str, Any]) -> None:
    """Send a message; a text that is too long loses its end."""
    if isinstance(text := message.get("text"), str) and len(text) > _LARGEST // 8:
        message = message | {"text": text[: _LARGEST // 8]}
    connection.sendall(json.dumps(message).encode())


def received(connection: socket.socket) -> dict[str, Any] | None:
    """Return the next message; None if the other side has ended."""
    try:
        content = connection.recv(_LARGEST)
    except ConnectionError:
        return None
    message: dict[str, Any] | None = json.loads(content) if content else None
    return message


class RankLink:
    """A rank's side of the link.

    Args:
        address: of the stage.
    """

    def __init__(self, address: LinkAddress) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.connect(address.socket)

    def tell(self, kind: str, **details: Any) -> None:
        """Send a message that needs no answer."""
        send(self._socket, {"kind": kind, **details})

    def ask(self, kind: str, **details: Any) -> dict[str, Any]:
        """Send a message and return the answer.

        Raises:
            ConnectionError: the stage has ended.
        """
        self.tell(kind, **details)
        answer = received(self._socket)
        if answer is None:
            raise ConnectionError("The stage that started this rank has ended.")
        return answer

"""The worker of a served model: a blocking loop that wakes it, parks it and asks it, as the supervisor says.

It speaks frames (`overwinter.serving.server.frames`) over its standard input and output, which are one socket.
Before anything else it imports what a wake needs and says `preforked`; then it answers one frame at a time. It
leaves when the supervisor closes the socket, or dies.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

from overwinter.errors import ConfigError, OverwinterError
from overwinter.hibernation.waking import AwakeModel, wake
from overwinter.hibernation.worker_inference import infer
from overwinter.serving import Expected, Keys
from overwinter.serving.server.frames import Frame, pack_frame, read_frame
from overwinter.serving.server.messages import Reply, RequestError, json_reply

# What a wake imports beyond this module, by runtime; another runtime is imported when it wakes.
_IMPORTED_AHEAD = {"onnxruntime": ("overwinter.runtime.onnx_runtime", "overwinter.serving.onnx_session")}


def main() -> None:
    """Serve the supervisor at the other end of standard input, until it leaves."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says when to leave
    incoming, outgoing = _take_over()
    begin_s = time.perf_counter()
    for name in _IMPORTED_AHEAD.get(sys.argv[1], ()):
        importlib.import_module(name)
    worker = Worker()
    answer = pack_frame({"status": "preforked", "import_s": time.perf_counter() - begin_s})
    while True:
        outgoing.write(answer)
        outgoing.flush()
        if (frame := read_frame(incoming)) is None:
            return
        answer = worker.answer(frame)


class Worker:
    """The model, if it is awake, and what can be asked of it."""

    def __init__(self) -> None:
        self._model: AwakeModel | None = None
        self._operations = {"wake": self._wake, "park": self._park}

    def answer(self, frame: Frame) -> bytes:
        """Do what a frame asks; return the frame of the answer."""
        operation = self._operations.get(frame.header["operation"])
        if operation is not None:
            return pack_frame(operation(frame.header))
        reply = self._ask(frame)
        body = reply.body
        assert isinstance(body, bytes)  # noqa: S101 -- `infer` answers in one piece
        return pack_frame({"status": reply.status, "headers": dict(reply.headers)}, body)

    def _ask(self, frame: Frame) -> Reply:
        if self._model is None:
            return json_reply({"error": "The model is not awake."}, status=500)
        try:
            return infer(self._model, frame.header["headers"], frame.body)
        except RequestError as error:
            return error.reply()
        except ConfigError as error:  # what `prepare` says of raw inputs
            return RequestError(400, str(error)).reply()
        except Exception as error:  # noqa: BLE001 -- one request must not end the worker
            sys.stderr.write(f"The model failed on a request: {type(error).__name__}: {error}\n")
            return RequestError(500, "The model failed on this request; the server's log says why.").reply()

    def _wake(self, header: Mapping[str, Any]) -> dict[str, Any]:
        begin_s = time.perf_counter()
        try:
            model = wake(
                header["bundle"],
                keys=Keys(trusted=tuple(map(Path, header["keys"])), opening=tuple(header["opening"])),
                expected=Expected(digest=header["digest"]),
                threads=header["threads"],
                trusted=header["trusted"],
            )
        except OverwinterError as error:
            return {"status": "refused", "error": str(error)}
        self._model = model
        return {"status": "ready", "wake_s": time.perf_counter() - begin_s}

    def _park(self, _header: Mapping[str, Any]) -> dict[str, Any]:
        self._model = None
        gc.collect()
        _return_memory()
        return {"status": "parked"}


def _return_memory() -> None:
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only; elsewhere freed memory is returned by itself
    if trim is not None:
        trim(0)


def _take_over() -> tuple[BinaryIO, BinaryIO]:
    """Keep the socket to this program alone: what a library prints goes to standard error."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return incoming, outgoing

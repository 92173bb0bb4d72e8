"""The worker of a served model: a blocking loop that wakes it, parks it and asks it, as the supervisor says.

It speaks frames (`overwinter.serving.worker.frames`) over its standard input and output, which are one socket, and
answers one at a time. What loads a model is imported beside that, so that a bundle is verified meanwhile. It leaves
when the supervisor closes the socket, or dies.
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import select
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from overwinter.bundle import Expected, Keys
from overwinter.bundle.load import AwakeModel, wake
from overwinter.errors import ConfigError, OverwinterError
from overwinter.serving.messages import LANGUAGE, Reply, RequestError
from overwinter.serving.worker.frames import Frame, pack_frame, read_frame
from overwinter.serving.worker.inference import infer

if TYPE_CHECKING:
    from overwinter.serving.worker.completions import Language

# What a wake imports beyond this module, by what it is of; other runtimes are imported when they wake.
_IMPORTED_AHEAD = {
    "onnxruntime": ("overwinter.runtime.onnx_runtime", "overwinter.runtime.onnx_session"),
    "torch": ("overwinter.runtime.torch_runtime",),
    LANGUAGE: ("overwinter.runtime.language_session", "overwinter.serving.worker.completions", "tokenizers"),
}


def main(kind: str) -> None:
    """Serve the supervisor at the other end of standard input, until it leaves.

    Args:
        kind: what will be woken: `language`, or a runtime's name.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the supervisor says when to leave
    incoming, outgoing = _take_over()
    importing = threading.Thread(target=_import_ahead, args=(kind,), daemon=True)
    importing.start()
    worker = Worker(interrupted=lambda: bool(select.select([incoming], [], [], 0)[0]), imported=importing.join)
    while (frame := read_frame(incoming)) is not None:
        for answer in worker.answers(frame):
            outgoing.write(answer)
            outgoing.flush()


def _import_ahead(kind: str) -> None:
    for name in _IMPORTED_AHEAD.get(kind, ()):
        importlib.import_module(name)
    if kind == LANGUAGE:
        from overwinter.models.causal import import_transformers

        _ = import_transformers().AutoModelForCausalLM  # the name alone imports what every model needs


class Worker:
    """The model, if it is awake, and what can be asked of it.

    Args:
        interrupted: whether the supervisor has said something since, which it does while an answer is written if
            nobody listens any more.
        imported: returns when everything is imported.
    """

    def __init__(self, *, interrupted: Callable[[], bool], imported: Callable[[], None]) -> None:
        self._interrupted, self._imported = interrupted, imported
        self._model: AwakeModel | None = None
        self._language: Language | None = None
        self._most_values = 0
        self._operations = {"import": self._import, "wake": self._wake, "keep": self._keep, "park": self._park}

    def answers(self, frame: Frame) -> Iterator[bytes]:
        """Do what a frame asks; yield the frames of the answer, all but the last with `more` in the header."""
        name = frame.header["operation"]
        if name in self._operations:
            yield pack_frame(self._operations[name](frame.header))
        elif name != "cancel":  # a cancelled answer has ended by itself
            for answer in self._ask(frame):
                yield pack_frame(*answer)

    def _ask(self, frame: Frame) -> Iterator[Frame]:
        try:
            yield from self._frames(frame)
        except RequestError as error:
            yield _frame(error.reply())
        except ConfigError as error:  # what `prepare` says of raw inputs
            yield _frame(RequestError(400, str(error)).reply())
        except Exception as error:  # noqa: BLE001 -- one request must not end the worker
            sys.stderr.write(f"The model failed on a request: {type(error).__name__}: {error}\n")
            reply = RequestError(500, "The model failed on this request; the server's log says why.").reply()
            yield _frame(reply, broken=True)

    def _frames(self, frame: Frame) -> Iterator[Frame]:
        operation, header = frame.header["operation"], frame.header
        if self._model is None:
            raise RequestError(500, "The model is not awake.")
        if (operation == "infer") == (self._language is not None):
            raise RequestError(400, f"This model does not answer {operation!r}: see /v1/models and /v2/models/NAME.")
        if self._language is not None:
            yield from self._language.answer(operation, header, frame.body, self._interrupted)
        else:
            limit = self._most_values
            yield _frame(infer(self._model, header["headers"], frame.body, name=header["model"], most_values=limit))

    def _import(self, _header: Mapping[str, Any]) -> dict[str, Any]:
        self._imported()
        return {"status": "preforked"}

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
            if model.bundle.tokenizer is not None:
                self._language = _language(model, header)
            model.bundle.release()
        except OverwinterError as error:
            return {"status": "refused", "error": str(error)}
        self._model, self._most_values = model, header["json_values"]
        return {"status": "ready", "wake_s": time.perf_counter() - begin_s, "steps_s": dict(model.steps_s)}

    def _keep(self, _header: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"kept": self._language is not None and self._language.keep()}
        except OverwinterError as error:
            sys.stderr.write(f"The last conversation is not kept: {error}\n")
            return {"kept": False}

    def _park(self, _header: Mapping[str, Any]) -> dict[str, Any]:
        self._model = self._language = None
        gc.collect()
        _return_memory()
        return {"status": "parked"}


def _language(model: AwakeModel, header: Mapping[str, Any]) -> Language:
    from overwinter.serving.worker.completions import Language

    prefix = None if header["prefix"] is None else Path(header["prefix"])
    return Language(
        model,
        most_tokens=header["answer_tokens"],
        most_values=header["json_values"],
        keeps_prefix=header["keeps_prefix"],
        prefix=prefix,
    )


def _frame(reply: Reply, *, broken: bool = False) -> Frame:
    """Return the frame of a whole reply; `broken` ends one that may have begun to stream."""
    assert isinstance(reply.body, bytes)  # noqa: S101 -- no handler here answers otherwise
    return Frame({"status": reply.status, "headers": dict(reply.headers), "broken": broken}, reply.body)


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

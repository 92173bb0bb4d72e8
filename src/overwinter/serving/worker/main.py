"""The worker of a served model: a blocking loop that wakes, parks and runs it on the supervisor's orders.

It exchanges frames (`overwinter.serving.worker.frames`) over its standard input and output, which are one socket, and
handles one at a time. A thread imports the runtime, while the bundle is verified. The worker exits when the supervisor
closes the socket, or dies.
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
from overwinter.serving.messages import Reply, RequestError, read_kind
from overwinter.serving.worker.frames import Frame, pack_frame, read_frame
from overwinter.serving.worker.records import CANCEL, IMPORT, KEEP, PARK, FirstPiece, Order, Question, Report, WakeOrder

if TYPE_CHECKING:
    from overwinter.serving.worker.completions import Language

_COMPUTING = {"infer": "inference", "predict": "predict", "embed": "embeddings"}  # operation -> module with it
_GENERATING = ("complete", "chat")
# The imports of a wake besides this module's, by runtime; other runtimes are imported when they wake.
_IMPORTED_AHEAD = {
    "llama-cpp": ("overwinter.runtime.llama_cpp_runtime", "llama_cpp"),
    "onnxruntime": ("overwinter.runtime.onnx_runtime", "overwinter.runtime.onnx_session"),
    "torch": ("overwinter.runtime.torch_runtime",),
}
_GENERATING_AHEAD = ("overwinter.runtime.language_session", "overwinter.serving.worker.completions", "tokenizers")
_TRANSFORMERS = ("torch", "torch-bf16")  # generate with transformers' modules
_COMPUTING_AHEAD = ("overwinter.data.preprocessing.reading", "overwinter.tasks", "overwinter.serving.worker.inference")


def main(kind: str) -> None:
    """Serve the supervisor at the other end of standard input, until it closes the socket.

    Args:
        kind: The kind of worker; see `worker_kind`.
    """
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C reaches the whole group; the supervisor stops its workers itself
    incoming, outgoing = _take_over()
    importing = threading.Thread(target=_import_ahead, args=(kind,), daemon=True)
    importing.start()
    worker = Worker(interrupted=lambda: bool(select.select([incoming], [], [], 0)[0]), imported=importing.join)
    while (frame := read_frame(incoming)) is not None:
        for response in worker.responses(frame):
            outgoing.write(response)
            outgoing.flush()


def _import_ahead(kind: str) -> None:
    runtime, generates = read_kind(kind)
    for name in (*_IMPORTED_AHEAD.get(runtime, ()), *(_GENERATING_AHEAD if generates else _COMPUTING_AHEAD)):
        importlib.import_module(name)
    if generates and runtime in _TRANSFORMERS:
        from overwinter.models.transformers_library import import_transformers

        _ = import_transformers().AutoModelForCausalLM  # importing the name loads what every model needs


class Worker:
    """The model, if it is awake, and the handlers of frames.

    Args:
        interrupted: Returns whether the supervisor has sent a frame meanwhile, which cancels the response.
        imported: Returns when everything is imported.
    """

    def __init__(self, *, interrupted: Callable[[], bool], imported: Callable[[], None]) -> None:
        self._interrupted, self._imported = interrupted, imported
        self._model: AwakeModel | None = None
        self._language: Language | None = None
        self._max_values = 0
        self._operations: dict[str, Callable[[Mapping[str, Any]], Report]] = {
            IMPORT.operation: self._import,
            WakeOrder.operation: self._wake,
            KEEP.operation: self._keep,
            PARK.operation: self._park,
        }

    def responses(self, frame: Frame) -> Iterator[bytes]:
        """Handle a frame; yield the frames of the response, all but the last with `more` in the header."""
        name = Order.read(frame.header).operation
        if name in self._operations:
            yield pack_frame(self._operations[name](frame.header).header())
        elif name != CANCEL.operation:  # the cancelled response has ended already
            for response in self._ask(frame):
                yield pack_frame(*response)

    def _ask(self, frame: Frame) -> Iterator[Frame]:
        try:
            yield from self._frames(frame)
        except RequestError as error:
            yield _frame(error.reply())
        except ConfigError as error:  # of a task or preprocessing of someone's own
            yield _frame(RequestError(400, str(error)).reply())
        except Exception as error:  # noqa: BLE001 -- one request must not end the worker
            sys.stderr.write(f"The model failed on a request: {type(error).__name__}: {error}\n")
            reply = RequestError(500, "The model failed on this request; the server's log says why.").reply()
            yield _frame(reply, broken=True)

    def _frames(self, frame: Frame) -> Iterator[Frame]:
        question = Question.read(frame.header)
        if self._model is None:
            raise RequestError(500, "The model is not awake.")
        if self._language is not None and question.operation in _GENERATING:
            yield from self._language.respond(question, frame.body, self._interrupted)
        elif self._language is None and question.operation in _COMPUTING:
            yield _frame(self._compute(self._model, question, frame.body))
        else:
            raise RequestError(
                400, f"This model does not support {question.operation!r}: see /v1/models and /v2/models/NAME."
            )

    def _compute(self, model: AwakeModel, question: Question, body: bytes) -> Reply:
        module = importlib.import_module(f"overwinter.serving.worker.{_COMPUTING[question.operation]}")
        reply: Reply = getattr(module, question.operation)(
            model,
            question.headers,
            body,
            name=question.model,
            max_values=self._max_values,
            within_s=question.within_s,
        )
        return reply

    def _import(self, _header: Mapping[str, Any]) -> Report:
        self._imported()
        return Report(status="preforked")

    def _wake(self, header: Mapping[str, Any]) -> Report:
        begin_s = time.perf_counter()
        try:
            order = WakeOrder.read(header)
            model = wake(
                order.bundle,
                keys=Keys(trusted=tuple(map(Path, order.keys)), opening=tuple(order.opening)),
                expected=Expected(digest=order.digest),
                threads=order.threads,
                trusted=order.trusted,
            )
            if model.bundle.generates:
                self._language = _language(model, order)
            model.bundle.release()
        except OverwinterError as error:
            return Report(status="refused", error=str(error))
        self._model, self._max_values = model, order.json_values
        return Report(status="ready", wake_s=time.perf_counter() - begin_s, steps_s=dict(model.steps_s))

    def _keep(self, _header: Mapping[str, Any]) -> Report:
        try:
            kept = self._language is not None and self._language.keep()
        except OverwinterError as error:
            sys.stderr.write(f"The prefix cache is not saved: {error}\n")
            kept = False
        return Report(status="kept" if kept else "not kept")

    def _park(self, _header: Mapping[str, Any]) -> Report:
        self._model = self._language = None
        gc.collect()
        _return_memory()
        return Report(status="parked")


def _language(model: AwakeModel, order: WakeOrder) -> Language:
    from overwinter.serving.worker.completions import Language

    return Language(
        model,
        max_tokens=order.response_tokens,
        max_values=order.json_values,
        keeps_prefix=order.keeps_prefix,
        prefix=None if order.prefix is None else Path(order.prefix),
    )


def _frame(reply: Reply, *, broken: bool = False) -> Frame:
    """Return the frame of a whole reply; `broken` ends a response that may have begun to stream."""
    assert isinstance(reply.body, bytes)  # noqa: S101 -- the worker's handlers have no streamed bodies
    piece = FirstPiece(status=reply.status, headers=dict(reply.headers), broken=broken)
    return Frame(piece.header(), reply.body)


def _return_memory() -> None:
    trim = getattr(
        ctypes.CDLL(None), "malloc_trim", None
    )  # glibc only; other allocators return freed memory themselves
    if trim is not None:
        trim(0)


def _take_over() -> tuple[BinaryIO, BinaryIO]:
    """Return the socket's streams, and redirect standard output to standard error, for libraries that print."""
    incoming, outgoing = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    return incoming, outgoing

"""OpenAI's API over HTTP: models, completions and chat completions, whole or streamed, and embeddings.

https://platform.openai.com/docs/api-reference. Anything that needs a tokenizer happens in the worker
(`overwinter.serving.worker.completions`, `embeddings`); this module finds the model and formats errors.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from overwinter.serving.bounded_json import parse_object, shown
from overwinter.serving.messages import Call, Reply, Request, RequestError, Route, json_reply
from overwinter.serving.model import Model
from overwinter.serving.openai_errors import respelled
from overwinter.serving.openai_fields import check_fields
from overwinter.serving.plan import CHAT, COMPLETE, EMBED

_BROKEN = (
    b'data: {"error": {"message": "The model stopped while generating.", "type": "server_error", '
    b'"param": null, "code": null}}\n\n'
)


_KINDS = {COMPLETE: "language model", CHAT: "language model", EMBED: "encoder of text"}


class OpenAI:
    """The endpoints of the API, for the served language models and encoders of text.

    Args:
        models: The models by name.
        response_s: The time limit until a response begins.
        max_values: The maximum number of values in the JSON of a request.
    """

    def __init__(self, models: Mapping[str, Model], *, response_s: float, max_values: int) -> None:
        self._models = {name: each for name, each in models.items() if _KINDS.keys() & set(each.plan.operations)}
        self._response_s, self._max_values, self._created_s = response_s, max_values, int(time.time())

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(method="GET", pattern="/v1/models", handler=self._list),
            Route(method="GET", pattern="/v1/models/{model}", handler=_spelling_errors(self._show)),
            self._asking("/v1/completions", COMPLETE),
            self._asking("/v1/chat/completions", CHAT),
            self._asking("/v1/embeddings", EMBED),
        ]

    def _asking(self, path: str, operation: str) -> Route:
        return Route(method="POST", pattern=path, handler=self._asker(operation), computes=True, limit="text_bytes")

    async def _list(self, _request: Request) -> Reply:
        return json_reply({"object": "list", "data": [self._entry(name) for name in self._models]})

    async def _show(self, request: Request) -> Reply:
        name = request.matched["model"]
        self._find(name, *_KINDS)
        return json_reply(self._entry(name))

    def _asker(self, operation: str) -> Callable[[Request], Awaitable[Reply]]:
        async def ask(request: Request) -> Reply:
            if not self._names(operation):
                raise RequestError(404, f"No {_KINDS[operation]} is served.")
            content = parse_object(request.body, max_values=self._max_values)
            name = content.get("model")
            if not isinstance(name, str):
                raise RequestError(400, f"`model` must name one of /v1/models, not {shown(name)}.")
            model = self._find(name, operation)
            check_fields(content, operation)
            call = Call(
                operation=operation,
                headers={},
                body=request.body,
                deadline_s=self._response_s,
                model=name,
                repeatable=operation == EMBED or (content.get("temperature") == 0 and not content.get("stream")),
                if_broken=_BROKEN,
            )
            return await model.ask(call)

        return _spelling_errors(ask)

    def _names(self, *operations: str) -> list[str]:
        return [name for name, model in self._models.items() if set(operations) & set(model.plan.operations)]

    def _find(self, name: str, *operations: str) -> Model:
        names = self._names(*operations)
        if name not in names:
            raise RequestError(
                404, f"No {_KINDS[operations[0]]} {shown(name)}. Available: {', '.join(names) or 'none'}."
            )
        return self._models[name]

    def _entry(self, name: str) -> dict[str, Any]:
        return {"id": name, "object": "model", "created": self._created_s, "owned_by": "overwinter"}


def _spelling_errors(handler: Callable[[Request], Awaitable[Reply]]) -> Callable[[Request], Awaitable[Reply]]:
    """Return the handler with errors in OpenAI's format, including the worker's."""

    @functools.wraps(handler)
    async def spelled(request: Request) -> Reply:
        try:
            return respelled(await handler(request))
        except RequestError as error:
            return respelled(error.reply())

    return spelled

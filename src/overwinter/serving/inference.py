"""The Open Inference Protocol v2 over HTTP: health, readiness, metadata and inference.

https://github.com/open-inference/open-inference-protocol/blob/main/specification/protocol/inference_rest.md

A sleeping model is ready: it answers after a wake. Only inference wakes it or keeps it awake.
"""

from __future__ import annotations

from collections.abc import Mapping

import overwinter
from overwinter.serving.messages import Call, Reply, Request, RequestError, Route, json_reply
from overwinter.serving.model import Model
from overwinter.serving.plan import INFER

_PASSED_ON = ("inference-header-content-length",)


class Inference:
    """The endpoints of the protocol.

    Args:
        models: The models by name.
        response_s: The time limit of a request.
    """

    def __init__(self, models: Mapping[str, Model], *, response_s: float) -> None:
        self._models, self._response_s = models, response_s

    def routes(self) -> list[Route]:
        """Return the routes."""
        routes = [
            Route(method="GET", pattern="/health", handler=self._live, open_to_all=True),
            Route(method="GET", pattern="/v2/health/live", handler=self._live, open_to_all=True),
            Route(method="GET", pattern="/v2/health/ready", handler=self._live, open_to_all=True),
            Route(method="GET", pattern="/v2", handler=self._server),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route(method="GET", pattern=model, handler=self._metadata),
                Route(method="GET", pattern=f"{model}/ready", handler=self._ready),
                Route(method="POST", pattern=f"{model}/infer", handler=self._infer, computes=True),
            ]
        return routes

    async def _live(self, _request: Request) -> Reply:
        return json_reply({"live": True})

    async def _server(self, _request: Request) -> Reply:
        extensions = ["binary_tensor_data", "model_configuration", "statistics"]
        return json_reply({"name": "overwinter", "version": overwinter.__version__, "extensions": extensions})

    async def _metadata(self, request: Request) -> Reply:
        return json_reply(find_model(self._models, request).plan.metadata)

    async def _ready(self, request: Request) -> Reply:
        model = find_model(self._models, request)
        return json_reply({"ready": not model.refused}, status=503 if model.refused else 200)

    async def _infer(self, request: Request) -> Reply:
        model = find_model(self._models, request)
        if INFER not in model.plan.operations:  # known without a wake
            raise RequestError(400, f"{model.plan.name} is a language model: use /v1/completions.")
        headers = {name: request.headers[name] for name in _PASSED_ON if name in request.headers}
        call = Call(
            operation=INFER,
            headers=headers,
            body=request.body,
            deadline_s=self._response_s,
            model=model.plan.name,
            repeatable=True,
        )
        return await model.ask(call)


def find_model(models: Mapping[str, Model], request: Request) -> Model:
    """Return the model that a path names.

    Raises:
        RequestError: 404, there is no such model or version.
    """
    name, version = request.matched["model"], request.matched.get("version")
    model = models.get(name)
    if model is None:
        raise RequestError(404, f"No model {name[:100]!r}. Available: {', '.join(models)}.")
    if version not in (None, *model.plan.metadata["versions"]):
        raise RequestError(404, f"{name} has no version {str(version)[:100]!r}.")
    return model

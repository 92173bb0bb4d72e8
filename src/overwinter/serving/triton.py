"""Triton's extensions of the Open Inference Protocol: configuration, statistics, and the index of the repository.

https://github.com/triton-inference-server/server/tree/main/docs/protocol: extension_model_configuration,
extension_statistics and extension_model_repository (of which loading and unloading are `overwinter wake` and `sleep`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from overwinter.serving.inference import find_model
from overwinter.serving.messages import Reply, Request, RequestError, Route, json_reply
from overwinter.serving.metrics import DurationTotal
from overwinter.serving.model import Model

_ANY_VERSION = {"latest": {"num_versions": 1}}


class Triton:
    """The endpoints of the extensions.

    Args:
        models: The models by name.
    """

    def __init__(self, models: Mapping[str, Model]) -> None:
        self._models = models

    def routes(self) -> list[Route]:
        """Return the routes."""
        routes = [
            Route(method="GET", pattern="/v2/models/stats", handler=self._all_statistics),
            Route(method="POST", pattern="/v2/repository/index", handler=self._index, limit="header_bytes"),
        ]
        for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            routes += [
                Route(method="GET", pattern=f"{model}/config", handler=self._configuration),
                Route(method="GET", pattern=f"{model}/stats", handler=self._statistics),
            ]
        return routes

    async def _configuration(self, request: Request) -> Reply:
        return json_reply(_configuration(find_model(self._models, request).plan.metadata))

    async def _statistics(self, request: Request) -> Reply:
        return json_reply({"model_stats": [_statistics(find_model(self._models, request))]})

    async def _all_statistics(self, _request: Request) -> Reply:
        return json_reply({"model_stats": [_statistics(model) for model in self._models.values()]})

    async def _index(self, request: Request) -> Reply:
        """List the models; a sleeping one is ready."""
        only_ready = _only_ready(request.body)
        return json_reply([_entry(model) for model in self._models.values() if not (only_ready and model.refused)])


def _configuration(metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return a ModelConfig. The batch is a dimension like others, which Triton writes as `max_batch_size` 0."""
    inputs = [_tensor(each) for each in metadata["inputs"]]
    if len(inputs) > 1:  # a model has one of the two inputs
        inputs = [{**each, "optional": True} for each in inputs]
    return {
        "name": metadata["name"],
        "platform": metadata["platform"],
        "backend": "overwinter",
        "version_policy": _ANY_VERSION,
        "max_batch_size": 0,
        "input": inputs,
        "output": [_tensor(each) for each in metadata["outputs"]],
    }


def _tensor(tensor: Mapping[str, Any]) -> dict[str, Any]:
    kind = "STRING" if tensor["datatype"] == "BYTES" else tensor["datatype"]
    return {"name": tensor["name"], "data_type": f"TYPE_{kind}", "dims": tensor["shape"]}


def _statistics(model: Model) -> dict[str, Any]:
    """Return the statistics since the start. A request counts once, however large its batch.

    `compute_infer` is all of a worker's time, including the conversion of tensors.
    """
    model_metrics = model.model_metrics
    spent = {
        "success": model_metrics.succeeded,
        "fail": model_metrics.failed,
        "queue": model_metrics.queued,
        "compute_input": DurationTotal(),
        "compute_infer": model_metrics.computed,
        "compute_output": DurationTotal(),
        "cache_hit": model_metrics.kept,
        "cache_miss": DurationTotal(),
    }
    return {
        "name": model.plan.name,
        "version": model.plan.metadata["versions"][0],
        "last_inference": round(model_metrics.last_s * 1000),
        "inference_count": model_metrics.succeeded.count - model_metrics.kept.count,
        "execution_count": model_metrics.computed.count,
        "inference_stats": {key: _duration(value) for key, value in spent.items()},
        "batch_stats": [],
    }


def _duration(spent: DurationTotal) -> dict[str, int]:
    return {"count": spent.count, "ns": round(spent.duration_s * 1e9)}


def _entry(model: Model) -> dict[str, str]:
    state = "UNAVAILABLE" if model.refused else "READY"
    version = model.plan.metadata["versions"][0]
    return {"name": model.plan.name, "version": version, "state": state, "reason": model.refused}


def _only_ready(body: bytes) -> bool:
    """Return the `ready` of an index request, whose body may be empty."""
    try:
        content = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        content = None
    if not isinstance(content, dict) or not isinstance(ready := content.get("ready", False), bool):
        raise RequestError(400, 'The body must be empty, or JSON such as {"ready": true}.')
    return ready

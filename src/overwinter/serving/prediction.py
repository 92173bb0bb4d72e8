"""Predictions in one plain request: samples in, what the task says of each out.

    POST /v2/models/NAME/predict   {"instances": [...]}   ->   {"predictions": [...]}

The body is that of KServe's first protocol and of TensorFlow Serving
(https://kserve.github.io/website/docs/concepts/architecture/data-plane/v1-protocol). A model of images also takes the
file itself (`Content-Type: image/png` or `image/jpeg`), a model of text the text itself (`text/plain`). What no model
can take is refused before it is woken.
"""

from __future__ import annotations

from collections.abc import Mapping

from overwinter.serving.inference import find_model
from overwinter.serving.messages import Call, Reply, Request, RequestError, Route
from overwinter.serving.model import Model
from overwinter.serving.plan import IMAGES, JSON, PREDICT

_AS_JSON = ("", "application/x-www-form-urlencoded")  # a client that names no type: curl sends the second one
_BEGINS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}


class Prediction:
    """The endpoint.

    Args:
        models: The models by name.
        response_s: The time limit of a request.
    """

    def __init__(self, models: Mapping[str, Model], *, response_s: float) -> None:
        self._models, self._response_s = models, response_s

    def routes(self) -> list[Route]:
        """Return the routes."""
        return [
            Route(method="POST", pattern=f"{model}/predict", handler=self._predict, computes=True)
            for model in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
        ]

    async def _predict(self, request: Request) -> Reply:
        model = find_model(self._models, request)
        if PREDICT not in model.plan.operations:
            raise RequestError(400, f"{model.plan.name} is a language model: use /v1/completions.")
        call = Call(
            operation=PREDICT,
            headers={"content-type": _media_type(request, model)},
            body=request.body,
            deadline_s=self._response_s,
            model=model.plan.name,
            repeatable=True,
        )
        return await model.ask(call)


def _media_type(request: Request, model: Model) -> str:
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    media = JSON if given in _AS_JSON else given
    if media not in model.plan.accepts:
        raise RequestError(
            415, f"{model.plan.name} takes {', '.join(model.plan.accepts)}, not Content-Type: {given[:80]}."
        )
    if media in IMAGES and not request.body.startswith(_BEGINS[media]):
        raise RequestError(400, f"The body is not the file that Content-Type: {media} says.")
    return media

"""Which model is asked; the responses themselves are tried in tests/serving/worker/test_inference.py."""

import asyncio
from types import SimpleNamespace

import pytest

from overwinter.serving.inference import Inference
from overwinter.serving.messages import Request, RequestError, json_reply
from overwinter.serving.routing import Router


class Stub:
    def __init__(self, kind):
        operations = ("complete", "chat") if kind == "language" else ("infer", "predict")
        self.plan = SimpleNamespace(kind=kind, name="m", metadata={"versions": ["1"]}, operations=operations)
        self.calls = []

    async def ask(self, call):
        self.calls.append(call)
        return json_reply({})


def ask(model, path):
    router = Router(Inference({"m": model}, response_s=7).routes())
    route, request = router.find(Request(method="POST", path=path, headers={"x": "y"}, body=b"{}"))
    return asyncio.run(route.handler(request))


def test_a_request_goes_to_its_model_by_its_name():
    model = Stub("onnxruntime")
    assert ask(model, "/v2/models/m/versions/1/infer").status == 200
    (call,) = model.calls
    assert (call.operation, call.model, call.deadline_s, call.headers) == ("infer", "m", 7, {})


@pytest.mark.parametrize(
    ("kind", "path", "status"),
    [
        ("language", "/v2/models/m/infer", 400),
        ("onnxruntime", "/v2/models/n/infer", 404),
        ("onnxruntime", "/v2/models/m/versions/2/infer", 404),
    ],
)
def test_what_no_model_answers_wakes_none(kind, path, status):
    model = Stub(kind)
    with pytest.raises(RequestError) as refusal:
        ask(model, path)
    assert (refusal.value.status, model.calls) == (status, [])

"""What is refused before a model is woken; the predictions are tried in tests/serving/worker/test_predict.py."""

import asyncio
from types import SimpleNamespace

import pytest

from overwinter.serving.messages import Request, RequestError, json_reply
from overwinter.serving.prediction import Prediction
from overwinter.serving.routing import Router

JSON, IMAGES, TEXT = "application/json", ("image/png", "image/jpeg"), "text/plain"
PNG, JPEG = b"\x89PNG\r\n\x1a\n...", b"\xff\xd8\xff..."


class Stub:
    def __init__(self, accepts=(JSON,), operations=("infer", "predict")):
        self.plan = SimpleNamespace(name="m", metadata={"versions": ["1"]}, operations=operations, accepts=accepts)
        self.calls = []

    async def ask(self, call):
        self.calls.append(call)
        return json_reply({})


def ask(model, media=None, body=b"{}", path="/v2/models/m/predict"):
    headers = {} if media is None else {"content-type": media}
    router = Router(Prediction({"m": model}, response_s=7).routes())
    route, request = router.find(Request(method="POST", path=path, headers=headers, body=body))
    return asyncio.run(route.handler(request))


@pytest.mark.parametrize(
    "media", [None, "", JSON, "Application/JSON; charset=utf-8", "application/x-www-form-urlencoded"]
)
def test_json_needs_no_type_and_is_one_thing_to_a_cache(media):
    model = Stub()
    assert ask(model, media, path="/v2/models/m/versions/1/predict").status == 200
    (call,) = model.calls
    assert (call.operation, call.headers, call.repeatable, call.deadline_s) == (
        "predict",
        {"content-type": JSON},
        True,
        7,
    )


@pytest.mark.parametrize(
    ("accepts", "media", "body"),
    [((JSON, *IMAGES), "image/png", PNG), ((JSON, *IMAGES), "image/jpeg", JPEG), ((JSON, TEXT), TEXT, b"a text")],
)
def test_files_and_texts_go_to_models_that_take_them(accepts, media, body):
    model = Stub(accepts)
    ask(model, media, body)
    assert (model.calls[0].headers, model.calls[0].body) == ({"content-type": media}, body)


@pytest.mark.parametrize(
    ("accepts", "media", "body", "status", "message"),
    [
        ((JSON,), "image/png", PNG, 415, "m takes application/json, not Content-Type: image/png"),
        ((JSON, *IMAGES), "text/plain", b"a", 415, "takes application/json, image/png, image/jpeg"),
        ((JSON, *IMAGES), "image/webp", b"RIFF", 415, "image/webp"),
        ((JSON, *IMAGES), "application/octet-stream", PNG, 415, "octet-stream"),
        ((JSON, *IMAGES), "image/png", JPEG, 400, "not the file"),
        ((JSON, *IMAGES), "image/jpeg", b"", 400, "not the file"),
        ((JSON,), "x" * 9000, b"", 415, "x{80}\\."),
    ],
)
def test_what_no_model_takes_wakes_none(accepts, media, body, status, message):
    model = Stub(accepts)
    with pytest.raises(RequestError, match=message) as refusal:
        ask(model, media, body)
    assert (refusal.value.status, model.calls) == (status, [])


def test_a_language_model_predicts_nothing():
    model = Stub(operations=("complete", "chat"))
    with pytest.raises(RequestError, match="use /v1/completions"):
        ask(model)
    assert model.calls == []

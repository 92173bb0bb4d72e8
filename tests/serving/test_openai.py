"""Routing and errors; the texts themselves are tried in tests/serving/worker/test_completions.py."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from overwinter.serving.messages import Reply, Request, RequestError, json_reply
from overwinter.serving.openai import OpenAI
from overwinter.serving.routing import Router


class Stub:
    def __init__(self, kind, outcome=None):
        operations = {"language": ("complete", "chat"), "encoder": ("infer", "predict", "embed")}
        self.plan = SimpleNamespace(operations=operations.get(kind, ("infer", "predict")))
        self._outcome = outcome

    async def ask(self, call):
        self.call = call
        if isinstance(self._outcome, Exception):
            raise self._outcome
        return self._outcome


def ask(models, method, path, content=None, body=None):
    adapter = OpenAI(models, response_s=7, max_values=1000)
    body = json.dumps(content).encode() if body is None else body
    route, request = Router(adapter.routes()).find(Request(method=method, path=path, headers={}, body=body))
    reply = asyncio.run(route.handler(request))
    return reply, json.loads(reply.body)


def test_language_models_and_encoders_alone_are_listed():
    models = {"llm": Stub("language"), "cnn": Stub("onnxruntime"), "minilm": Stub("encoder")}
    assert [entry["id"] for entry in ask(models, "GET", "/v1/models")[1]["data"]] == ["llm", "minilm"]
    assert ask(models, "GET", "/v1/models/llm")[1]["object"] == "model"
    reply, content = ask(models, "GET", "/v1/models/cnn")
    assert (reply.status, content["error"]["type"]) == (404, "invalid_request_error")


@pytest.mark.parametrize(("path", "operation"), [("completions", "complete"), ("chat/completions", "chat")])
def test_a_request_goes_to_its_model(path, operation):
    model = Stub("language", json_reply({"choices": []}))
    reply, content = ask({"llm": model}, "POST", f"/v1/{path}", {"model": "llm"})
    assert (reply.status, content) == (200, {"choices": []})
    assert (model.call.operation, model.call.model, model.call.deadline_s) == (operation, "llm", 7)


def test_a_text_goes_to_an_encoder_and_its_embedding_may_be_cached():
    models = {"llm": Stub("language"), "minilm": Stub("encoder", json_reply({"data": []}))}
    reply, content = ask(models, "POST", "/v1/embeddings", {"model": "minilm", "input": "text"})
    assert (reply.status, content) == (200, {"data": []})
    call = models["minilm"].call
    assert (call.operation, call.model, call.repeatable) == ("embed", "minilm", True)


@pytest.mark.parametrize(
    ("path", "name", "expected"),
    [
        ("embeddings", "llm", "No encoder of text 'llm'. Available: minilm."),
        ("chat/completions", "minilm", "No language model 'minilm'. Available: llm."),
    ],
)
def test_a_model_of_the_other_kind_is_not_woken(path, name, expected):
    models = {"llm": Stub("language"), "minilm": Stub("encoder")}
    reply, content = ask(models, "POST", f"/v1/{path}", {"model": name})
    assert (reply.status, content["error"]["message"]) == (404, expected)
    assert not hasattr(models[name], "call")


@pytest.mark.parametrize(
    ("body", "status", "expected"),
    [
        (b"{", 400, "not valid JSON"),
        (b"[]", 400, "JSON object"),
        (b"{}", 400, "`model`"),
        (b'{"model": 7}', 400, "`model`"),
        (b'{"model": "llm", "prompt": [' + b"[]," * 600 + b"0]}", 413, "json_values"),
        (b'{"model": "other"}', 404, "'other'"),
        (b'{"model": "llm", "prompt": "a", "n": 2}', 400, "`n` can only be 1"),
    ],
)
def test_a_body_that_is_wrong_is_refused_before_the_model_wakes(body, status, expected):
    model = Stub("language")
    reply, content = ask({"llm": model}, "POST", "/v1/completions", body=body)
    assert (reply.status, expected in content["error"]["message"]) == (status, True)
    assert not hasattr(model, "call")


def test_a_refused_field_is_the_param_of_the_error():
    reply, content = ask({"llm": Stub("language")}, "POST", "/v1/chat/completions", {"model": "llm", "topk": 5})
    assert (reply.status, content["error"]["type"]) == (400, "invalid_request_error")
    assert (content["error"]["param"], content["error"]["code"]) == ("topk", "unknown_parameter")


def test_without_a_language_model_nothing_is_read(monkeypatch):
    monkeypatch.delattr("overwinter.serving.openai.parse_object")
    reply, _ = ask({"cnn": Stub("onnxruntime")}, "POST", "/v1/completions", body=b"[" * 9999)
    assert reply.status == 404


def test_prompts_and_chats_have_a_limit_of_their_own():
    routes = OpenAI({}, response_s=7, max_values=1000).routes()
    assert {route.limit for route in routes if route.method == "POST"} == {"text_bytes"}


def test_errors_have_the_variant_that_clients_read():
    busy = RequestError(503, "Too many.", retry_after_s=2)
    reply, content = ask({"llm": Stub("language", busy)}, "POST", "/v1/completions", {"model": "llm"})
    assert (reply.status, reply.headers["Retry-After"]) == (503, "2")
    assert content["error"] == {"message": "Too many.", "type": "server_error", "param": None, "code": None}
    worker = Reply(status=400, headers={}, body=b'{"error": "no prompt"}')
    reply, content = ask({"llm": Stub("language", worker)}, "POST", "/v1/completions", {"model": "llm"})
    assert (reply.status, content["error"]["message"]) == (400, "no prompt")

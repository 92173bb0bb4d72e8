"""The worker's operations; its process is tried in test_serving."""

import dataclasses
import io
import json

import pytest

from overwinter.serving.worker.frames import Frame, read_frame
from overwinter.serving.worker.main import Worker
from overwinter.serving.worker.records import PARK, Question
from tests.support.workers import wake_order


def response(worker, order, body=b""):
    (frame,) = worker.responses(Frame(order.header(), body))
    return read_frame(io.BytesIO(frame))


def new_worker():
    return Worker(interrupted=lambda: False, imported=lambda: None)


@pytest.fixture
def order(hibernate):
    bundle = hibernate()
    return wake_order(str(bundle.folder), bundle.digest)


INFER = Question(operation="infer", headers={}, model="m", within_s=60.0)
QUESTION = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]}
).encode()


def test_it_answers_once_awake_and_not_when_parked(order):
    worker = new_worker()
    assert response(worker, INFER, QUESTION).header["status"] == 500
    assert response(worker, order).header["status"] == "ready"
    first = response(worker, INFER, QUESTION)
    assert first.header["status"] == 200
    assert response(worker, PARK).header["status"] == "parked"
    assert response(worker, INFER, QUESTION).header["status"] == 500
    assert response(worker, order).header["status"] == "ready"
    assert response(worker, INFER, QUESTION) == first


@pytest.mark.parametrize("body", [b"{", b'{"inputs": []}'])
def test_a_wrong_request_gets_a_400(order, body):
    worker = new_worker()
    response(worker, order)
    reply = response(worker, INFER, body)
    assert (reply.header["status"], list(json.loads(reply.body))) == (400, ["error"])


def test_an_altered_bundle_is_refused(order, tmp_path):
    payload = tmp_path / "bundle" / "payload" / "model.onnx"
    payload.write_bytes(payload.read_bytes()[:-1] + b"x")
    reply = response(new_worker(), order)
    assert reply.header["status"] == "refused"
    assert "model.onnx" in reply.header["error"]


def test_another_bundle_than_was_verified_is_refused(order):
    reply = response(new_worker(), dataclasses.replace(order, digest="0" * 64))
    assert "is another bundle" in reply.header["error"]


def test_a_failing_model_does_not_end_the_worker(order, monkeypatch, capsys):
    worker = new_worker()
    response(worker, order)

    def fail(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr("overwinter.serving.worker.inference.infer", fail)
    reply = response(worker, INFER, QUESTION)
    assert reply.header["status"] == 500
    assert b"no memory" not in reply.body
    assert "no memory" in capsys.readouterr().err


def test_the_canary_is_asked_at_every_wake(order, monkeypatch):
    asked = []
    run = "overwinter.runtime.onnx_session.OnnxSession.run"
    from overwinter.runtime.onnx_session import OnnxSession

    original = OnnxSession.run
    monkeypatch.setattr(run, lambda self, inputs: asked.append(len(inputs)) or original(self, inputs))
    worker = new_worker()
    for _ in range(2):
        response(worker, order)
        response(worker, PARK)
    assert asked == [4, 4]


def test_an_order_of_another_version_is_refused_with_what_it_lacks(order):
    header = order.header() | {"newer": 1}
    del header["threads"], header["keys"]
    (frame,) = new_worker().responses(Frame(header, b""))
    reply = read_frame(io.BytesIO(frame)).header
    assert reply["status"] == "refused"
    assert "A WakeOrder lacks keys, threads" in reply["error"]

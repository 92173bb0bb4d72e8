"""The worker's operations; its process is tried in test_serving."""

import io
import json

import pytest

from overwinter.serving.worker.frames import Frame, read_frame
from overwinter.serving.worker.main import Worker


def answer(worker, body=b"", **header):
    (frame,) = worker.answers(Frame(header, body))
    return read_frame(io.BytesIO(frame))


def new_worker():
    return Worker(interrupted=lambda: False, imported=lambda: None)


@pytest.fixture
def order(hibernate):
    bundle = hibernate()
    return {
        "operation": "wake",
        "bundle": str(bundle.folder),
        "digest": bundle.digest,
        "keys": [],
        "opening": [],
        "threads": 1,
        "trusted": [],
        "json_values": 10_000,
    }


QUESTION = json.dumps(
    {"inputs": [{"name": "input", "datatype": "FP32", "shape": [1, 1, 8, 8], "data": [0.5] * 64}]}
).encode()


def test_it_answers_once_awake_and_not_when_parked(order):
    worker = new_worker()
    assert answer(worker, QUESTION, operation="infer", headers={}, model="m").header["status"] == 500
    assert answer(worker, **order).header["status"] == "ready"
    first = answer(worker, QUESTION, operation="infer", headers={}, model="m")
    assert first.header["status"] == 200
    assert answer(worker, operation="park").header == {"status": "parked"}
    assert answer(worker, QUESTION, operation="infer", headers={}, model="m").header["status"] == 500
    assert answer(worker, **order).header["status"] == "ready"
    assert answer(worker, QUESTION, operation="infer", headers={}, model="m") == first


@pytest.mark.parametrize("body", [b"{", b'{"inputs": []}'])
def test_a_wrong_request_gets_a_400(order, body):
    worker = new_worker()
    answer(worker, **order)
    reply = answer(worker, body, operation="infer", headers={}, model="m")
    assert (reply.header["status"], list(json.loads(reply.body))) == (400, ["error"])


def test_an_altered_bundle_is_refused(order, tmp_path):
    payload = tmp_path / "bundle" / "payload" / "model.onnx"
    payload.write_bytes(payload.read_bytes()[:-1] + b"x")
    reply = answer(new_worker(), **order)
    assert reply.header["status"] == "refused"
    assert "model.onnx" in reply.header["error"]


def test_another_bundle_than_was_verified_is_refused(order):
    reply = answer(new_worker(), **order | {"digest": "0" * 64})
    assert "is another bundle" in reply.header["error"]


def test_a_failing_model_does_not_end_the_worker(order, monkeypatch, capsys):
    worker = new_worker()
    answer(worker, **order)

    def fail(*_, **__):
        raise RuntimeError("no memory")

    monkeypatch.setattr("overwinter.serving.worker.main.infer", fail)
    reply = answer(worker, QUESTION, operation="infer", headers={}, model="m")
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
        answer(worker, **order)
        answer(worker, operation="park")
    assert asked == [4, 4]

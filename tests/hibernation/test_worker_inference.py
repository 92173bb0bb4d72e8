"""The Open Inference Protocol as a woken model answers it."""

import json

import numpy as np
import pytest

from overwinter.errors import ConfigError
from overwinter.hibernation import wake
from overwinter.hibernation.worker_inference import infer
from overwinter.serving.server.messages import RequestError

INPUTS = np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)
RAW = np.random.default_rng(2).integers(0, 17, (2, 8, 8), dtype=np.uint8)


@pytest.fixture
def model(hibernate):
    return wake(hibernate().folder)


def tensor(values, datatype="FP32", name="input", **changes):
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()} | changes


def ask(model, tensor, binary=b"", headers=None, **request):
    reply = infer(model, headers or {}, json.dumps({"inputs": [tensor], **request}).encode() + binary)
    return json.loads(reply.body), reply


def by_name(content):
    return {output["name"]: output for output in content["outputs"]}


def test_it_answers_model_inputs(model):
    content, _ = ask(model, tensor(INPUTS), id="42")
    outputs = by_name(content)
    assert content["id"] == "42"
    assert outputs["logits"]["shape"] == [3, 3]
    np.testing.assert_allclose(np.reshape(outputs["logits"]["data"], (3, 3)), model.run(INPUTS), rtol=1e-6)
    assert set(outputs["label"]["data"]) <= {"a", "b", "c"}
    assert all(1 / 3 <= share <= 1 for share in outputs["probability"]["data"])


def test_raw_inputs_are_prepared_as_the_bundle_says(model):
    content, _ = ask(model, tensor(RAW, "UINT8", "raw"))
    outputs = by_name(content)
    answers = model.answer(RAW)
    assert outputs["label"]["data"] == [answer.label for answer in answers]
    assert outputs["probability"]["data"] == pytest.approx([answer.probability for answer in answers])


def test_nested_data_is_as_good_as_flat(model):
    flat, _ = ask(model, tensor(INPUTS))
    nested, _ = ask(model, tensor(INPUTS, data=INPUTS.tolist()))
    assert flat == nested


def test_only_the_wanted_outputs_are_sent(model):
    content, _ = ask(model, tensor(INPUTS), outputs=[{"name": "label"}])
    assert list(by_name(content)) == ["label"]


def test_binary_tensors_go_both_ways(model):
    described = tensor(INPUTS, parameters={"binary_data_size": INPUTS.nbytes})
    del described["data"]
    request = {"inputs": [described], "parameters": {"binary_data_output": True}}
    head = json.dumps(request).encode()
    reply = infer(model, {"inference-header-content-length": str(len(head))}, head + INPUTS.tobytes())
    length = int(reply.headers["Inference-Header-Content-Length"])
    outputs, rest = json.loads(reply.body[:length])["outputs"], reply.body[length:]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert sum(sizes) == len(rest)
    np.testing.assert_array_equal(np.frombuffer(rest[: sizes[0]], "<f4").reshape(3, 3), model.run(INPUTS))
    assert rest[sizes[0] : sizes[0] + 4] == (1).to_bytes(4, "little")  # the length of the first label


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"[]", "JSON object"),
        (b"{}", "one tensor"),
        (b'{"inputs": [{}, {}]}', "one tensor"),
        (b'{"inputs": [{"name": "input", "datatype": "FP8"}]}', "FP8"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1]}]}', "whole numbers"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1]}]}', "needs `data`"),
    ],
)
def test_what_is_no_request_is_refused(model, body, message):
    with pytest.raises(RequestError, match=message) as refusal:
        infer(model, {}, body)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x"}, "'x' is unknown"),
        ({"shape": [2, 1, 8, 8]}, "needs 128 values"),
        ({"shape": [1, 3, 8, 8]}, "must be FP32"),
        ({"datatype": "FP64"}, "must be FP32"),
        ({"datatype": "UINT8"}, "no UINT8"),
        ({"data": ["a"]}, "numbers only"),
        ({"data": [[1, 2], [3]]}, "no array"),
        ({"data": [1e39] * 192}, "infinite"),
        ({"parameters": []}, "must be an object"),
        ({"parameters": {"binary_data_size": 8}}, "0 bytes came"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(model, changes, message):
    with pytest.raises(RequestError, match=message):
        ask(model, tensor(INPUTS, **changes))


def test_raw_values_out_of_range_are_refused(model):
    with pytest.raises(ConfigError, match="raw values are between"):
        ask(model, tensor(RAW + 100, "UINT8", "raw"))


@pytest.mark.parametrize("length", ["x", "-1", "1000000", ""])
def test_a_wrong_header_length_is_refused(model, length):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        ask(model, tensor(INPUTS), headers={"inference-header-content-length": length})


def test_an_unknown_output_is_refused(model):
    with pytest.raises(RequestError, match="'x' is unknown"):
        ask(model, tensor(INPUTS), outputs=[{"name": "x"}])

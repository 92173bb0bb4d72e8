"""The Open Inference Protocol as a woken model answers it."""

import contextlib
import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from overwinter.bundle import wake
from overwinter.serving.messages import RequestError
from overwinter.serving.worker.inference import infer
from overwinter.serving.worker.tensors import read_tensors
from tests.support.woken import specs, woken

INPUTS = np.random.default_rng(1).standard_normal((3, 1, 8, 8)).astype(np.float32)
RAW = np.random.default_rng(2).integers(0, 17, (2, 8, 8), dtype=np.uint8)


@pytest.fixture
def model(hibernate):
    return wake(hibernate().folder)


def tensor(values, datatype="FP32", name="input", **changes):
    return {"name": name, "datatype": datatype, "shape": list(values.shape), "data": values.ravel().tolist()} | changes


def ask(model, tensor, binary=b"", headers=None, **request):
    reply = asked(model, json.dumps({"inputs": [tensor], **request}).encode() + binary, headers)
    return json.loads(reply.body), reply


def asked(model, body, headers=None, *, max_values=100_000):
    return infer(model, headers or {}, body, name="m", max_values=max_values)


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
    responses = model.predict(RAW)
    assert outputs["label"]["data"] == [response["label"] for response in responses]
    assert outputs["probability"]["data"] == pytest.approx([response["probability"] for response in responses])


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
    reply = asked(model, head + INPUTS.tobytes(), {"inference-header-content-length": str(len(head))})
    length = int(reply.headers["Inference-Header-Content-Length"])
    outputs, rest = json.loads(reply.body[:length])["outputs"], reply.body[length:]
    sizes = [output["parameters"]["binary_data_size"] for output in outputs]
    assert sum(sizes) == len(rest)
    np.testing.assert_array_equal(np.frombuffer(rest[: sizes[0]], "<f4").reshape(3, 3), model.run(INPUTS))
    assert rest[sizes[0] : sizes[0] + 4] == (1).to_bytes(4, "little")  # the length of the first label


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (b"{", "not valid JSON"),
        (b"[" * 90_000, "too deep"),
        (b"[]", "JSON object"),
        (b"{}", "one tensor"),
        (b'{"inputs": [{}, {}]}', "must be a name"),
        (b'{"inputs": [{"name": "input", "datatype": "FP8"}]}', "FP8"),
        (b'{"inputs": [{"name": "input", "datatype": ["FP32"]}]}', "datatype"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [-1]}]}', "whole numbers"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1]}]}', "`data` is missing"),
        (b'{"inputs": [{"name": "input", "datatype": "FP32", "shape": [1], "data": [NaN]}]}', "NaN"),
    ],
)
def test_what_is_no_request_is_refused(model, body, message):
    with pytest.raises(RequestError, match=message) as refusal:
        asked(model, body)
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "x"}, "'x' is unknown"),
        ({"name": None}, "not None"),
        ({"shape": [2, 1, 8, 8]}, "needs 128 values"),
        ({"shape": [1, 3, 8, 8]}, "must be FP32"),
        ({"shape": [10**30, 1, 8, 8]}, "`shape`"),
        ({"shape": [0, 2**62, 2**62], "data": []}, "`shape`"),
        ({"shape": [0, 1, 8, 8], "data": []}, "no sample"),
        ({"shape": [], "data": [1]}, "must be FP32"),
        ({"shape": [1] * 40}, "`shape`"),
        ({"shape": [3.0, 1, 8, 8]}, "`shape`"),
        ({"shape": [True, 192]}, "`shape`"),
        ({"shape": "3"}, "`shape`"),
        ({"datatype": "FP64"}, "must be FP32"),
        ({"datatype": "FP16"}, "must be FP32"),
        ({"datatype": "BF16"}, "'BF16' is unknown"),
        ({"datatype": "BYTES"}, "must hold texts"),
        ({"datatype": "UINT8"}, "not UINT8"),
        ({"datatype": "BOOL"}, "for BOOL"),
        ({"data": ["a"]}, "numbers only"),
        ({"data": [None] * 192}, "numbers only"),
        ({"data": [0.5] * 191 + [True]}, "numbers only"),
        ({"data": {"a": 1}}, "must be a list"),
        ({"data": [[1, 2], [3]]}, "not an array"),
        ({"data": [[1], 2]}, "not an array"),
        ({"data": [10**400] + [0.5] * 191}, "too large"),
        ({"data": [10**400] * 192}, "too large"),
        ({"data": [1e39] * 192}, "not finite"),
        ({"parameters": []}, "must be an object"),
        ({"parameters": {"binary_data_size": 8}}, "0 bytes came"),
        ({"parameters": {"binary_data_size": "0"}}, "0 bytes came"),
        ({"parameters": {"binary_data_size": False}}, "0 bytes came"),
    ],
)
def test_a_tensor_that_does_not_fit_is_refused(model, changes, message):
    with pytest.raises(RequestError, match=message) as refusal:
        ask(model, tensor(INPUTS, **changes))
    assert refusal.value.status == 400


def test_deeply_nested_data_is_refused(model):
    body = json.dumps({"inputs": [tensor(INPUTS, data="DEEP")]}).replace('"DEEP"', "[" * 500 + "1" + "]" * 500)
    with pytest.raises(RequestError, match="deep"):
        asked(model, body.encode())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"id": 7}, "`id`"),
        ({"outputs": [{"name": "x"}]}, "'x', which is unknown"),
        ({"outputs": [{}]}, "None, which is unknown"),
        ({"outputs": {"name": "label"}}, "`outputs`"),
        ({"outputs": [{"name": "label", "parameters": {"classification": 2}}]}, "not supported"),
        ({"outputs": [{"name": "label", "parameters": {"binary_data": 1}}]}, "`binary_data`"),
        ({"parameters": {"binary_data_output": "yes"}}, "`binary_data_output`"),
        ({"parameters": 7}, "`parameters`"),
    ],
)
def test_a_request_that_asks_for_something_else_is_refused(model, changes, message):
    with pytest.raises(RequestError, match=message) as refusal:
        ask(model, tensor(INPUTS), **changes)
    assert refusal.value.status == 400


def test_a_response_says_whose_it_is_and_ignores_foreign_parameters(model):
    content, _ = ask(model, tensor(INPUTS, parameters={"content_type": "np"}), parameters={"priority": 1}, id="\ud800")
    assert (content["model_name"], content["model_version"]) == ("m", model.bundle.digest[:12])
    assert content["id"] == "\ud800"


def test_too_many_answers_at_once_are_refused(model):
    many = np.zeros((40, 1, 8, 8), np.uint8)
    head = {"inputs": [{"name": "input", "datatype": "FP32", "shape": [40, 1, 8, 8]}]}
    head["inputs"][0]["parameters"] = {"binary_data_size": 4 * many.size}
    text = json.dumps(head).encode()
    headers = {"inference-header-content-length": str(len(text))}
    body = text + many.astype("<f4").tobytes()
    assert asked(model, body, headers, max_values=120).status == 200
    with pytest.raises(RequestError, match="send fewer") as refusal:
        asked(model, body, headers, max_values=119)
    assert refusal.value.status == 413


def test_a_large_batch_is_computed_in_pieces(model, monkeypatch):
    whole, _ = ask(model, tensor(RAW, "UINT8", "raw"))
    monkeypatch.setattr("overwinter.serving.worker.running._AT_ONCE", 64)
    sizes = []
    run = model.run
    monkeypatch.setattr(model, "run", lambda inputs: sizes.append(len(inputs)) or run(inputs))
    pieces, _ = ask(model, tensor(RAW, "UINT8", "raw"))
    assert sizes == [1, 1]
    assert by_name(pieces)["label"] == by_name(whole)["label"]
    np.testing.assert_allclose(by_name(pieces)["logits"]["data"], by_name(whole)["logits"]["data"], rtol=1e-5)


def test_one_raw_sample_needs_no_batch(model):
    content, _ = ask(model, tensor(RAW[0], "UINT8", "raw"))
    assert by_name(content)["label"]["shape"] == [1]


def test_half_precision_and_booleans_are_read_from_bytes(model):
    for datatype, values in (("FP16", RAW.astype("<f2")), ("BOOL", RAW > 8)):
        head = tensor(values, datatype, "raw", parameters={"binary_data_size": values.nbytes})
        del head["data"]
        text = json.dumps({"inputs": [head]}).encode()
        reply = asked(model, text + values.tobytes(), {"inference-header-content-length": str(len(text))})
        assert reply.status == 200
    with pytest.raises(RequestError, match="0 or 1"):
        asked(model, text + b"\x02" * values.nbytes, {"inference-header-content-length": str(len(text))})


def test_raw_values_out_of_range_are_refused(model):
    with pytest.raises(RequestError, match="raw values are between"):
        ask(model, tensor(RAW + 100, "UINT8", "raw"))


@pytest.mark.parametrize("length", ["x", "-1", "1000000", "", "9" * 5000])
def test_a_wrong_header_length_is_refused(model, length):
    with pytest.raises(RequestError, match="Inference-Header-Content-Length"):
        ask(model, tensor(INPUTS), headers={"inference-header-content-length": length})


def test_a_response_that_is_no_number_is_no_response(model, monkeypatch):
    monkeypatch.setattr(model, "run", lambda inputs: np.full((len(inputs), 3), np.inf, np.float32))
    with pytest.raises(RequestError, match="not finite"):
        ask(model, tensor(INPUTS))


TOKENS, WEIGHT = np.array([[1, 2, 3], [4, 5, 6]]), np.array([[1], [2]], np.float32)


def asked_of(model, *tensors, binary=b"", **request):
    text = json.dumps({"inputs": list(tensors), **request}).encode()
    reply = asked(model, text + binary, {"inference-header-content-length": str(len(text))})
    return by_name(json.loads(reply.body))


def test_several_inputs_in_any_order_give_what_the_task_says(pair):
    outputs = asked_of(pair, tensor(WEIGHT, name="weight"), tensor(TOKENS, "INT64", "tokens"))
    assert outputs["output"]["data"] == [6.0, 30.0]
    assert [json.loads(text) for text in outputs["response"]["data"]] == [{"value": 6.0}, {"value": 30.0}]
    assert (outputs["response"]["datatype"], outputs["response"]["shape"]) == ("BYTES", [2])


def test_binary_inputs_follow_each_other(pair):
    heads = [tensor(TOKENS, "INT64", "tokens"), tensor(WEIGHT, name="weight")]
    for head, values in zip(heads, (TOKENS, WEIGHT), strict=True):
        del head["data"]
        head["parameters"] = {"binary_data_size": values.nbytes}
    binary = TOKENS.tobytes() + WEIGHT.tobytes()
    assert asked_of(pair, *heads, binary=binary)["output"]["data"] == [6.0, 30.0]
    mixed = asked_of(pair, heads[0], tensor(WEIGHT, name="weight"), binary=TOKENS.tobytes())
    assert mixed["output"]["data"] == [6.0, 30.0]
    with pytest.raises(RequestError, match="4 bytes after the JSON belong to no tensor"):
        asked_of(pair, *heads, binary=binary + b"more")
    with pytest.raises(RequestError, match="`binary_data_size` is 8, but 4 bytes came"):
        asked_of(pair, *heads, binary=binary[:-4])


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ([tensor(TOKENS, "INT64", "tokens")], "'weight' is missing. The model takes tokens, weight"),
        ([tensor(TOKENS, "INT64", "raw")], "'raw' is unknown"),
        ([tensor(TOKENS, "INT64", "tokens"), tensor(WEIGHT[:1], name="weight")], "tokens 2, weight 1"),
        (
            [tensor(TOKENS, "INT32", "tokens"), tensor(WEIGHT, name="weight")],
            r"be INT64 \[-1, -1\], not INT32 \[2, 3\]",
        ),
        ([tensor(TOKENS, "INT64", "tokens"), tensor(TOKENS, name="weight")], r"be FP32 \[-1, 1\], not FP32 \[2, 3\]"),
        ([tensor(TOKENS, "INT64", "tokens")] * 2, "no other's"),
    ],
)
def test_inputs_that_are_not_the_models_are_refused_by_name(pair, tensors, message):
    with pytest.raises(RequestError, match=message) as refusal:
        asked_of(pair, *tensors)
    assert refusal.value.status == 400


class Texts:
    """A preprocessing of texts: the length of each."""

    kind = "text"

    def to_json(self):
        return {"kind": "text", "max_length": 1}

    def prepare(self, raw):
        return np.array([[len(text)] for text in raw], np.float32)


@pytest.fixture
def reader():
    inputs = specs(input=("float32", (None, 1)))
    return woken(
        lambda inputs: np.concatenate([inputs, 3 - inputs], axis=1),
        inputs,
        (None, 2),
        canary=np.ones((1, 1), np.float32),
        labels=("long", "short"),
        preprocessing=Texts(),
    )


def in_bytes(*elements):
    return b"".join(len(each).to_bytes(4, "little") + each for each in elements)


def test_texts_come_in_json_or_with_their_lengths(reader):
    raw = {"name": "raw", "datatype": "BYTES", "shape": [2]}
    expected = asked_of(reader, {**raw, "data": ["a", "été"]})["label"]["data"]
    assert expected == ["short", "long"]
    binary = in_bytes(b"a", "été".encode())
    assert asked_of(reader, {**raw, "parameters": {"binary_data_size": len(binary)}}, binary=binary)["label"][
        "data"
    ] == list(expected)


@pytest.mark.parametrize(
    ("changes", "binary", "message"),
    [
        ({"data": ["a", 7]}, b"", "must hold texts, not 7"),
        ({"data": ["a"]}, b"", "needs 2 values"),
        ({"data": ["a", "\ud800"]}, b"", "not valid text"),
        ({"datatype": "FP32", "data": [1, 2]}, b"", r"`raw` must be BYTES \[-1\], not FP32 \[2\]"),
        ({"shape": [2, 1], "data": ["a", "b"]}, b"", r"`raw` must be BYTES \[-1\]"),
        ({}, in_bytes(b"a", b"\xff"), "not valid text"),
        ({}, in_bytes(b"a")[:-1], "of 1 bytes has only 0"),
        ({}, b"\x01\x00", "has only 0"),
        ({}, b"\xff" * 8, "of 4294967295 bytes has only 4"),
    ],
)
def test_texts_that_are_none_are_refused(reader, changes, binary, message):
    raw = {"name": "raw", "datatype": "BYTES", "shape": [2]} | changes
    if binary:
        raw["parameters"] = {"binary_data_size": len(binary)}
    with pytest.raises(RequestError, match=message) as refusal:
        asked_of(reader, raw, binary=binary)
    assert refusal.value.status == 400


REQUEST = {
    "id": "7",
    "parameters": {"binary_data_output": False},
    "inputs": [tensor(RAW[:1], "UINT8", "raw", parameters={})],
    "outputs": [{"name": "logits", "parameters": {"binary_data": False}}],
}


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])  # the model keeps no state
@hypothesis.given(data=st.data())
def test_any_request_is_answered_or_refused(model, corrupted, data):
    request = data.draw(corrupted(REQUEST))
    with contextlib.suppress(RequestError):
        assert json.loads(asked(model, json.dumps(request).encode()).body)["model_name"] == "m"


@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])  # models keep no state
@hypothesis.given(data=st.data())
def test_any_request_of_several_inputs_or_texts_is_answered_or_refused(pair, reader, corrupted, data):
    tensors = [tensor(TOKENS, "INT64", "tokens", parameters={}), tensor(WEIGHT, name="weight")]
    texts = [{"name": "raw", "datatype": "BYTES", "shape": [2], "data": ["a", "b"], "parameters": {}}]
    model, inputs = data.draw(st.sampled_from([(pair, tensors), (reader, texts)]))
    request = data.draw(corrupted({"inputs": inputs, "outputs": [{"name": "response"}]}))
    with contextlib.suppress(RequestError):
        assert json.loads(asked(model, json.dumps(request).encode()).body)["model_name"] == "m"


@hypothesis.given(st.binary(max_size=60), st.sampled_from(["BYTES", "FP32", "INT64", "BOOL"]), st.integers(0, 9))
def test_any_bytes_are_a_tensor_or_refused(binary, datatype, count):
    head = {"name": "a", "datatype": datatype, "shape": [count], "parameters": {"binary_data_size": len(binary)}}
    with contextlib.suppress(RequestError):
        (found,) = read_tensors([head], binary)
        assert found.values.shape == (count,)

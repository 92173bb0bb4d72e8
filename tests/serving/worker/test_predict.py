"""Plain predictions, for every task and kind of preprocessing."""

import base64
import contextlib
import io
import json
import math

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from overwinter.data import Image, Normalize
from overwinter.serving.messages import RequestError
from overwinter.serving.worker.predict import predict
from tests.support.woken import specs, woken


def ask(model, content, media="application/json", *, max_values=10_000):
    body = content if isinstance(content, bytes) else json.dumps(content).encode()
    reply = predict(model, {"content-type": media}, body, name="m", max_values=max_values)
    return json.loads(reply.body)["predictions"]


def of_numbers(output, task, labels=(), run=None):
    """A model of three numbers with a preprocessing."""
    return woken(
        run or (lambda inputs: inputs[:, :output] if output else inputs[:, 0]),
        specs(input=("float32", (None, 3))),
        (None, output) if output else (None,),
        canary=np.ones((1, 3), np.float32),
        task=task,
        labels=labels,
        preprocessing=Normalize(1.0, 2.0, shape=[3]),
    )


def test_a_class_and_its_probability():
    (first, second) = ask(of_numbers(2, None, "ab"), {"instances": [[3, 1, 0], [1, 3, 0]]})
    assert (first["label"], second["label"]) == ("a", "b")
    assert first["probability"] == pytest.approx(1 / (1 + math.exp(-1)))


def test_labels_each_with_its_probability():
    (response,) = ask(of_numbers(3, {"name": "multilabel"}, "abc"), {"instances": [[9, 9, -9]]})
    assert list(response["labels"]) == ["a", "b"]


def test_a_number():
    (response,) = ask(of_numbers(1, {"name": "regression"}, ("price",)), {"instances": [[5, 0, 0]]})
    assert 2.0 in response.values() or {"price": 2.0} in response.values()


def test_a_mask():
    def run(inputs):
        return np.stack([inputs, -inputs], axis=1)[..., None]  # (n, classes, height, width)

    model = woken(
        run,
        specs(input=("float32", (None, 3))),
        (None, 2, 3, 1),
        canary=np.ones((1, 3), np.float32),
        task={"name": "segmentation"},
        labels=("no", "yes"),
        preprocessing=Normalize(shape=[3]),
    )
    (response,) = ask(model, {"instances": [[1, -1, -1]]})
    assert response["mask"] == [[0], [1], [1]]


def test_model_inputs_are_given_by_name(pair):
    instances = [{"tokens": [1, 2, 3], "weight": [0.5]}, {"tokens": [1, 1, 1], "weight": [2]}]
    assert [next(iter(each.values())) for each in ask(pair, {"instances": instances})] == [3.0, 6.0]


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        (None, "`instances` must be a list"),
        ([], "`instances` must be a list"),
        ({"a": 1}, "`instances` must be a list"),
        ([1], "an object with tokens, weight"),
        ([{"tokens": [1]}], "an object with tokens, weight"),
        ([{"tokens": [1], "weight": [1], "more": 1}], "an object with tokens, weight"),
        ([{"tokens": [1], "weight": [1]}, {"tokens": [1, 2], "weight": [1]}], "`tokens` is not an array"),
        ([{"tokens": [1.5], "weight": [1]}], "not INT64"),
        ([{"tokens": [2**63], "weight": [1]}], "INT64"),
        ([{"tokens": ["a"], "weight": [1]}], "numbers only"),
        ([{"tokens": 1, "weight": [1]}], r"must be INT64 \[-1, -1\], not \[1\]"),
        ([{"tokens": [1], "weight": [[1]]}], r"must be FP32 \[-1, 1\], not \[1, 1, 1\]"),
        ([{"tokens": [1], "weight": [1e39]}], "not finite"),
        ([{"tokens": [], "weight": [1]}], "`tokens` has no sample"),
    ],
)
def test_what_does_not_fit_the_signature_is_refused(pair, instances, message):
    with pytest.raises(RequestError, match=message) as refusal:
        ask(pair, {"instances": instances})
    assert refusal.value.status == 400


@pytest.mark.parametrize(
    ("instances", "message"),
    [
        ([[1, 2]], r"`instances` must be \[-1, 3\], not \[1, 2\]"),
        ([[1, 2, None]], "numbers only"),
        ([["a"] * 3], "numbers only"),
        ([[1, 2, 10**400]], "too large"),
        ([{"b64": "AA=="}], "numbers only"),
        ([[1, 2, 3], [1]], "not an array"),
    ],
)
def test_raw_numbers_that_do_not_fit_are_refused(instances, message):
    with pytest.raises(RequestError, match=message):
        ask(of_numbers(2, None, "ab"), {"instances": instances})


def picture(side=2):
    pillow = pytest.importorskip("PIL.Image", reason="the extra images is not installed")
    buffer = io.BytesIO()
    pillow.fromarray(np.full((side, side, 3), 255, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def seer():
    return woken(
        lambda inputs: np.stack([inputs.mean(axis=(1, 2, 3)), 0 * inputs[:, 0, 0, 0]], axis=1),
        specs(input=("float32", (None, 3, 4, 4))),
        (None, 2),
        canary=np.ones((1, 3, 4, 4), np.float32),
        labels=("bright", "dark"),
        preprocessing=Image([4, 4], mean=0.5),
    )


def test_an_image_comes_as_a_file_or_as_base64(seer):
    whole = ask(seer, picture(), "image/png")
    text = base64.b64encode(picture()).decode()
    assert whole == ask(seer, {"instances": [text]}) == ask(seer, {"instances": [{"b64": text}]})
    assert whole[0]["label"] == "bright"


@pytest.mark.parametrize(
    ("content", "media", "message"),
    [
        (b"\x89PNG\r\n\x1a\n junk", "image/png", "Image 0"),
        (b"", "image/jpeg", "no PNG or JPEG"),
        ({"instances": ["?"]}, "application/json", "not valid base64"),
        ({"instances": ["é"]}, "application/json", "not valid base64"),
        ({"instances": [{"b64": 7}]}, "application/json", "must be a file in base64"),
        ({"instances": [[1, 2]]}, "application/json", "must be a file in base64"),
        ({"instances": ["AAAA"]}, "application/json", "no PNG or JPEG"),
    ],
)
def test_what_is_no_image_is_refused(seer, content, media, message):
    with pytest.raises(RequestError, match=message) as refusal:
        ask(seer, content, media)
    assert refusal.value.status == 400


@hypothesis.given(data=st.data())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])  # models keep no state
def test_any_request_is_answered_or_refused(pair, seer, corrupted, data):
    file = base64.b64encode(picture()).decode()
    requests = {
        "pair": (pair, {"instances": [{"tokens": [1, 2], "weight": [0.5]}] * 2}),
        "numbers": (of_numbers(2, None, "ab"), {"instances": [[1, 2, 3]] * 2}),
        "seer": (seer, {"instances": [{"b64": file}, file]}),
    }
    model, request = requests[data.draw(st.sampled_from(sorted(requests)))]
    with contextlib.suppress(RequestError):
        assert isinstance(ask(model, data.draw(corrupted(request))), list)

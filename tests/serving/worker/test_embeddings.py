import base64
import contextlib
import json

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st

from overwinter.serving.messages import RequestError
from overwinter.serving.worker.embeddings import embed
from tests.support.woken import specs, woken


class Letters:
    """One token for each letter."""

    kind = "text"

    def to_json(self):
        return {"kind": "text", "max_length": 9}

    def prepare(self, raw):
        length = max(map(len, raw))
        tokens = np.array([[*map(ord, text), *[0] * (length - len(text))] for text in raw], np.int64)
        return {"input_ids": tokens, "attention_mask": (tokens > 0).astype(np.int64)}


@pytest.fixture
def encoder():
    def run(inputs):
        mask = inputs["attention_mask"]
        return np.stack([mask.sum(axis=1), inputs["input_ids"].max(axis=1)], axis=1).astype(np.float32)

    return woken(
        run,
        specs(input_ids=("int64", (None, None)), attention_mask=("int64", (None, None))),
        (None, 2),
        canary={"input_ids": np.ones((1, 2), np.int64), "attention_mask": np.ones((1, 2), np.int64)},
        task={"name": "embeddings"},
        preprocessing=Letters(),
    )


def ask(encoder, **content):
    return json.loads(embed(encoder, {}, json.dumps(content).encode(), name="m", max_values=100).body)


def test_each_text_has_its_embedding(encoder):
    content = ask(encoder, model="m", input=["ab", "c"], encoding_format="float", user="someone")
    assert (content["object"], content["model"]) == ("list", "m")
    assert content["data"] == [
        {"object": "embedding", "index": 0, "embedding": [2.0, 98.0]},
        {"object": "embedding", "index": 1, "embedding": [1.0, 99.0]},
    ]
    assert content["usage"] == {"prompt_tokens": 3, "total_tokens": 3}


def test_one_text_needs_no_list_and_bytes_are_little_endian(encoder):
    (entry,) = ask(encoder, input="ab", encoding_format="base64", dimensions=2)["data"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(entry["embedding"]), "<f4"), [2, 98])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input": None}, "`input`"),
        ({"input": []}, "`input`"),
        ({"input": ""}, "`input`"),
        ({"input": ["a", ""]}, "`input`"),
        ({"input": [1, 2]}, "`input` must be a text"),
        ({"input": [[1, 2]]}, "`input` must be a text"),
        ({"input": "\ud800"}, "`input` is not valid text"),
        ({"encoding_format": "hex"}, "`encoding_format`"),
        ({"encoding_format": ["float"]}, "`encoding_format`"),
        ({"dimensions": 1}, "`dimensions` is 1; this model's embeddings have 2"),
        ({"dimensions": True}, "`dimensions`"),
        ({"dimensions": "2"}, "`dimensions`"),
    ],
)
def test_what_is_not_supported_is_refused(encoder, changes, message):
    with pytest.raises(RequestError, match=message) as refusal:
        ask(encoder, **{"input": "ab"} | changes)
    assert refusal.value.status == 400


def test_too_many_texts_at_once_are_refused(encoder):
    with pytest.raises(RequestError, match="send fewer") as refusal:
        embed(encoder, {}, json.dumps({"input": ["ab"] * 45}).encode(), name="m", max_values=89)
    assert refusal.value.status == 413


@hypothesis.given(data=st.data())
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])  # the model keeps no state
def test_any_request_is_answered_or_refused(encoder, corrupted, data):
    request = {"model": "m", "input": ["ab", "c"], "encoding_format": "base64", "dimensions": 2}
    with contextlib.suppress(RequestError):
        assert ask(encoder, **data.draw(corrupted(request)))["object"] == "list"

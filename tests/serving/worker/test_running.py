import numpy as np
import pytest

from overwinter.data import Normalize
from overwinter.serving.messages import RequestError
from overwinter.serving.worker.running import Runner
from tests.support.woken import specs, woken

TOKENS = specs(input_ids=("int64", (None, None)), attention_mask=("int64", (None, None)))


def of_tokens(inputs):
    """Two numbers for each token; the two inputs must have one length, as in a real model."""
    tokens = inputs["input_ids"] * inputs["attention_mask"]
    return np.stack([tokens, -tokens], axis=-1).astype(np.float32)


@pytest.fixture
def tagger():
    canary = {"input_ids": np.array([[1, 2]]), "attention_mask": np.array([[1, 1]])}
    task = {"name": "token_classification"}
    return woken(of_tokens, TOKENS, (None, None, 2), canary=canary, task=task, labels=("a", "b"))


def test_outputs_for_padding_are_left_out(tagger):
    inputs = {"input_ids": np.array([[1, 2, 3], [4, 0, 0]]), "attention_mask": np.array([[1, 1, 1], [1, 0, 0]])}
    outputs = Runner(tagger, max_values=100).of_inputs(inputs)
    assert [output.shape for output in outputs] == [(3, 2), (1, 2)]
    assert (outputs.values.shape, outputs.tokens) == ((2, 3, 2), 4)


def test_as_many_classes_as_tokens_are_no_outputs_for_tokens():
    canary = {"input_ids": np.array([[1, 2]]), "attention_mask": np.array([[1, 1]])}
    model = woken(
        lambda inputs: inputs["input_ids"].astype(np.float32), TOKENS, (None, 2), canary=canary, labels=("a", "b")
    )
    inputs = {"input_ids": np.array([[1, 2], [3, 0]]), "attention_mask": np.array([[1, 1], [1, 0]])}
    assert [len(output) for output in Runner(model, max_values=100).of_inputs(inputs)] == [2, 2]


def test_inputs_whose_lengths_do_not_go_together_are_the_clients_fault(tagger, capsys):
    inputs = {"input_ids": np.array([[1, 2, 3]]), "attention_mask": np.array([[1, 1]])}
    with pytest.raises(RequestError, match=r"input_ids \[1, 3\] from 1 to 3; attention_mask \[1, 2\]") as refusal:
        Runner(tagger, max_values=100).of_inputs(inputs)
    assert refusal.value.status == 400
    assert "ValueError" in capsys.readouterr().err


def test_a_token_beyond_the_vocabulary_is_the_clients_fault(tagger, capsys):
    def look_up(inputs):
        return np.eye(3, dtype=np.float32)[inputs["input_ids"]]  # three tokens

    tagger.session.run = look_up
    inputs = {"input_ids": np.array([[1, 300]]), "attention_mask": np.array([[1, 1]])}
    with pytest.raises(RequestError, match=r"input_ids \[1, 2\] from 1 to 300") as refusal:
        Runner(tagger, max_values=100).of_inputs(inputs)
    assert refusal.value.status == 400
    assert "IndexError" in capsys.readouterr().err


def test_a_failure_on_the_shapes_of_the_canary_is_the_models(tagger):
    def fail(_inputs):
        raise ValueError("no memory")

    tagger.session.run = fail
    with pytest.raises(ValueError, match="no memory"):
        Runner(tagger, max_values=100).of_inputs({"input_ids": np.ones((1, 2)), "attention_mask": np.ones((1, 2))})


def test_a_response_with_too_many_values_is_refused(tagger):
    inputs = {"input_ids": np.ones((2, 50), np.int64), "attention_mask": np.ones((2, 50), np.int64)}
    assert Runner(tagger, max_values=200).of_inputs(inputs).values.size == 200
    with pytest.raises(RequestError, match="200 values: send fewer") as refusal:
        Runner(tagger, max_values=199).of_inputs(inputs)
    assert refusal.value.status == 413


def test_batches_of_other_lengths_are_joined(monkeypatch):
    monkeypatch.setattr("overwinter.serving.worker.running._AT_ONCE", 1)

    class Texts:
        kind = "text"

        def to_json(self):
            return {"kind": "text"}

        def prepare(self, raw):
            tokens = np.array([[len(word) for word in text.split()] for text in raw])
            return {"input_ids": tokens, "attention_mask": np.ones_like(tokens)}

    canary = {"input_ids": np.array([[1, 2]]), "attention_mask": np.array([[1, 1]])}
    task = {"name": "token_classification"}
    model = woken(
        of_tokens, TOKENS, (None, None, 2), canary=canary, task=task, labels=("a", "b"), preprocessing=Texts()
    )
    outputs = Runner(model, max_values=100).of_raw(["a text", "and a longer text"])
    assert [output[:, 0].tolist() for output in outputs] == [[1, 4], [3, 1, 6, 4]]


def test_a_request_that_takes_too_long_ends_between_batches(monkeypatch):
    monkeypatch.setattr("overwinter.serving.worker.running._AT_ONCE", 1)
    batches = []

    def run(inputs):
        batches.append(len(inputs))
        return inputs

    inputs = specs(input=("float32", (None, 1)))
    model = woken(run, inputs, (None, 1), canary=np.ones((1, 1), np.float32), labels=("a",), preprocessing=Normalize())
    with pytest.raises(RequestError, match="took longer than 0 s: send fewer") as refusal:
        Runner(model, max_values=100, within_s=0).of_raw(np.ones((50, 1)))
    assert (refusal.value.status, batches) == (503, [1, 1])  # the canary's, and one


def test_no_sample_is_refused(tagger):
    with pytest.raises(RequestError, match="no sample"):
        Runner(tagger, max_values=100).of_raw([])

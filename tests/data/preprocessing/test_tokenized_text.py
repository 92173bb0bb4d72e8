import json

import numpy as np
import pytest

from overwinter.data import TokenizedText, as_json, read_preprocessing
from overwinter.errors import ConfigError

tokenizers = pytest.importorskip("tokenizers", reason="the extra llm is not installed")
WORDS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "the", "cat", "sat"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A bundle's extras with a tokenizer of seven words."""
    extras = tmp_path_factory.mktemp("extras")
    (extras / "tokenizer").mkdir()
    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 1), ("[SEP]", 2)]
    )
    tokenizer.save(str(extras / "tokenizer" / "tokenizer.json"))
    (extras / "tokenizer" / "tokenizer_config.json").write_text(json.dumps({"pad_token": {"content": "[PAD]"}}))
    return extras


def test_texts_become_tokens_padded_to_the_longest(folder):
    inputs = TokenizedText(folder / "tokenizer", max_length=8).prepare(["the cat sat", "cat"])
    np.testing.assert_array_equal(inputs["input_ids"], [[1, 4, 5, 6, 2], [1, 5, 2, 0, 0]])
    np.testing.assert_array_equal(inputs["attention_mask"], [[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]])
    assert {each.dtype for each in inputs.values()} == {np.dtype(np.int64)}


def test_long_texts_are_cut_and_keep_their_end(folder):
    inputs = TokenizedText(folder / "tokenizer", max_length=4).prepare(["the cat sat the cat"])
    np.testing.assert_array_equal(inputs["input_ids"], [[1, 4, 5, 2]])


def test_a_model_of_one_length_gets_it(folder):
    text = TokenizedText(folder / "tokenizer", max_length=6, padding="max_length", inputs=["input_ids"])
    assert {name: each.shape for name, each in text.prepare(["cat"]).items()} == {"input_ids": (1, 6)}


def test_its_json_and_the_extras_make_the_same_again(folder):
    text = TokenizedText(folder / "tokenizer", max_length=5, inputs=["input_ids", "token_type_ids"])
    again = read_preprocessing(as_json(text), extras=folder)
    for name, values in text.prepare(["the cat"]).items():
        np.testing.assert_array_equal(again.prepare(["the cat"])[name], values)
    assert again.describe_raw() == [{"name": "raw", "datatype": "BYTES", "shape": [-1]}]


def test_it_is_described_without_its_tokenizer():
    assert read_preprocessing({"kind": "text", "max_length": 3}).describe_raw()[0]["datatype"] == "BYTES"


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ([7], "Text 0 is a int"),
        (["a", b"b"], "Text 1 is a bytes"),
        (["\ud800"], "surrogate"),
        (["x" * ((1 << 20) + 1)], "1048577 characters"),
        ([], "no token"),
    ],
)
def test_what_is_no_text_is_refused(folder, texts, message):
    with pytest.raises(ConfigError, match=message):
        TokenizedText(folder / "tokenizer", max_length=4).prepare(texts)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"max_length": 0}, "max_length=0"),
        ({"max_length": "4"}, "max_length"),
        ({"max_length": 4, "padding": "left"}, "padding='left'"),
        ({"max_length": 4, "inputs": ["pixels"]}, "inputs"),
        ({"max_length": 4, "inputs": "input_ids"}, "inputs"),
    ],
)
def test_wrong_arguments_are_named(arguments, message):
    with pytest.raises(ConfigError, match=message):
        TokenizedText("tokenizer", **arguments)


def test_a_missing_or_damaged_tokenizer_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"has no tokenizer.json"):
        TokenizedText(tmp_path, max_length=4).prepare(["cat"])
    with pytest.raises(ConfigError, match="extras/tokenizer has no"):
        read_preprocessing({"kind": "text", "max_length": 4}).prepare(["cat"])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match="cannot be read"):
        TokenizedText(tmp_path, max_length=4).prepare(["cat"])

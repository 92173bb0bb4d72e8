"""A GGUF file's tokenizer splits texts as the file names it."""

import json
from types import SimpleNamespace

import pytest

from overwinter.errors import ConfigError
from overwinter.models import pretrained_tokenizer
from overwinter.models.gguf_splitting import SPLITTINGS, split_as_named, splitting_name
from overwinter.models.huggingface import leading_tokens
from tests.support.gguf_files import write_gguf

tokenizers = pytest.importorskip("tokenizers", reason="the extra llm is not installed")
pytest.importorskip("gguf", reason="the extra llm is not installed")

TEXT = "It's 2026:\n\n 3rd,  1234x"
WORDS = {
    "gpt-2": ["It", "'s", "Ġ2026", ":", "ĊĊ", "Ġ3", "rd", ",", "Ġ", "Ġ1234", "x"],
    "smollm": ["It", "'s", "Ġ", "2", "0", "2", "6", ":", "ĊĊĠ", "3", "rd", ",", "ĠĠ", "1", "2", "3", "4", "x"],
    "llama-bpe": ["It", "'s", "Ġ", "202", "6", ":ĊĊ", "Ġ", "3", "rd", ",", "Ġ", "Ġ", "123", "4", "x"],
    "qwen2": ["It", "'s", "Ġ", "2", "0", "2", "6", ":ĊĊ", "Ġ", "3", "rd", ",", "Ġ", "Ġ", "1", "2", "3", "4", "x"],
}


def words(tokenizer, text=TEXT):
    return [word for word, _ in tokenizer.backend_tokenizer.pre_tokenizer.pre_tokenize_str(text)]


def read(folder, **changes):
    return pretrained_tokenizer(str(write_gguf(folder / "model.gguf", **changes)))


def test_every_way_is_compared():
    assert set(WORDS) == set(SPLITTINGS)


@pytest.mark.parametrize("name", WORDS)
def test_texts_are_split_as_the_file_says_and_the_name_is_found_again(tmp_path, name):
    tokenizer = read(tmp_path, splitting=name)
    assert words(tokenizer) == WORDS[name]
    assert splitting_name(json.loads(tokenizer.backend_tokenizer.to_str())["pre_tokenizer"]) == name


@pytest.mark.parametrize(("other", "name"), [("olmo", "gpt-2"), ("starcoder", "smollm"), ("llama3", "llama-bpe")])
def test_other_names_for_a_way(tmp_path, other, name):
    assert words(read(tmp_path, splitting=other)) == WORDS[name]


@pytest.mark.parametrize(("add_bos", "leading"), [(None, (1,)), (True, (1,)), (False, ())])
def test_llama_3_begins_texts_with_bos_unless_the_file_says_no(tmp_path, add_bos, leading):
    assert leading_tokens(read(tmp_path, splitting="llama-bpe", add_bos=add_bos)) == leading


def test_others_begin_texts_with_bos_only_if_the_file_says_so(tmp_path):
    assert leading_tokens(read(tmp_path, splitting="gpt-2", add_bos=None)) == ()


def test_words_of_llama_3_that_merges_do_not_lead_to_stay_whole(tmp_path):
    assert read(tmp_path, splitting="llama-bpe").backend_tokenizer.model.ignore_merges
    assert not read(tmp_path, splitting="qwen2").backend_tokenizer.model.ignore_merges


def test_qwen_composes_characters(tmp_path):
    tokenizer = read(tmp_path, splitting="qwen2")
    assert tokenizer.backend_tokenizer.normalizer.normalize_str("e\u0301") == "\u00e9"


def test_what_transformers_knows_is_left_to_it(tmp_path):
    assert words(read(tmp_path, splitting="tekken"))[:2] == ["It", "'s"]


@pytest.mark.parametrize(("name", "message"), [("gpt-17", "in the way 'gpt-17'"), (None, "does not say how")])
def test_unknown_ways_are_refused(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        read(tmp_path, splitting=name)


def test_vocabularies_of_pieces_have_no_such_name():
    split_as_named(SimpleNamespace(), {"tokenizer.ggml.model": "llama"}, None)

"""GGUF files that hold what they say, and such as do not: a message before work, not a traceback after it."""

import pytest
import torch

from overwinter import models
from overwinter.errors import ConfigError, IntegrityError
from overwinter.models.gguf_file import gguf_origin, parsed_once
from overwinter.models.gguf_integers import read_integers
from tests.support.gguf_files import change_type, write_gguf

pytest.importorskip("transformers", reason="the extra llm is not installed")
gguf = pytest.importorskip("gguf", reason="the extra llm is not installed")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.gguf"


def test_a_file_is_read_with_its_origin(path):
    model = models.pretrained(root=str(write_gguf(path)))
    assert model(torch.tensor([[3, 4]])).shape == (1, 2, 64)
    assert model.origin == "dequantized Q4_1 (embedding Q8_0)"


def test_the_header_is_parsed_once_for_all_that_reads_it(path, monkeypatch):
    write_gguf(path)
    parses, parse = [], gguf.GGUFReader.__init__
    monkeypatch.setattr(gguf.GGUFReader, "__init__", lambda self, *given: parses.append(given) or parse(self, *given))
    names = gguf.get_tensor_name_map
    models.pretrained(root=str(path))
    assert len(parses) == 1
    read_integers(path)
    assert len(parses) == 2
    assert gguf.get_tensor_name_map is names  # what transformers is handed is taken back


def test_another_file_is_parsed_within_the_block(path, tmp_path):
    other = write_gguf(tmp_path / "other.gguf", blocks="Q8_0")
    write_gguf(path)
    with parsed_once(path):
        assert gguf_origin(other) != gguf_origin(path)
        assert len(gguf.GGUFReader(other).tensors) == len(gguf.GGUFReader(path).tensors)
        assert gguf.GGUFReader(other).data is not gguf.GGUFReader(path).data


@pytest.mark.parametrize(
    ("blocks", "embedding", "expected"),
    [
        ("Q4_1", "Q8_0", "dequantized Q4_1 (embedding Q8_0)"),
        ("Q8_0", "Q8_0", "dequantized Q8_0"),
        ("F32", "Q8_0", "dequantized embedding Q8_0"),
        ("Q4_0", "F16", "dequantized Q4_0"),
        ("F16", "F32", None),
    ],
)
def test_the_origin_names_the_formats_of_the_blocks_and_of_the_embedding(path, blocks, embedding, expected):
    """A large vocabulary has more weights than all blocks: it does not speak for them."""
    assert gguf_origin(write_gguf(path, blocks=blocks, embedding=embedding, words=64, rows=4096)) == expected


@pytest.mark.parametrize("share", [0.01, *(each / 20 for each in range(1, 20)), 0.999])
def test_a_file_that_is_cut_short_is_named(path, share):
    content = write_gguf(path).read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(IntegrityError, match=r"model\.gguf is cut short"):
        models.pretrained(root=str(path))


@pytest.mark.parametrize(("number", "kind"), [(99, "number 99"), (9, "Q8_1")])
def test_a_tensor_of_a_type_that_nothing_here_reads_is_named(path, number, kind):
    change_type(write_gguf(path), "blk.1.attn_k.weight", number)
    with pytest.raises(ConfigError, match=rf"blk\.1\.attn_k\.weight has the type {kind}"):
        models.pretrained(root=str(path))


@pytest.mark.parametrize("family", ["bert", "t5", "quokka"])
def test_a_family_that_is_not_run_here_is_named(path, family):
    with pytest.raises(ConfigError, match=rf"(?s)model\.gguf.*{family}"):
        models.pretrained(root=str(write_gguf(path, family=family)))


@pytest.mark.parametrize("head", [8, 16])
def test_a_head_is_as_wide_as_the_file_says(path, head):
    model = models.pretrained(root=str(write_gguf(path, family="qwen3", head=head)))
    assert model.config["head_dim"] == head  # transformers takes 128
    assert model(torch.tensor([[3, 4]])).shape == (1, 2, 64)


def test_a_file_whose_shapes_are_others_than_it_says_is_refused(path):
    with pytest.raises(IntegrityError, match=r"k_norm.weight has the shape \[8\], and .* asks for \[128\]"):
        models.pretrained(root=str(write_gguf(path, family="qwen3")))


def test_a_file_without_tensors_it_needs_is_named(path):
    content = write_gguf(path).read_bytes()
    path.write_bytes(content.replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_op.weight"))
    with pytest.raises(IntegrityError, match=r"lacks the weights .*layers\.1\.mlp\.up_proj"):
        models.pretrained(root=str(path))


@pytest.mark.parametrize("add_bos", [True, False])
def test_the_tokenizer_begins_a_text_as_the_file_says(path, add_bos):
    tokenizer = models.pretrained_tokenizer(str(write_gguf(path, add_bos=add_bos)))
    assert models.leading_tokens(tokenizer) == ((1,) if add_bos else ())

import gzip
import json

import pytest
import torch

from overwinter import data
from overwinter.data.text_files import check_text, find_texts
from overwinter.errors import ConfigError, IntegrityError
from overwinter.tasks import IGNORED, LanguageModeling
from tests.support.decoders import decoder

tokenizers = pytest.importorskip("tokenizers", reason="the extra llm is not installed")
transformers = pytest.importorskip("transformers", reason="the extra llm is not installed")

SHARES = {"length": 4, "split_seed": 0, "validation_share": 0.25, "test_share": 0.25, "windows": {}}


def save_words(folder, *, begins=False):
    """Save a tokenizer of 200 words; it may begin every text with the token 202, as Gemma's does with ``<bos>``."""
    vocabulary = {"<end>": 0, "<unk>": 1} | {f"w{number}": number + 2 for number in range(200)} | {"<bos>": 202}
    words = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="<unk>"))
    words.pre_tokenizer = tokenizers.pre_tokenizers.WhitespaceSplit()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=words, bos_token="<bos>", eos_token="<end>", add_bos_token=begins
    ).save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return save_words(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def beginning(tmp_path_factory):
    return save_words(tmp_path_factory.mktemp("beginning"), begins=True)


@pytest.fixture
def texts(tmp_path):
    folder = tmp_path / "texts"
    folder.mkdir()
    for number in range(8):
        (folder / f"{number}.txt").write_text(" ".join(f"w{20 * number + word}" for word in range(20)))
    return folder


def made(tokenizer, **changes):
    return data.Text(**{**SHARES, "tokenizer": tokenizer, **changes})


def test_labels_are_the_tokens_that_follow(texts, tokenizer):
    windows = made(tokenizer, root=str(texts)).split("train")
    inputs, labels = data.Split(windows).whole()
    assert inputs.shape == labels.shape == (20, 4)  # 4 documents of 20 words and an end, and the last token has no next
    assert inputs.dtype == torch.int64
    assert torch.equal(inputs[:, 1:], labels[:, :-1])
    assert torch.equal(windows[3][1], labels[3])


def test_windows_begin_as_the_server_lets_a_text_begin(texts, tokenizer, beginning):
    source = made(beginning, root=str(texts))
    inputs, targets = data.Split(source.split("train")).whole()
    served = tokenizers.Tokenizer.from_file(f"{beginning}/tokenizer.json").encode("w0 w1", add_special_tokens=True)
    assert list(source.leading_tokens) == served.ids[:1] == [202]
    assert inputs.shape == targets.shape == (27, 4)  # 84 tokens, 3 in a window, and the last has no next
    assert inputs[:, 0].eq(202).all()
    assert not inputs[:, 1:].eq(202).any()
    assert targets[:, 0].eq(IGNORED).all()
    assert torch.equal(inputs[:, 2:], targets[:, 1:-1])
    without = made(tokenizer, root=str(texts))
    assert without.leading_tokens == ()
    assert not without.split("train").targets.eq(IGNORED).any()


def test_perplexity_is_of_the_tokens_that_follow_text(texts, beginning):
    torch.manual_seed(0)
    model = decoder("llama", vocab_size=203)
    inputs, targets = data.Split(made(beginning, root=str(texts)).split("test")).whole()
    task = LanguageModeling(())
    with torch.no_grad():
        outputs = model(inputs)
    found = task.measure(task.rows(outputs.numpy(), task.read_targets(targets.numpy())))["perplexity"]
    counted = outputs[:, 1:].log_softmax(-1).gather(2, targets[:, 1:, None])
    assert found == pytest.approx(float(counted.mean().neg().exp()), rel=1e-5)


def test_a_tokenizer_with_more_tokens_than_the_embedding_has_rows_is_refused(texts, tokenizer):
    source = data.Data(made(tokenizer, root=str(texts)))
    data.check_vocabulary(source, decoder("llama", vocab_size=203))
    with pytest.raises(ConfigError, match=r"tokens up to 202, and the model's embedding has 202 rows, from 0 to 201"):
        data.check_vocabulary(source, decoder("llama", vocab_size=202))


def test_what_is_longer_than_the_models_context_is_refused(texts, tokenizer):
    model = decoder("llama", vocab_size=203, max_position_embeddings=12)
    shape = {"prompt_tokens": 6, "written_tokens": 6}
    data.check_context(data.Data(made(tokenizer, root=str(texts), length=12)), model, **shape)
    with pytest.raises(ConfigError, match=r"context is 12 tokens, and windows have 13\. Set data\.length"):
        data.check_context(data.Data(made(tokenizer, root=str(texts), length=13)), model, **shape)
    shape["written_tokens"] = 7
    with pytest.raises(ConfigError, match=r"evaluate\.prompt_tokens \+ evaluate\.written_tokens = 13"):
        data.check_context(data.Data(made(tokenizer, root=str(texts), length=12)), model, **shape)


def test_a_token_that_was_added_and_that_no_text_is_made_of_needs_no_row(texts, tokenizer, tmp_path):
    padded = transformers.AutoTokenizer.from_pretrained(tokenizer)
    padded.add_special_tokens({"pad_token": "<pad>"})
    padded.save_pretrained(tmp_path / "padded")
    assert len(padded) == 204
    source = data.Data(made(str(tmp_path / "padded"), root=str(texts)))
    data.check_vocabulary(source, decoder("llama", vocab_size=203))


def test_windows_without_room_for_text_are_refused(texts, beginning):
    with pytest.raises(ConfigError, match=r"data\.length=1 leaves no room"):
        made(beginning, root=str(texts), length=1).split("train")


def test_copies_of_a_document_are_one_document(texts, tokenizer):
    """Else a text that is scored is among those that calibrate, under another name."""
    for number in range(8):
        (texts / f"copy{number}.txt").write_text((texts / f"{number}.txt").read_text() + "\n")
    source = made(tokenizer, root=str(texts))
    seen = [set(source.split(name).inputs.flatten().tolist()) - {0} for name in ("train", "validation", "test")]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]
    assert sum(map(len, seen)) <= 160


def test_no_document_is_in_two_splits(texts, tokenizer):
    source = made(tokenizer, root=str(texts))
    seen = [set(source.split(name).inputs.flatten().tolist()) - {0} for name in ("train", "validation", "test")]
    assert not seen[0] & seen[1]
    assert not (seen[0] | seen[1]) & seen[2]


def test_the_same_seed_gives_the_same_windows(texts, tokenizer):
    first, again = (made(tokenizer, root=str(texts), windows={"test": 3}).split("test") for _ in range(2))
    assert len(first) == 3
    assert torch.equal(first.inputs, again.inputs)


def test_patterns_folders_and_other_file_systems(texts):
    fsspec = pytest.importorskip("fsspec")
    with fsspec.open("memory://corpus/a.txt", "wt") as stream:
        stream.write("w1 w2")
    assert len(find_texts([f"{texts}/[0-3].txt", f"{texts}/0.txt"])) == 4
    assert len(find_texts([str(texts)])) == 8
    assert find_texts(["memory://corpus/*.txt"]) == ["memory:///corpus/a.txt"]


def test_lines_of_json_and_separators_make_documents(tmp_path, tokenizer):
    lines = tmp_path / "lines.jsonl"
    lines.write_text("".join(json.dumps({"text": f"w{number} w2 w3 w4 w5 w6"}) + "\n" for number in range(4)))
    parts = tmp_path / "parts.txt"
    parts.write_text("----".join(f"w{number} w2 w3 w4 w5 w6" for number in range(4)))
    assert len(made(tokenizer, paths=[str(lines)]).split("test")) == 1
    assert len(made(tokenizer, paths=[str(parts)], separator="----").split("test")) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"paths": ["none/*.txt"]}, "no file at"),
        ({"length": 1000}, r"data\.length=1000"),
        ({"windows": {"trian": 3}}, "trian.*unknown"),
        ({"validation_share": 0.5, "test_share": 0.5}, "leave none"),
        ({"paths": ["0.txt"]}, "1 documents"),
    ],
)
def test_what_cannot_be_had_is_named(texts, tokenizer, changes, message):
    with pytest.raises(ConfigError, match=message):
        made(tokenizer, root=str(texts), **changes).split("train")


def test_other_content_than_the_digest_names_is_refused(texts, tokenizer):
    digest = made(tokenizer, root=str(texts)).sha256
    made(tokenizer, root=str(texts), sha256=digest)
    (texts / "0.txt").write_text("w1")
    with pytest.raises(IntegrityError, match=r"data\.sha256"):
        made(tokenizer, root=str(texts), sha256=digest)


def test_the_check_finds_a_missing_tokenizer_first(texts, tmp_path):
    with pytest.raises(ConfigError, match=r"data\.tokenizer"):
        check_text({**SHARES, "root": str(texts), "tokenizer": str(tmp_path / "none")})


def test_a_compressed_file_that_is_cut_short_is_named(tmp_path, tokenizer):
    (tmp_path / "cut.txt.gz").write_bytes(gzip.compress(b"words " * 100)[:20])
    with pytest.raises(ConfigError, match=r"cut\.txt\.gz' cannot be read: EOFError: Compressed file ended"):
        made(tokenizer, paths=[str(tmp_path / "cut.txt.gz")])


def test_a_file_that_is_no_text_is_named(texts, tokenizer):
    (texts / "0.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match=r"0\.txt is not UTF-8"):
        made(tokenizer, root=str(texts))

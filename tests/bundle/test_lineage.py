import subprocess

import pytest
import torch

from overwinter.bundle import code_version, data_digest
from overwinter.data import Data, InMemory


class Source:
    def __init__(self, splits):
        self.labels, self.preprocessing, self._splits = ("a", "b"), {}, splits

    def split(self, name):
        return self._splits[name]


def splits(change=0.0, in_memory=True):
    inputs, labels = torch.arange(12, dtype=torch.float32).reshape(4, 3), torch.tensor([0, 1, 1, 0])
    inputs[3, 2] += change
    if in_memory:
        return {"train": InMemory(inputs[:2], labels[:2]), "validation": InMemory(inputs[2:], labels[2:])}
    pairs = [(each, int(label)) for each, label in zip(inputs, labels, strict=True)]
    return {"train": pairs[:2], "validation": pairs[2:]}


@pytest.mark.parametrize("in_memory", [True, False])
def test_the_digest_is_of_every_sample_but_the_tests(in_memory):
    digest = data_digest(Data(Source(splits(in_memory=in_memory))))  # which has no split test to ask for
    assert digest == data_digest(Data(Source(splits(in_memory=in_memory))))
    assert digest != data_digest(Data(Source(splits(change=1.0, in_memory=in_memory))))
    assert len(digest) == 64


def test_a_source_that_knows_its_digest_is_not_read():
    source = Source({})
    source.sha256 = "abc"
    assert data_digest(Data(source)) == "abc"


def test_the_commit_and_what_was_changed_since(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    code = tmp_path / "stages"
    code.mkdir()
    (code / "train.py").write_text("pass\n")
    assert code_version([code]) == {}  # no repository

    def git(*words):
        options = ["-c", "user.name=x", "-c", "user.email=x@example.com", "-c", "init.defaultBranch=main"]
        subprocess.run(["git", *options, *words], check=True, capture_output=True)

    git("init")
    assert code_version([code]) == {}  # no commit
    git("add", ".")
    git("commit", "-m", "first")
    (tmp_path / "dvc.lock").write_text("not code\n")
    found = code_version([code])
    assert len(found["commit"]) == 40
    assert found["code_changed_since"] is False
    (code / "train.py").write_text("raise SystemExit\n")
    assert code_version([code]) == found | {"code_changed_since": True}

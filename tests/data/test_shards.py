"""Sharded data sets: one file after the other, while they are used."""

import gzip
import json

import fsspec
import pytest
import torch

from overwinter.data import Shards
from overwinter.data.fetching import stream
from overwinter.errors import ConfigError


def read(lines):
    for line in lines:
        sample = json.loads(line)
        yield torch.tensor(sample["x"]), sample["y"]


@pytest.fixture
def memory():
    files = fsspec.filesystem("memory")
    files.store.clear()
    for shard in range(3):
        lines = "".join(json.dumps({"x": [float(shard), row], "y": row}) + "\n" for row in range(4))
        files.pipe(f"/shards/{shard}.jsonl.gz", gzip.compress(lines.encode()))
    return files


def test_samples_come_in_the_order_of_the_files_in_every_epoch(memory):
    shards = Shards(["memory://shards"], read)
    for _ in range(2):
        assert [(x[0].item(), y) for x, y in shards] == [(shard, row) for shard in range(3) for row in range(4)]


def test_only_the_files_that_are_used_are_read(memory):
    shards = Shards(["memory://shards/*.gz"], read)
    memory.rm("/shards/2.jsonl.gz")
    samples = iter(shards)
    assert len([next(samples) for _ in range(8)]) == 8
    with pytest.raises(ConfigError, match=r"2\.jsonl\.gz' does not exist"):
        next(samples)


def test_a_mistake_in_reading_a_file_names_it(memory):
    memory.pipe("/shards/1.jsonl.gz", gzip.compress(b"{}\n"))
    with pytest.raises(ConfigError, match=r"1\.jsonl\.gz' cannot be read: KeyError: 'x'"):
        list(Shards(["memory://shards"], read))


def test_no_file_is_a_mistake(memory):
    with pytest.raises(ConfigError, match="no file at memory://shards/none"):
        Shards(["memory://shards/none*"], read)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_split_reads_them_in_batches(tmp_path, workers):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"x": [1.0], "y": row}) + "\n" for row in range(5)))

    def collate(samples):
        return torch.stack([x for x, _ in samples]), torch.tensor([y for _, y in samples])

    batches = list(stream(Shards([str(tmp_path)], read), 2, collate, workers=workers, limit=None))
    assert [targets.tolist() for _, targets in batches] == [[0, 1], [2, 3], [4]]

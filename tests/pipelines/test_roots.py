"""The data of the cases in pipelines/, read from an address as from this machine."""

import gzip
import hashlib
import importlib.util
import json
from pathlib import Path

import fsspec
import numpy as np
import pytest
import torch

CASES = Path(__file__).parents[2] / "pipelines"
SIZES = [round(0.3 + number / 100, 2) for number in range(40)]
GRADES = [("Ideal", "E", "SI2"), ("Fair", "D", "SI1")]
DIAMONDS = "carat,cut,color,clarity,depth,table,price,x,y,z\n" + "".join(
    f"{size},{','.join(GRADES[at % 2])},{60 + size},{55 + size},{300 + at},{size},{size + 1},{size + 2}\n"
    for at, size in enumerate(SIZES)
)
WEEKS = "date,co2\n" + "".join(
    f"{year}{month:02}01,{315 + year % 7}\n" for year in range(1985, 1997) for month in (1, 7)
)
PLAY = "\n## SCENE 1\nA first word and many more.\n## SCENE 2\nA second word.\n## SCENE 3\nA third word, the last.\n"


@pytest.fixture
def memory(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    files = fsspec.filesystem("memory")
    files.store.clear()
    return files


def load(case, name):
    """Return a module of a case, which is no package."""
    spec = importlib.util.spec_from_file_location(name, CASES / case / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def places(memory, tmp_path, files):
    """Put files at two addresses, and return both and a path."""
    for name, content in files.items():
        memory.pipe(f"/set/{name}", content)
        (tmp_path / "set").mkdir(exist_ok=True)
        (tmp_path / "set" / name).write_bytes(content)
    return "memory://set", f"file://{tmp_path}/set", str(tmp_path / "set")


def test_diamonds(memory, tmp_path):
    table = DIAMONDS.encode()
    shares = {"split_seed": 0, "validation_share": 0.2, "test_share": 0.2}
    made = [
        load("tabular", "diamonds").Diamonds(
            root=f"{root}/diamonds.csv", sha256=hashlib.sha256(table).hexdigest(), **shares
        )
        for root in places(memory, tmp_path, {"diamonds.csv": table})
    ]
    assert all(torch.equal(each.split("train").inputs, made[-1].split("train").inputs) for each in made)


def test_weeks_of_carbon_dioxide(memory, tmp_path):
    table = WEEKS.encode()
    numbers = {"past_weeks": 4, "next_weeks": 2, "validation_from": 1992, "test_from": 1994}
    made = [
        load("forecast", "mauna_loa").MaunaLoa(
            root=f"{root}/co2.csv", sha256=hashlib.sha256(table).hexdigest(), **numbers
        )
        for root in places(memory, tmp_path, {"co2.csv": table})
    ]
    assert all(torch.equal(each.split("train").inputs, made[-1].split("train").inputs) for each in made)


def test_clothes(memory, tmp_path):
    made = [
        load("segmentation", "composed").Clothes(
            root=root,
            split_seed=0,
            validation_items=5,
            pictures=dict.fromkeys(("train", "validation", "test"), 3),
            side=32,
        )
        for root in places(memory, tmp_path, dict(fashion()))
    ]
    assert all(torch.equal(each.split("train").inputs, made[-1].split("train").inputs) for each in made)


def fashion():
    for kind, count in (("train", 20), ("t10k", 10)):
        for name, values in (
            ("labels-idx1", np.arange(count, dtype=np.uint8) % 10),
            ("images-idx3", np.arange(count * 784).reshape(count, 28, 28).astype(np.uint8)),
        ):
            sizes = b"".join(size.to_bytes(4, "big") for size in values.shape)
            content = bytes([0, 0, 8, values.ndim]) + sizes + values.tobytes()
            yield f"{kind}-{name}-ubyte.gz", gzip.compress(content, mtime=0)


def test_plays_and_the_tokenizer(memory, tmp_path):
    words = ["[UNK]", *sorted(set(PLAY.replace(".", " .").replace(",", " ,").split()))]
    model = {"type": "WordLevel", "vocab": {word: at for at, word in enumerate(words)}, "unk_token": "[UNK]"}
    tokenizer = json.dumps({"version": "1.0", "pre_tokenizer": {"type": "Whitespace"}, "model": model})
    files = {"hamlet.md": PLAY.encode(), "lear.md": PLAY.encode(), "tokenizer.json": tokenizer.encode()}
    made = [
        load("text", "plays").Plays(
            root=root,
            tokenizer=root,
            tokens=5,
            split_seed=0,
            validation_share=0.3,
            test_share=0.3,
            passages=dict.fromkeys(("train", "validation", "test")),
        )
        for root in places(memory, tmp_path, files)
    ]
    assert made[0].labels == ("hamlet", "lear")
    samples = [[each.split("train")[at] for at in range(len(each.split("train")))] for each in made]
    assert samples[0]
    assert all(each == samples[-1] for each in samples)

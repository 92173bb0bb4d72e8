"""Data: sources of samples, their splits, and batches for the training loop.

- `DataSource` is the protocol; `load_data` creates the one that ``data._target_`` names, as `Data`. `Data.use` gives it
  the task that reads its targets, and `check_splits`, `check_vocabulary` and `check_context` check it before
  any work is done.
- `Split` is one split as every stage reads it: in batches, or samples drawn from all of it. It holds a few batches.
- `Digits` (in scikit-learn's wheel) and `FashionMnist` (IDX files) are built in, on `InMemory` data sets.
- `Text` cuts documents into windows of tokens for a language model (``data=text``).
- `Batches` feeds the training loop, in an order that depends only on the seed and the epoch; `RandomShift` and
  `RandomFlip` augment whole batches while training.

Your own data is any class with three members::

    class Data:
        labels = ["cat", "dog"]                        # what each class or output is called
        preprocessing = {"mean": 0.5, "std": 0.25}     # JSON: how raw input became model input; the bundle has it

        def __init__(self, root: str) -> None: ...     # the other keys of `data` are its arguments

        def split(self, name: str) -> torch.utils.data.Dataset:   # "train", "validation" or "test"
            ...                                        # map-style or iterable, of samples (input, target)

A sample may be a mapping too, with its target under ``label``, ``labels``, ``target`` or ``targets``; an input is a
tensor, an array, or several of them by name or in a tuple (see `overwinter.data.samples`). What a target is, `task`
says. Three more members are optional: ``collate``, a function of a list of samples that returns inputs and targets;
``pad``, the value that fills up what is shorter than the longest sample of a batch, or one by an input's name; and
``workers``, how many processes read ahead (one, of an iterable data set).

Name the class with ``data._target_=my_package.Data`` and ``trusted_targets=[my_package]``. ``data.root`` is
reserved for the file or folder it reads, a DVC dependency, and ``data.share`` for the share of ``train`` to use. It may
be at any fsspec address, such as ``s3://bucket/folder``: `data_path` gives a verified local copy, and `Shards` reads
many files while they are used. Only
the stage `evaluate` measures on ``test``; before training, `check_splits` looks at it. ``examples/own_model`` is a
complete example.

`preprocessing` may also be an object, `Normalize`, `Image` or `TokenizedText`: the data sets then give raw samples, and
the same object prepares them here and in the server (`overwinter.data.preprocessing`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.data.augmentation import RandomFlip, RandomShift
    from overwinter.data.batches import Batches
    from overwinter.data.checking import check_context, check_splits, check_vocabulary
    from overwinter.data.digits import Digits
    from overwinter.data.fashion import FashionMnist
    from overwinter.data.fingerprints import raw_bytes
    from overwinter.data.in_memory import InMemory
    from overwinter.data.local_files import data_path
    from overwinter.data.preprocessing import (
        Image,
        Normalize,
        Preprocessing,
        TokenizedText,
        as_json,
        check_preprocessing,
        read_preprocessing,
    )
    from overwinter.data.protocol import DataSource, Transform
    from overwinter.data.shards import Shards
    from overwinter.data.source import Data, load_data
    from overwinter.data.split import Split
    from overwinter.data.text import Text

__all__ = [
    "Batches",
    "Data",
    "DataSource",
    "Digits",
    "FashionMnist",
    "Image",
    "InMemory",
    "Normalize",
    "Preprocessing",
    "RandomFlip",
    "RandomShift",
    "Shards",
    "Split",
    "Text",
    "TokenizedText",
    "Transform",
    "as_json",
    "check_context",
    "check_preprocessing",
    "check_splits",
    "check_vocabulary",
    "data_path",
    "load_data",
    "raw_bytes",
    "read_preprocessing",
]

# Loaded on first use: a worker needs few of them, and the supervisor of a server none.
_HOMES = {
    "Batches": "batches",
    "Data": "source",
    "DataSource": "protocol",
    "Digits": "digits",
    "FashionMnist": "fashion",
    "Image": "preprocessing",
    "Normalize": "preprocessing",
    "Preprocessing": "preprocessing",
    "TokenizedText": "preprocessing",
    "InMemory": "in_memory",
    "RandomFlip": "augmentation",
    "RandomShift": "augmentation",
    "Shards": "shards",
    "Split": "split",
    "Text": "text",
    "Transform": "protocol",
    "as_json": "preprocessing",
    "check_preprocessing": "preprocessing",
    "check_splits": "checking",
    "check_context": "checking",
    "check_vocabulary": "checking",
    "data_path": "local_files",
    "load_data": "source",
    "raw_bytes": "fingerprints",
    "read_preprocessing": "preprocessing",
}

__getattr__ = lazily(__name__, _HOMES)

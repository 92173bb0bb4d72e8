"""Data: sources of samples, their splits, and batches for the training loop.

- `DataSource` is the protocol; `load_data` creates the one that ``data._target_`` names, `check_splits` checks it.
- `Digits` (in scikit-learn's wheel) and `FashionMnist` (IDX files) are built in, on `InMemory` splits.
- `Text` cuts documents into `Windows` of tokens for a language model (``data=text``).
- `tensors` converts any split to two tensors; `spread_inputs` draws samples from all of it.
- `Batches` feeds the training loop, in an order that depends only on the seed and the epoch; `RandomShift` and
  `RandomFlip` augment whole batches while training.

Your own data is any class with three members::

    class Data:
        labels = ["cat", "dog"]                        # what each class is called
        preprocessing = {"mean": 0.5, "std": 0.25}     # JSON: how raw input became model input; the bundle has it

        def __init__(self, root: str) -> None: ...     # the other keys of `data` are its arguments

        def split(self, name: str) -> torch.utils.data.Dataset:   # "train", "validation" or "test"
            ...                                        # len() and [index] -> (float array, number of a class)

Name it with ``data._target_=my_package.Data`` and ``trusted_targets=[my_package]``. ``data.root`` is
reserved for the file or folder it reads, a DVC dependency. Only the stage `evaluate` reads ``test``; before training,
`check_splits` checks its first sample. ``examples/own_model`` is a complete example.

`prepare` applies the preprocessing that a bundle records to raw inputs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from overwinter.lazy_imports import lazily

if TYPE_CHECKING:
    from overwinter.data.augmentation import RandomFlip, RandomShift
    from overwinter.data.batches import Batches
    from overwinter.data.digits import Digits
    from overwinter.data.fashion import FashionMnist
    from overwinter.data.in_memory import InMemory, spread_inputs, tensors
    from overwinter.data.preprocessing import as_json, check_preprocessing, prepare
    from overwinter.data.protocol import DataSource, Transform
    from overwinter.data.samples import as_sample
    from overwinter.data.source import check_splits, class_names, load_data
    from overwinter.data.text import Text, Windows

__all__ = [
    "Batches",
    "DataSource",
    "Digits",
    "FashionMnist",
    "InMemory",
    "RandomFlip",
    "RandomShift",
    "Text",
    "Transform",
    "Windows",
    "as_json",
    "as_sample",
    "check_preprocessing",
    "check_splits",
    "class_names",
    "load_data",
    "prepare",
    "spread_inputs",
    "tensors",
]

# Loaded on first use: a worker needs few of them, and the supervisor of a server none.
_HOMES = {
    "Batches": "batches",
    "DataSource": "protocol",
    "Digits": "digits",
    "FashionMnist": "fashion",
    "InMemory": "in_memory",
    "RandomFlip": "augmentation",
    "RandomShift": "augmentation",
    "Text": "text",
    "Transform": "protocol",
    "Windows": "text",
    "as_json": "preprocessing",
    "as_sample": "samples",
    "check_preprocessing": "preprocessing",
    "check_splits": "source",
    "class_names": "source",
    "load_data": "source",
    "prepare": "preprocessing",
    "spread_inputs": "in_memory",
    "tensors": "in_memory",
}

__getattr__ = lazily(__name__, _HOMES)

"""Data: where samples come from, how they are split, and how the training loop receives them.

- `DataSource` is the protocol; `load_data` makes the one that ``data._target_`` names, `check_splits` looks at it.
- `Digits` (in scikit-learn's wheel) and `FashionMnist` (IDX files) are built in, on `InMemory` splits.
- `Text` cuts documents into `Windows` of tokens for a language model (``data=text``).
- `tensors` turns any split into two tensors; `Batches` feeds the training loop, in an order that depends on
  nothing but the seed and the epoch; `RandomShift` and `RandomFlip` augment whole batches while training.

Your own data is any class with three members::

    class Data:
        labels = ["cat", "dog"]                        # what each class is called
        preprocessing = {"mean": 0.5, "std": 0.25}     # JSON: how raw input became model input; the bundle has it

        def __init__(self, root: str) -> None: ...     # the other keys of `data` are its arguments

        def split(self, name: str) -> torch.utils.data.Dataset:   # "train", "validation" or "test"
            ...                                        # len() and [index] -> (float tensor, int label)

Name it with ``data._target_=my_package.Data`` and ``trusted_targets=[my_package]``. ``data.root`` is
reserved for the file or folder it reads, which DVC then watches. ``test`` is answered in the stage `evaluate` only;
before training, `check_splits` looks at its first sample. ``examples/own_model`` is a complete one.
"""

from overwinter.data.augmentation import RandomFlip, RandomShift
from overwinter.data.batches import Batches
from overwinter.data.digits import Digits
from overwinter.data.fashion import FashionMnist
from overwinter.data.in_memory import InMemory, tensors
from overwinter.data.protocol import DataSource, Transform
from overwinter.data.source import check_splits, load_data
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
    "check_splits",
    "load_data",
    "tensors",
]

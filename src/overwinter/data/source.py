"""Creating the data source that the configuration names, and reading its splits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.config import instantiate
from overwinter.config.targets import DATA
from overwinter.data.collation import Collation
from overwinter.data.preprocessing import Preprocessing
from overwinter.data.protocol import DataSource
from overwinter.data.share import SHARE, read_share, share_of
from overwinter.data.split import Split
from overwinter.errors import ConfigError
from overwinter.tasks import Task


class Data:
    """A data source as every stage reads it: its splits in batches, with targets that the task read.

    Args:
        source: gives labels, preprocessing and data sets; it may have `collate`, `pad`, `workers`, `sha256`
            and `leading_tokens`.
        task: reads targets; None: they stay as they are.
        share: of the split ``train`` to use, above 0 and at most 1.

    Attributes:
        source: as given.
        labels: what each class or output is called; may be empty.
        task: as given.

    Raises:
        ConfigError: the labels have no order, or an attribute is of another type.
    """

    def __init__(self, source: DataSource, task: Task | None = None, *, share: float = 1.0) -> None:
        self.source, self.task, self._share = source, task, share
        self.labels = class_names(source)
        self._collate, self._pad, self._workers = _own_collate(source), _own_pad(source), _own_workers(source)

    @property
    def preprocessing(self) -> Mapping[str, Any] | Preprocessing:
        """Conversion of raw input to model input, as the source declares it."""
        return self.source.preprocessing

    @property
    def prepares(self) -> Preprocessing | None:
        """The preprocessing, if it is an object: the source gives raw samples, which are prepared here."""
        declared = self.preprocessing
        return declared if isinstance(declared, Preprocessing) else None

    @property
    def sha256(self) -> str | None:
        """Digest of its files, if the source knows it."""
        known = getattr(self.source, "sha256", None)
        return None if known is None else str(known)

    @property
    def leading_tokens(self) -> tuple[int, ...]:
        """Tokens that every window of a text begins with, if the source knows any."""
        return tuple(getattr(self.source, "leading_tokens", ()))

    @property
    def one_shape(self) -> bool:
        """Whether all inputs must have one shape, since nothing pads or resizes them."""
        return self._pad is None and self._collate is None and self.prepares is None

    def use(self, task: Task) -> Data:
        """Return the data with targets that ``task`` reads."""
        return Data(self.source, task, share=self._share)

    def split(self, name: str) -> Split:
        """Return ``train``, ``validation`` or ``test``."""
        collation = Collation(
            own=self._collate, pad=self._pad, task=self.task, prepares=self.prepares, where=f"data: the split {name}"
        )
        dataset = share_of(self.source.split(name), self._share) if name == "train" else self.source.split(name)
        return Split(dataset, name=name, collation=collation, workers=self._workers)


def load_data(config_data: Mapping[str, Any], *, trusted: Sequence[str]) -> Data:
    """Create the data source that ``_target_`` names, with the other keys but ``share`` as its arguments.

    Args:
        config_data: for example ``{"_target_": "overwinter.data.Digits", "split_seed": 0, ...}``.
        trusted: packages whose classes ``_target_`` may name, besides overwinter's.

    Raises:
        ConfigError: the target is not trusted, cannot be created, or is not a `DataSource`; its files are missing; or
            ``share`` is out of range.
        IntegrityError: its files are damaged.
    """
    arguments = {key: value for key, value in config_data.items() if key != SHARE}
    source = instantiate(arguments, DATA, _has_splits, trusted=trusted)
    absent = [member for member in ("labels", "preprocessing", "split") if not hasattr(source, member)]
    absent += ["callable split"] if not absent and not callable(source.split) else []
    if absent:
        raise ConfigError(
            f"data._target_={config_data.get('_target_')} has no {', '.join(absent)}. "
            "A data source has labels, preprocessing and split(name); see `pydoc overwinter.data`."
        )
    return Data(source, share=read_share(config_data.get(SHARE, 1.0)))


def _has_splits(found: type) -> bool:
    return hasattr(found, "split")


def class_names(source: DataSource) -> tuple[str, ...]:
    """Return what each class is called.

    Raises:
        ConfigError: the names have no order.
    """
    labels: Any = source.labels
    names = labels.tolist() if hasattr(labels, "tolist") else labels
    if not isinstance(names, Sequence) or isinstance(names, str | bytes):
        raise ConfigError(
            f"data: `labels` is a {type(labels).__name__}. It must be a list of the classes' names, in the order of "
            "their numbers."
        )
    return tuple(name.decode(errors="replace") if isinstance(name, bytes) else str(name) for name in names)


def _own_collate(source: Any) -> Any:
    own = getattr(source, "collate", None)
    if own is not None and isinstance(source.preprocessing, Preprocessing):
        raise ConfigError(
            "data: `collate` makes model inputs, and so does a preprocessing that is an object. Give one of them."
        )
    if own is not None and not callable(own):
        raise ConfigError(f"data: `collate` is a {type(own).__name__}. It must be a function of a list of samples.")
    return own


def _own_pad(source: Any) -> Any:
    pad = getattr(source, "pad", None)
    values = list(pad.values()) if isinstance(pad, Mapping) else [pad]
    if pad is not None and not all(isinstance(value, int | float) for value in values):
        raise ConfigError(f"data: `pad` is {pad!r}. It must be a number, or a mapping from an input's name to one.")
    return pad


def _own_workers(source: Any) -> int:
    workers = getattr(source, "workers", 0)
    if type(workers) is not int or workers < 0:
        raise ConfigError(f"data: `workers` is {workers!r}. It must be a number of processes, from 0.")
    return workers

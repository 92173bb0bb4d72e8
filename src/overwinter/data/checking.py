"""Looking at all splits before any work is done: ``test`` would be missed at the end only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations, islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from overwinter.data.fingerprints import fingerprints, row_fingerprints
from overwinter.data.in_memory import InMemory
from overwinter.data.preprocessing import Normalize, as_json, check_preprocessing, read_preprocessing
from overwinter.data.protocol import SPLITS, Batch
from overwinter.data.samples import as_sample, shapes_of
from overwinter.data.shared_text import Tokens, shared_windows, text_of
from overwinter.data.source import Data
from overwinter.data.split import Split
from overwinter.errors import ConfigError, OverwinterError
from overwinter.inputs import chunks, named, take
from overwinter.models import CausalLanguageModel

_LOOKED_AT = 1024  # samples of a split that is not in memory: each costs what the data set does to make it
_COMPARED = 8192  # samples of a split in memory that are compared with those of other splits
_AT_ONCE = 32
_NAMED = 5  # classes named in a message


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What was seen of a split.

    Attributes:
        shapes: of each input of a sample.
        types: of each input.
        classes: numbers of the classes that occur; None: there are none, or not all samples were seen.
        digests: of the inputs that are compared with other splits (n,).
        some: a batch of the inputs.
        text: windows of tokens among the inputs that are compared (n, length); None: there are none.
        whole: whether these are all.
    """

    shapes: dict[str, tuple[int, ...]]
    types: dict[str, torch.dtype]
    classes: frozenset[int] | None
    digests: NDArray[np.uint64]
    some: Any
    text: Tokens | None
    whole: bool


def check_splits(data: Data) -> tuple[str, ...]:
    """Look at every split, as far as that costs little: `InMemory` ones wholly, of others 1024 samples.

    Returns:
        Lines for the log: splits that share samples, classes that validation or test lack.

    Raises:
        ConfigError: a split cannot be read or is empty, its samples fit into no batch, inputs are NaN or infinite or
            unlike those of ``train``, a target is none of the task's, a class is absent from ``train``, or a bundle
            cannot keep the preprocessing.
        IntegrityError: its files are damaged.
    """
    seen = {name: _look(data, name) for name in SPLITS}
    for name, split in seen.items():
        _check_alike(name, split, seen["train"], data)
    shapes = list(seen["train"].shapes.values())
    check_preprocessing(as_json(data.preprocessing), shapes[0] if len(shapes) == 1 else None)
    _check_undoing(data, seen["train"].some)
    return (*_absent_classes(seen, data), *_shared(seen))


def check_vocabulary(data: Data, model: torch.nn.Module) -> None:
    """Check that a language model has an embedding for every token of the data's tokenizer.

    Raises:
        ConfigError: it has not: tokenizer and model do not belong together.
    """
    known = getattr(data.source, "vocabulary", None)
    if known is None or not isinstance(model, CausalLanguageModel):
        return
    rows = int(model.network.get_input_embeddings().num_embeddings)
    if known > rows:
        raise ConfigError(
            f"The tokenizer knows tokens up to {known - 1}, and the model's embedding has {rows} rows, from 0 to "
            f"{rows - 1}: they do not belong together. Set data.tokenizer to the model's own, or model.root to the "
            "model that was trained with it."
        )


def check_context(data: Data, model: torch.nn.Module, *, prompt_tokens: int | None, written_tokens: int | None) -> None:
    """Check that windows of text, and timed responses, are no longer than a language model's context.

    Args:
        data: of tokens.
        model: any other than a `CausalLanguageModel` passes.
        prompt_tokens: ``evaluate.prompt_tokens``.
        written_tokens: ``evaluate.written_tokens``.

    Raises:
        ConfigError: they are: beyond its context, most models predict nonsense without failing.
    """
    context = model.context_tokens if isinstance(model, CausalLanguageModel) else None
    if context is None:
        return
    longest = max(value.shape[1] for value in named(data.split("train").first(1)[0]).values())
    if longest > context:
        raise ConfigError(
            f"The model's context is {context} tokens, and windows have {longest}. "
            f"Set data.length to at most {context}."
        )
    response = (prompt_tokens or 0) + (written_tokens or 0)
    if prompt_tokens is not None and response > context:
        raise ConfigError(
            f"The model's context is {context} tokens, and "
            f"evaluate.prompt_tokens + evaluate.written_tokens = {response}. Lower one of them."
        )


def _check_undoing(data: Data, inputs: Any) -> None:
    """Refuse a mapping that cannot be what the samples went through: the server would prepare clients' samples so."""
    if data.prepares is not None or not isinstance(inputs, torch.Tensor) or not inputs.is_floating_point():
        return
    declared = read_preprocessing({"input": {"shape": list(inputs.shape[1:])}, **as_json(data.preprocessing)})
    if isinstance(declared, Normalize):
        try:
            declared.undo(inputs.numpy())
        except ConfigError as error:
            raise ConfigError(f"data: {error}") from None


def _look(data: Data, name: str) -> _Seen:
    try:
        split = data.split(name)
        split.refuse_if_empty(split.size)
        return _seen_in_memory(split) if isinstance(split.dataset, InMemory) else _seen_in_part(split)
    except OverwinterError:
        raise
    except Exception as error:
        raise ConfigError(
            f"data: the split {name} cannot be read: {type(error).__name__}: {error}.\n"
            f"A data source needs {', '.join(SPLITS)}; OVERWINTER_DEBUG=1 shows the traceback."
        ) from error


def _seen_in_memory(split: Split) -> _Seen:
    inputs, targets = split.whole()
    for part in chunks(inputs, _COMPARED):
        _check_finite(part, split)
    count = len(targets)
    chosen = np.linspace(0, count - 1, min(count, _COMPARED)).astype(np.int64)
    compared = take(split.dataset.inputs, torch.from_numpy(chosen))
    return _Seen(
        shapes=shapes_of(inputs),
        types=_types(inputs),
        classes=_classes(split, targets),
        digests=row_fingerprints(compared),
        some=take(inputs, slice(_AT_ONCE)),
        text=text_of(compared),
        whole=count <= _COMPARED,
    )


def _seen_in_part(split: Split) -> _Seen:
    digests, targets, inputs = [], [], None
    for samples in _looked_at(split):
        digests.append(fingerprints(as_sample(sample)[0] for sample in samples))
        inputs, found = _checked(split, samples)
        targets.append(found)
    split.refuse_if_empty(len(targets))
    seen = np.concatenate(digests)
    whole = len(seen) < _LOOKED_AT or split.size == len(seen)
    classes = frozenset().union(*(_classes(split, each) or () for each in targets)) if whole else None
    return _Seen(
        shapes=shapes_of(inputs),
        types=_types(inputs),
        classes=classes if targets and _classes(split, targets[0]) is not None else None,
        digests=seen,
        some=inputs,
        text=None,
        whole=whole,
    )


def _looked_at(split: Split) -> Iterator[Sequence[Any]]:
    """Yield some samples at a time: the first of an iterable data set, else some from all of it."""
    if split.is_iterable_only:
        yield from _grouped(split.samples())
        return
    numbers = split.spread_numbers(_LOOKED_AT, 0)
    yield from _grouped(split.dataset[int(number)] for number in numbers)


def _grouped(samples: Iterator[Any]) -> Iterator[Sequence[Any]]:
    samples = islice(samples, _LOOKED_AT)
    while group := list(islice(samples, _AT_ONCE)):
        yield group


def _checked(split: Split, samples: Sequence[Any]) -> Batch:
    inputs, targets = split.collation(samples)
    _check_finite(inputs, split)
    return inputs, targets


def _check_finite(inputs: Any, split: Split) -> None:
    for name, value in named(inputs).items():
        # The sum of finite numbers of 32 bits is finite, and costs a fraction of looking at each.
        if value.is_floating_point() and not value.sum(dtype=torch.float64).isfinite():
            which = f"{name!r} " if isinstance(inputs, dict) else ""
            raise ConfigError(
                f"data: inputs {which}of the split {split.name} hold NaN or infinite values. Fill or drop them."
            )


def _classes(split: Split, targets: torch.Tensor) -> frozenset[int] | None:
    task = split.collation.task
    if task is None or task.class_axis is None or not task.labels:
        return None
    return frozenset(torch.unique(targets).tolist())


def _types(inputs: Any) -> dict[str, torch.dtype]:
    return {name: value.dtype for name, value in named(inputs).items()}


def _check_alike(name: str, split: _Seen, train: _Seen, data: Data) -> None:
    if split.types != train.types:
        raise ConfigError(
            f"data: inputs of the split {name} are {_typed(split)}, those of train {_typed(train)}. "
            "Prepare all splits in the same way."
        )
    for key, shape in split.shapes.items():
        expected = train.shapes[key]
        if shape != expected if data.one_shape else len(shape) != len(expected):
            raise ConfigError(
                f"data: inputs of the split {name} have the shape {list(shape)}, those of train {list(expected)}. "
                "Prepare all splits in the same way."
            )


def _typed(split: _Seen) -> str:
    types = {name: str(kind).removeprefix("torch.") for name, kind in split.types.items()}
    return next(iter(types.values())) if list(types) == ["input"] else ", ".join(f"{n}: {t}" for n, t in types.items())


def _absent_classes(seen: dict[str, _Seen], data: Data) -> Iterator[str]:
    for name, split in seen.items():
        if split.classes is None:
            continue
        absent = [label for number, label in enumerate(data.labels) if number not in split.classes]
        if not absent:
            continue
        found = f"no sample of the split {name} is of the class {_some(absent)}"
        if name == "train":
            raise ConfigError(
                f"data: {found}, so nothing can be learnt of it. Add samples, or take it out of the data's `labels`."
            )
        yield f"data: {found}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(map(repr, names[:_NAMED]))
    return f"{shown} (or of {len(names) - _NAMED} others)" if len(names) > _NAMED else shown


def _shared(seen: dict[str, _Seen]) -> Iterator[str]:
    for (one, first), (other, second) in combinations(seen.items(), 2):
        shared = int(np.isin(second.digests, first.digests).sum())
        part = "" if first.whole and second.whole else ", of those that were compared"
        alike = 0 if first.text is None or second.text is None else shared_windows(first.text, second.text)
        if alike > shared:
            yield (
                f"data: half or more of what {alike} of {len(second.digests)} windows of the split {other} say is in "
                f"{one} too{part}: figures on {other} flatter the model. Take copies of a text out of data.paths"
            )
        elif shared:
            yield (
                f"data: {shared} of {len(second.digests)} inputs of the split {other} are in {one} too{part}: "
                f"figures on {other} flatter the model"
            )

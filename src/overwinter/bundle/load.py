"""Waking a model: verify, load, compare the canary's outputs, and only then serve."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from overwinter.bundle.facts import PAYLOAD, Bundle
from overwinter.bundle.keys import ANYTHING, NO_KEYS, Expected, Keys
from overwinter.bundle.open_model import foreign_code, import_for, not_openable, open_model, refuse_foreign_code
from overwinter.bundle.resolve import resolve_bundle
from overwinter.data import prepare
from overwinter.errors import ConfigError, IntegrityError, OverwinterError, TargetError
from overwinter.runtime import Array, Session, largest_difference, softmax

_STEPS = ("verify", "load", "canary")


@dataclass(frozen=True, kw_only=True)
class Prediction:
    """The predicted class of one sample.

    Attributes:
        label: the most probable class.
        probability: its probability, 0 to 1 (softmax of the logits).
    """

    label: str
    probability: float


class AwakeModel:
    """A woken model: a `Session` with its labels and its preprocessing.

    Attributes:
        bundle: the bundle it was woken from; its payload is released, its extras can still be opened.
        session: the runtime's session; for a language model (`Bundle.tokenizer`), a `LanguageSession`.
        steps_s: duration of each step of the wake: `verify`, `load`, `canary`.
    """

    def __init__(self, bundle: Bundle, session: Session, steps_s: Mapping[str, float]) -> None:
        self.bundle = bundle
        self.session = session
        self.steps_s = steps_s

    def run(self, inputs: Array) -> Array:
        """Return logits (batch, classes) as float32 of model inputs (batch, ...) as float32."""
        return self.session.run(inputs)

    def predict(self, raw: Any) -> list[Prediction]:
        """Return the predictions for raw samples, with the bundle's preprocessing and labels.

        Args:
            raw: one sample or a batch, as nested lists or an array.

        Raises:
            ConfigError: the shape is wrong, or a value is out of range.
        """
        probabilities = softmax(
            self.run(prepare(raw, self.bundle.preprocessing, self.bundle.input_shape))
        )  # (batch, classes)
        return [
            Prediction(label=self.bundle.labels[int(row.argmax())], probability=float(row.max()))
            for row in probabilities
        ]


def wake(
    address: str | Path,
    *,
    keys: Keys = NO_KEYS,
    expected: Expected = ANYTHING,
    threads: int = 1,
    trusted: Sequence[str] = (),
) -> AwakeModel:
    """Wake a bundle.

    Args:
        address: address of the bundle; see `overwinter.bundle.resolve_bundle`.
        keys: keys that verify and open it.
        expected: expected digest and lineage.
        threads: The number of CPU threads that compute one output.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.

    Raises:
        IntegrityError: a byte of the bundle was altered, no trusted key has signed it, it names untrusted code, its
            runtime, device or model configuration is not available here, or a canary output differs.
        ConfigError: a package that it needs is not installed.
    """
    times_s = [time.perf_counter()]
    bundle = resolve_bundle(address, keys=keys, expected=expected, meanwhile=import_for)
    times_s.append(time.perf_counter())
    session = _opened(bundle, threads, trusted)
    times_s.append(time.perf_counter())
    _check_canary(bundle, session)
    bundle.release(PAYLOAD)  # the runtime has loaded it
    times_s.append(time.perf_counter())
    steps = zip(_STEPS, itertools.pairwise(times_s), strict=True)
    return AwakeModel(bundle, session, {name: end_s - begin_s for name, (begin_s, end_s) in steps})


def _opened(bundle: Bundle, threads: int, trusted: Sequence[str]) -> Session:
    refuse_foreign_code(bundle, trusted=trusted)
    language = bundle.tokenizer is not None
    try:
        return open_model(
            bundle.payload, bundle.runtime, threads, language=language, trusted=trusted, device=bundle.device
        )
    except TargetError as error:
        raise foreign_code(bundle, error) from None
    except ConfigError as error:
        if isinstance(error.__context__, ImportError):  # a package is missing: the bundle itself is intact
            raise
        raise not_openable(bundle, error) from None
    except (OverwinterError, ImportError, MemoryError):
        raise
    except Exception as error:
        if type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
            raise
        raise IntegrityError(
            f"{bundle.source} cannot be loaded: {type(error).__name__}: {error}. It is not served.\n"
            "Was it made for another version of its runtime? Make it again with `dvc repro hibernate`."
        ) from error


def _check_canary(bundle: Bundle, session: Session) -> None:
    try:
        outputs = session.run(bundle.canary.inputs)
    except OverwinterError:
        raise
    except Exception as error:  # noqa: BLE001 -- any failure means that this is not the model put to sleep
        raise IntegrityError(f"{bundle.source} cannot run its canary: {error}. It is not served.") from None
    difference = largest_difference(outputs, bundle.canary.outputs)
    if difference > bundle.canary.tolerance:
        raise IntegrityError(
            f"{bundle.source} woke up with other outputs: they differ from the recorded ones by {difference:.2g} of "
            f"the largest logit; the tolerance is {bundle.canary.tolerance:g}. It is not served.\n"
            "Was it made on another kind of CPU, or with another version of its runtime? Make it again with "
            "`dvc repro hibernate`."
        )

"""Waking a model: verify, load, ask the canary, and only then serve."""

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
    """What the model says to one sample.

    Attributes:
        label: the most probable class.
        probability: that the model gives it, 0 to 1 (softmax of the logits).
    """

    label: str
    probability: float


class AwakeModel:
    """A woken model: a `Session` that also knows its labels and its preprocessing.

    Attributes:
        bundle: what it was woken from; its payload is given back, its extras are there to be opened.
        session: the runtime's; of a language model (`Bundle.tokenizer`), a `LanguageSession`.
        steps_s: how long each step of the wake took: `verify`, `load`, `canary`.
    """

    def __init__(self, bundle: Bundle, session: Session, steps_s: Mapping[str, float]) -> None:
        self.bundle = bundle
        self.session = session
        self.steps_s = steps_s

    def run(self, inputs: Array) -> Array:
        """Return logits (batch, classes) as float32 of model inputs (batch, ...) as float32."""
        return self.session.run(inputs)

    def predict(self, raw: Any) -> list[Prediction]:
        """Answer raw samples: preprocessed as the bundle records, labelled as it says.

        Args:
            raw: one sample or a batch, as nested lists or an array.

        Raises:
            ConfigError: a wrong shape, or a value out of range.
        """
        shares = softmax(self.run(prepare(raw, self.bundle.preprocessing, self.bundle.input_shape)))  # (batch, classes)
        return [Prediction(label=self.bundle.labels[int(row.argmax())], probability=float(row.max())) for row in shares]


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
        address: where it is; see `overwinter.bundle.resolve_bundle`.
        keys: who vouches for it, and what opens it.
        expected: what it must be.
        threads: CPU threads that compute one output.
        trusted: packages whose classes the model's ``_target_`` may name, for runtimes that run its code.

    Raises:
        IntegrityError: a byte of the bundle was altered, no trusted key has signed it, it names code that is not
            trusted, its runtime, device or model's configuration is not one here, or an output to the canary differs:
            nothing is served.
        ConfigError: a package that it needs is not installed.
    """
    times_s = [time.perf_counter()]
    bundle = resolve_bundle(address, keys=keys, expected=expected, meanwhile=import_for)
    times_s.append(time.perf_counter())
    session = _opened(bundle, threads, trusted)
    times_s.append(time.perf_counter())
    _ask_canary(bundle, session)
    bundle.release(PAYLOAD)  # the runtime has what it needs
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
        if isinstance(error.__context__, ImportError):  # this installation lacks a package: no fault of the bundle
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


def _ask_canary(bundle: Bundle, session: Session) -> None:
    try:
        outputs = session.run(bundle.canary.inputs)
    except OverwinterError:
        raise
    except Exception as error:  # noqa: BLE001 -- whatever it is, this is not the model put to sleep
        raise IntegrityError(f"{bundle.source} cannot answer its canary: {error}. It is not served.") from None
    difference = largest_difference(outputs, bundle.canary.outputs)
    if difference > bundle.canary.tolerance:
        raise IntegrityError(
            f"{bundle.source} woke up with other answers: they differ from the recorded ones by "
            f"{difference:.2g} of the "
            f"largest logit, allowed are {bundle.canary.tolerance:g}. It is not served.\n"
            "Was it made on another kind of CPU, or with another version of its runtime? Make it again with "
            "`dvc repro hibernate`."
        )

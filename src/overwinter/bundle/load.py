"""Waking a model: verify, load, compare the canary's outputs, and only then serve."""

from __future__ import annotations

import itertools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from overwinter.bundle.facts import PAYLOAD, Bundle
from overwinter.bundle.keys import ANYTHING, NO_KEYS, Expected, Keys
from overwinter.bundle.open_model import foreign_code, import_for, not_openable, open_model, refuse_foreign_code
from overwinter.bundle.resolve import resolve_bundle
from overwinter.bundle.surroundings import difference, open_preprocessing, open_task
from overwinter.errors import ConfigError, IntegrityError, OverwinterError, TargetError
from overwinter.inputs import Array, Inputs
from overwinter.runtime import Session, largest_difference

if TYPE_CHECKING:
    from overwinter.data import Preprocessing
    from overwinter.tasks import Task

_STEPS = ("verify", "load", "canary")


class AwakeModel:
    """A woken model: a `Session` with its preprocessing and its task.

    Attributes:
        bundle: the bundle it was woken from; its payload is released, its extras can still be opened.
        session: the runtime's session; for a language model (`Bundle.generates`), a `LanguageSession`.
        task: turns outputs into responses.
        preprocessing: makes model inputs of raw samples; None if the model takes model inputs only.
        steps_s: duration of each step of the wake: `verify`, `load`, `canary`.
    """

    def __init__(
        self,
        bundle: Bundle,
        session: Session,
        *,
        task: Task,
        preprocessing: Preprocessing | None,
        steps_s: Mapping[str, float],
    ) -> None:
        self.bundle, self.session = bundle, session
        self.task, self.preprocessing = task, preprocessing
        self.steps_s = steps_s

    def run(self, inputs: Inputs) -> Array:
        """Return outputs (n, ...), float32, of model inputs (n, ...), one array or several by name."""
        return self.session.run(inputs)

    def prepare(self, raw: Any) -> Inputs:
        """Return the model inputs of raw samples.

        Args:
            raw: one sample or a batch as nested lists or an array; for images a list of files or arrays, for text a
                list of texts.

        Raises:
            ConfigError: a sample has a wrong shape or value, is no image, ..., or there is no preprocessing.
        """
        if self.preprocessing is None:
            raise ConfigError(
                f"The model has no preprocessing: give its inputs, {'; '.join(map(str, self.bundle.signature.inputs))}."
            )
        return self.preprocessing.prepare(raw)

    def predict(self, raw: Any) -> list[dict[str, Any]]:
        """Return the task's response to each raw sample, as JSON: a class and its probability, a number, a mask, ...

        Args:
            raw: see `prepare`.

        Raises:
            ConfigError: see `prepare`.
        """
        return [self.task.respond(output) for output in self.run(self.prepare(raw))]


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
        trusted: packages whose classes the model's or the task's ``_target_`` may name.

    Raises:
        IntegrityError: a byte of the bundle was altered, no trusted key has signed it, it names untrusted code, its
            runtime, device or model configuration is not available here, or the preprocessing or the model does
            otherwise than recorded.
        ConfigError: a package that it needs is not installed.
    """
    times_s = [time.perf_counter()]
    bundle = resolve_bundle(address, keys=keys, expected=expected, meanwhile=import_for)
    times_s.append(time.perf_counter())
    session = _opened(bundle, threads, trusted)
    times_s.append(time.perf_counter())
    task, preprocessing = _surroundings(bundle, trusted)
    _check_preprocessing(bundle, preprocessing)
    _check_canary(bundle, session)
    bundle.release(PAYLOAD)  # the runtime has loaded it
    times_s.append(time.perf_counter())
    steps = zip(_STEPS, itertools.pairwise(times_s), strict=True)
    steps_s = {name: end_s - begin_s for name, (begin_s, end_s) in steps}
    return AwakeModel(bundle, session, task=task, preprocessing=preprocessing, steps_s=steps_s)


def _opened(bundle: Bundle, threads: int, trusted: Sequence[str]) -> Session:
    refuse_foreign_code(bundle, trusted=trusted)
    try:
        return open_model(
            bundle.payload, bundle.runtime, threads, language=bundle.generates, trusted=trusted, device=bundle.device
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


def _surroundings(bundle: Bundle, trusted: Sequence[str]) -> tuple[Task, Preprocessing | None]:
    try:
        return open_task(bundle, trusted=trusted), open_preprocessing(bundle, bundle.extras)
    except TargetError as error:
        raise foreign_code(bundle, error) from None
    except ConfigError as error:
        if isinstance(error.__context__, ImportError):  # a package is missing: the bundle itself is intact
            raise
        raise IntegrityError(
            f"{bundle.source} cannot be served: {error}\nMake it again with `dvc repro hibernate`."
        ) from None


def _check_preprocessing(bundle: Bundle, preprocessing: Preprocessing | None) -> None:
    """Make model inputs of the canary's raw samples again, and compare them with the recorded ones."""
    if preprocessing is None or bundle.canary.raw is None:
        return
    try:
        wrong = difference(preprocessing.prepare(bundle.canary.raw), bundle.canary.inputs)
    except ConfigError as error:
        if isinstance(error.__context__, ImportError):
            raise
        wrong = str(error)
    if wrong is not None:
        raise IntegrityError(
            f"{bundle.source} has a preprocessing that is not the one of its recorded samples: {wrong}. It is not "
            "served.\nMake it again with `dvc repro hibernate`."
        )


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
            f"the largest one; the tolerance is {bundle.canary.tolerance:g}. It is not served.\n"
            "Was it made on another kind of CPU, or with another version of its runtime? Make it again with "
            "`dvc repro hibernate`."
        )

"""What is exported: a bundle, or a saved model of a stage."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from overwinter import files
from overwinter.bundle import Bundle, Expected, Keys, resolve_bundle
from overwinter.bundle.facts import TOKENIZER, TOKENIZER_FILE
from overwinter.bundle.keys import ANYTHING, NO_KEYS
from overwinter.bundle.open_model import refuse_foreign_code
from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import Inputs
from overwinter.models import already_verified, load_description
from overwinter.models.description import DESCRIPTION, is_language_model

_VARIANTS = "variants.json"
_SETTINGS = ("tokenizer_config.json", "generation_config.json")  # beside tokenizer.json
_MAKES_IT = "train"  # the stage whose outputs have the tokenizer of all variants
_ABOVE = 3  # folders: outputs/quantize/model/VARIANT


@dataclass(frozen=True, kw_only=True)
class Source:
    """A verified variant.

    Attributes:
        address: as the user named it.
        variant: ``dense``, ``int4_gptq``, ...
        language: whether it is a language model.
        folder: the saved model, or the payload of a bundle.
        runtime: the runtime whose files a payload is; None if ``folder`` is a saved model.
        description: ``model.json``; empty for a payload without one.
        tokenizer: folder with tokenizer.json; None if there is none.
        samples: recorded inputs of the model, from a bundle's canary; None for a saved model.
        trusted: packages whose classes the model's ``_target_`` may name.
    """

    address: str
    variant: str
    language: bool
    folder: Path
    runtime: str | None
    description: Mapping[str, Any]
    tokenizer: Path | None
    samples: Inputs | None
    trusted: tuple[str, ...] = ()
    _bundle: Bundle | None = field(default=None, repr=False, compare=False)  # whose private files would else be gone

    @property
    def config(self) -> Mapping[str, Any]:
        """Configuration of the transformers library; empty for other models, and if a payload does not say it."""
        config: Mapping[str, Any] = self.description.get("model", {}).get("config", {})
        return config


def open_source(
    address: str,
    *,
    keys: Keys = NO_KEYS,
    expected: Expected = ANYTHING,
    tokenizer: Path | None = None,
    trusted: Sequence[str] = (),
) -> Source:
    """Verify and describe what is at an address.

    Args:
        address: folder of a saved model, or a bundle's folder, sealed file or STORE#NAME@WHICH.
        keys: keys that verify and open a bundle.
        expected: expected digest and lineage of a bundle.
        tokenizer: folder with tokenizer.json; None: the bundle's, or the one in the outputs beside the saved model.
        trusted: packages whose classes the model's ``_target_`` may name, besides overwinter's and torch.nn's.

    Raises:
        IntegrityError: it is damaged, not signed, or not the expected one; or the tokenizer is damaged.
        ConfigError: there is nothing of either kind, or a key cannot be read.
        TargetError: a saved model names untrusted code.
    """
    place = Path(address)
    if tokenizer is not None and not (tokenizer / TOKENIZER_FILE).is_file():
        raise ConfigError(
            f"--tokenizer {tokenizer} has no {TOKENIZER_FILE}. Name the folder that the stage train wrote."
        )
    if (place / _VARIANTS).is_file():
        names = sorted(path.parent.name for path in place.glob(f"*/{DESCRIPTION}"))
        raise ConfigError(f"{place} holds {len(names)} variants: {', '.join(names)}. Name one, such as {place}/NAME.")
    if (place / DESCRIPTION).is_file():
        if (keys, expected) != (NO_KEYS, ANYTHING):
            raise ConfigError(f"{place} is a saved model, which has no signature, key or digest. Name a bundle.")
        return _saved_model(address, place, tokenizer, tuple(trusted))
    if not place.exists() and "#" not in address:
        raise ConfigError(
            f"There is no saved model or bundle at {address}. Name its folder, such as outputs/quantize/model/VARIANT, "
            "or a sealed file."
        )
    bundle = resolve_bundle(address, keys=keys, expected=expected)
    refuse_foreign_code(bundle, trusted=trusted)
    return _of_bundle(address, bundle, tokenizer, tuple(trusted))


def _saved_model(address: str, folder: Path, tokenizer: Path | None, trusted: tuple[str, ...]) -> Source:
    from overwinter.config.targets import MODEL, trusted_target  # imports Hydra, which a bundle may not need

    description = load_description(folder)
    trusted_target(description["model"], MODEL, trusted=trusted, functions=False, option="--trust-code {}")
    language = is_language_model(description)
    return Source(
        address=address,
        variant=description["variant"],
        language=language,
        folder=folder,
        runtime=None,
        description=description,
        tokenizer=_readable(tokenizer or _tokenizer_beside(folder)) if language else None,
        samples=None,
        trusted=trusted,
    )


def _of_bundle(address: str, bundle: Bundle, tokenizer: Path | None, trusted: tuple[str, ...]) -> Source:
    described = (bundle.payload / DESCRIPTION).is_file()
    with already_verified(bundle.payload):
        description = load_description(bundle.payload) if described else {}
    return Source(
        address=address,
        variant=bundle.variant,
        language=bundle.generates,
        folder=bundle.payload,
        runtime=None if described else bundle.runtime,
        description=description,
        tokenizer=_readable(tokenizer or bundle.tokenizer) if bundle.generates else None,
        samples=bundle.canary.inputs,
        trusted=trusted,
        _bundle=bundle,
    )


def _tokenizer_beside(folder: Path) -> Path | None:
    found = (above / _MAKES_IT / TOKENIZER for above in folder.resolve().parents[:_ABOVE])
    return next((path for path in found if (path / TOKENIZER_FILE).is_file()), None)


def _readable(tokenizer: Path | None) -> Path | None:
    """Return the folder of a tokenizer after reading its files, which every format would read or copy later.

    Raises:
        IntegrityError: a file is cut short, or no tokenizer.
    """
    if tokenizer is None:
        return None
    remedy = "Copy the tokenizer again, or name another folder: --tokenizer DIR."
    for name in (TOKENIZER_FILE, *_SETTINGS):
        if (tokenizer / name).exists():
            files.read_json(tokenizer / name, remedy=remedy)
    with contextlib.suppress(ImportError):
        from tokenizers import Tokenizer

        try:
            Tokenizer.from_file(str(tokenizer / TOKENIZER_FILE))
        except Exception as error:  # noqa: BLE001 -- it raises no narrower one
            raise IntegrityError(f"{tokenizer / TOKENIZER_FILE} is no tokenizer: {error}. {remedy}") from None
    return tokenizer

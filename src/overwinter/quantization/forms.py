"""The forms that the stage `quantize` left: ``forms.json``, sealed, beside one folder per form."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from overwinter import manifest
from overwinter.errors import IntegrityError

_FORMS = "forms.json"
_REMEDY = "Run `dvc repro quantize`."


def write_forms(folder: Path, forms: Sequence[str]) -> None:
    """Write down which forms are in ``folder``, none included."""
    manifest.write_sealed(folder / _FORMS, {"schema": 1, "forms": list(forms)})


def read_forms(folder: Path) -> dict[str, Path]:
    """Return form -> its folder, in the order they were made.

    Raises:
        IntegrityError: the list is missing or altered, or a form's folder is missing.
    """
    forms = manifest.read_sealed(folder / _FORMS, remedy=_REMEDY).get("forms")
    if not isinstance(forms, list):
        raise IntegrityError(f"{folder / _FORMS} lists no forms. {_REMEDY}")
    folders = {str(form): folder / str(form) for form in forms}
    for form, path in folders.items():
        if not path.is_dir():
            raise IntegrityError(f"{path} is missing, which {_FORMS} lists as the form {form!r}. {_REMEDY}")
    return folders

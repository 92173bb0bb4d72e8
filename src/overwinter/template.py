"""The project template that `overwinter init` copies: configurations, stages, cases and data."""

from __future__ import annotations

from pathlib import Path

from overwinter.errors import OverwinterError


def template_folder() -> Path:
    """Return the folder of the project template: in the wheel, or the checkout itself."""
    package = Path(__file__).resolve().parent
    for candidate in (package / "project", package.parents[1]):  # a wheel, a checkout
        if (candidate / "configs" / "config.yaml").is_file():
            return candidate
    raise OverwinterError(f"The project template is missing near {package}. Reinstall overwinter.")

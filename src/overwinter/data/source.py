"""From the configuration's ``data`` to a data source."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from overwinter.config import instantiate
from overwinter.data.protocol import DataSource
from overwinter.errors import ConfigError


def load_data(config_data: Mapping[str, Any], *, trusted: Sequence[str]) -> DataSource:
    """Make the data source that ``_target_`` names, with the other keys as its arguments.

    Args:
        config_data: for instance ``{"_target_": "overwinter.data.Digits", "split_seed": 0, ...}``.
        trusted: prefixes that ``_target_`` may have beside ``overwinter.`` and ``torch.``.

    Raises:
        ConfigError: the target is not trusted, cannot be made, or is no `DataSource`; or its files are
            missing.
        IntegrityError: its files are damaged.
    """
    source = instantiate(config_data, trusted=trusted)
    absent = [member for member in ("labels", "preprocessing", "split") if not hasattr(source, member)]
    absent += ["callable split"] if not absent and not callable(source.split) else []
    if absent:
        raise ConfigError(
            f"data._target_={config_data.get('_target_')} has no {', '.join(absent)}. "
            "A data source has labels, preprocessing and split(name); see `pydoc overwinter.data`."
        )
    return cast(DataSource, source)

"""A setting of the configuration, declared once: what it is and which values it takes stand beside its type.

The comment at the setting in configs/ is its description (tests/config/test_comments.py). Its unit is in its name.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import MISSING

from overwinter.errors import ConfigError, nearest

_KEY = "overwinter.setting"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What a schema says of one key beyond its type.

    Attributes:
        description: as the comment in configs/ has it.
        at_least: smallest value.
        above: values must be larger.
        at_most: largest value.
        below: values must be smaller.
        choices: allowed texts; empty: any.
    """

    description: str
    at_least: float | None
    above: float | None
    at_most: float | None
    below: float | None
    choices: tuple[str, ...]

    def allows(self, value: float) -> bool:
        """Return whether a number is finite and in range."""
        return (
            math.isfinite(value)
            and (self.at_least is None or value >= self.at_least)
            and (self.above is None or value > self.above)
            and (self.at_most is None or value <= self.at_most)
            and (self.below is None or value < self.below)
        )

    def range(self) -> str:
        """Return the allowed numbers in words."""
        limits = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        return " and ".join(f"{words} {limit}" for words, limit in limits.items() if limit is not None) or "finite"


def setting(
    description: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    choices: Sequence[str] = (),
    default: Any = MISSING,
    default_factory: Callable[[], Any] | None = None,
) -> Any:
    """Return a dataclass field for one key of the configuration.

    A range or a choice holds for the value, for every element of a list and for every value of a mapping; null is
    allowed where the type allows it.

    Args:
        description: one plain sentence, which is also the comment in configs/, and ends error messages.
        at_least: smallest value.
        above: values must be larger.
        at_most: largest value.
        below: values must be smaller.
        choices: allowed texts.
        default: for keys that a configuration may leave out; without it the value comes from configs/.
        default_factory: makes that default; for a nested group, its schema.
    """
    about = Setting(
        description=description, at_least=at_least, above=above, at_most=at_most, below=below, choices=tuple(choices)
    )
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata={_KEY: about})
    return dataclasses.field(default=default, metadata={_KEY: about})


def setting_of(field: dataclasses.Field[Any]) -> Setting | None:
    """Return what the schema says of a field beyond its type."""
    return field.metadata.get(_KEY)


def check_settings(config: Any, *, key: str = "") -> None:
    """Check all values of a typed configuration, and of the groups within, against their schemas.

    Args:
        config: an instance of a schema.
        key: where it stands, such as `serve.limits`; empty for the whole configuration.

    Raises:
        ConfigError: the first value out of range or unknown, with its key, and what is allowed.
    """
    for field in dataclasses.fields(config):
        _check(f"{key}.{field.name}" if key else field.name, getattr(config, field.name), setting_of(field))


def _check(key: str, value: Any, about: Setting | None) -> None:
    if dataclasses.is_dataclass(value):
        check_settings(value, key=key)
    elif isinstance(value, Mapping):
        for name, each in value.items():
            _check(f"{key}.{name}", each, about)
    elif isinstance(value, list):
        for each in value:
            _check(key, each, about)
    elif about is not None:
        _check_value(key, value, about)


def _check_value(key: str, value: Any, about: Setting) -> None:
    if isinstance(value, int | float) and not about.allows(value):
        raise ConfigError(f"{key}={value} must be {about.range()}: {about.description}.")
    if isinstance(value, str) and about.choices and value not in about.choices:
        raise ConfigError(
            f"{key}={value!r} is unknown. Allowed: {', '.join(about.choices)}.{nearest(value, about.choices)}"
        )

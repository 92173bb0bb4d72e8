"""Declaration of a configuration setting: its description and allowed values, next to its type.

The description is also the comment in configs/ (tests/config/test_comments.py). The unit is part of the name.
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
    """The description and the allowed values of one key.

    Attributes:
        description: The comment in configs/.
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
        """Return a description of the allowed numbers."""
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

    A range or a choice applies to the value, to every element of a list and to every value of a mapping; null is
    allowed where the type allows it.

    Args:
        description: One plain sentence, which is also the comment in configs/ and the end of error messages.
        at_least: smallest value.
        above: values must be larger.
        at_most: largest value.
        below: values must be smaller.
        choices: allowed texts.
        default: The default of a key that may be omitted; without it, the value must come from configs/.
        default_factory: The factory of that default; for a nested group, its schema.
    """
    about = Setting(
        description=description, at_least=at_least, above=above, at_most=at_most, below=below, choices=tuple(choices)
    )
    if default_factory is not None:
        return dataclasses.field(default_factory=default_factory, metadata={_KEY: about})
    return dataclasses.field(default=default, metadata={_KEY: about})


def setting_of(field: dataclasses.Field[Any]) -> Setting | None:
    """Return the `Setting` of a field, if it was declared with `setting`."""
    return field.metadata.get(_KEY)


def check_settings(config: Any, *, key: str = "") -> None:
    """Check all values of a typed configuration and its nested groups against their settings.

    Args:
        config: An instance of a schema.
        key: Its configuration key, such as `serve.limits`; empty for the whole configuration.

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
        if about is not None:
            _check_numbers(key, value, about)
        for each in value:
            _check(key, each, about)
    elif about is not None:
        _check_value(key, value, about)


def _check_numbers(key: str, values: list[Any], about: Setting) -> None:
    wrong = [each for each in values if _is_refused(each, about)]
    if wrong:
        named = ", ".join(map(str, wrong))
        raise ConfigError(f"{key}={values} has {named}; each must be {about.range()}: {about.description}.")


def _check_value(key: str, value: Any, about: Setting) -> None:
    if _is_refused(value, about):
        raise ConfigError(f"{key}={value} must be {about.range()}: {about.description}.")
    if isinstance(value, str) and about.choices and value not in about.choices:
        raise ConfigError(
            f"{key}={value!r} is unknown. Allowed: {', '.join(about.choices)}.{nearest(value, about.choices)}"
        )


def _is_refused(value: Any, about: Setting) -> bool:
    return isinstance(value, int | float) and not about.allows(value)

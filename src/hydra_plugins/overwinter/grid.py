"""Hydra's own sweeper, with messages for sweeps that are empty, contradictory or continuous.

`hydra/sweeper=overwinter_grid`, which `overwinter run -m` selects unless another sweeper is named. The grammar and the
product of the values are those of Hydra's basic sweeper. It does not compose each job a second time: the launcher
composes and checks all of them before any work.
"""

from __future__ import annotations

from collections.abc import Sequence

from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override

from overwinter.errors import ConfigError

ConfigStore.instance().store(
    group="hydra/sweeper",
    name="overwinter_grid",
    node={"_target_": "hydra_plugins.overwinter.grid.GridSweeper", "max_batch_size": None, "params": None},
    provider="overwinter",
)


class GridSweeper(BasicSweeper):
    """The product of all choices, ranges and globs."""

    def sweep(self, arguments: list[str]) -> object:
        """Check the sweep, then run every combination.

        Raises:
            ConfigError: no override has several values, one has none, one is set twice, or one is an interval.
        """
        assert self.hydra_context is not None  # noqa: S101 -- Hydra calls `setup` first
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        given = parser.parse_overrides(list(arguments))
        named = {override.get_key_element() for override in given}
        ready = parser.parse_overrides(self._parse_config())  # those of configs/sweep/, which the command line replaces
        check_sweep([*(override for override in ready if override.get_key_element() not in named), *given])
        return super().sweep(arguments)

    def validate_batch_is_legal(self, batch: Sequence[Sequence[str]]) -> None:
        """Leave the check to the launcher, which composes every job once."""


def check_sweep(overrides: Sequence[Override]) -> None:
    """Check that overrides describe a sweep.

    Raises:
        ConfigError: they do not.
    """
    seen: dict[str, str] = {}
    for override in overrides:
        key = override.get_key_element().lstrip("+")
        text = override.input_line or key
        if key in seen:
            raise ConfigError(f"{seen[key]} and {text} both set {key}. Keep one of them.")
        seen[key] = text
        if override.is_interval_sweep():
            raise ConfigError(
                f"{text} is an interval, which has no single values to run. Name values ({key}=0.1,0.2), a range "
                f"({key}=range(1,5)), or search it: `overwinter run -m +sweep=tpe`."
            )
        if override.is_sweep_override() and next(iter(override.sweep_string_iterator()), None) is None:
            raise ConfigError(f"{text} has no values: no point would run. Name at least one.")
    if not any(override.is_sweep_override() for override in overrides):
        raise ConfigError(
            "Nothing is swept: no override has several values. Name them with commas, such as "
            "quantize=int8_dynamic,int8_static; or run one configuration without -m."
        )

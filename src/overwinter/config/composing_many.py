"""Composition of many points of a sweep: Hydra composes once per choice of groups, and values are set on copies of it.

The text is byte for byte that of `composition.compose`: Hydra itself sets the values on the copy, after its groups, in
order, as it does in a composition of its own (`ConfigLoaderImpl._apply_overrides_to_config`, which has no public
form). Wherever equality is not certain, and for everything that is wrong, the point is composed and validated in full.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from overwinter.config.composition import compose, configs_digest, read_parameters
from overwinter.config.environment import environment
from overwinter.config.expansion import refuse_expansion
from overwinter.config.groups import Config
from overwinter.config.own_code import named_targets
from overwinter.config.project import Project
from overwinter.config.validation import KnownGroups, validate
from overwinter.errors import ConfigError

if TYPE_CHECKING:
    from hydra.core.override_parser.types import Override

_PLAIN = (str, int, float, bool, type(None))
_DIGEST = "${overwinter.configs_digest:}"
_DIGEST_KEY = "configs_digest"
_PACKAGES = "${overwinter.packages:}"
_PACKAGES_KEY = "packages"
_SHORT = 1 << 16  # characters of overrides that cannot make a configuration too large
_MISSING = "???"
_HYDRA = re.compile(r"\bhydra\b")


@dataclass(frozen=True, kw_only=True)
class Composition:
    """One composed and validated configuration.

    Attributes:
        params: The text of its params.yaml.
        parameters: The content of that text.
        config: The same, typed; groups that several compositions have in common may be one object.
    """

    params: str
    parameters: Mapping[str, Any]
    config: Config


@dataclass
class _Base:
    """A composition of groups alone.

    Attributes:
        config: It, before its interpolations are resolved; None if it must not be copied.
        content: It, resolved, if none of its interpolations refers to a key; then a point differs from it only in the
            groups whose values are set.
    """

    config: Any = None
    content: dict[str, Any] | None = None


@dataclass
class Composer:
    """Composes many points of one project, while its configs/ stays as it is."""

    project: Project
    _parsed: dict[str, Override | None] = field(default_factory=dict)
    _groups: dict[str, bool] = field(default_factory=dict)
    _bases: dict[tuple[str, ...], _Base] = field(default_factory=dict)
    _texts: dict[tuple[str, str], str] = field(default_factory=dict)
    _known: KnownGroups = field(default_factory=KnownGroups)

    def compose(self, overrides: Sequence[str]) -> Composition:
        """Return the composition of ``overrides`` in Hydra's grammar.

        Raises:
            ConfigError: as `compose` and `validate` do.
        """
        parameters = self._quickly(overrides)
        if parameters is not None:
            text = self._text(parameters)
            if "${" not in text:  # it would be resolved when it is read
                config = self._validated(parameters)
                return Composition(params=text, parameters=parameters, config=config or validate(text))
        text = compose(self.project, overrides)
        return Composition(params=text, parameters=read_parameters(text), config=validate(text))

    def _quickly(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        """Return the content of params.yaml; None if it cannot be had from a copy, or is wrong."""
        import yaml
        from hydra.errors import HydraException
        from omegaconf.errors import OmegaConfBaseException

        try:
            with environment(allowed=False):
                return self._from_base(overrides)
        except (HydraException, OmegaConfBaseException, ConfigError, yaml.YAMLError, ValueError, RecursionError):
            return None  # the full composition explains it

    def _from_base(self, overrides: Sequence[str]) -> dict[str, Any] | None:
        from hydra._internal.config_loader_impl import ConfigLoaderImpl
        from omegaconf import OmegaConf

        split = self._split(overrides)
        if split is None:
            return None
        groups, values = split
        base = self._base(groups)
        if base.config is None:
            return None
        touched = _touched(base, values)
        config = copy.deepcopy(base.config) if touched is None else _only(base.config, touched)
        ConfigLoaderImpl._apply_overrides_to_config(values, config)
        if touched is None:
            refuse_expansion(config)
        OmegaConf.resolve(config)
        content = OmegaConf.to_container(config, enum_to_str=True)
        if not isinstance(content, dict) or not _is_plain(content) or not all(isinstance(key, str) for key in content):
            return None
        named = {str(key): value for key, value in content.items()}
        return named if touched is None else _completed(base, named)

    def _split(self, overrides: Sequence[str]) -> tuple[tuple[str, ...], list[Override]] | None:
        """Return the choices of groups, and the values to set after them; None if one of them is neither for sure."""
        groups: list[str] = []
        values: list[Override] = []
        for text in overrides:
            override = self._parse(text)
            if override is None:
                return None
            if isinstance(override.value(), dict) or not self._is_group(override.key_or_group):
                values.append(override)
            else:
                groups.append(text)
        return tuple(groups), values

    def _parse(self, text: str) -> Override | None:
        from hydra.core.override_parser.overrides_parser import OverridesParser

        if text not in self._parsed:
            override = None if _HYDRA.search(text) else OverridesParser.create().parse_override(text)
            self._parsed[text] = None if override is None or override.is_sweep_override() else override
        return self._parsed[text]

    def _is_group(self, key: str) -> bool:
        if key not in self._groups:
            self._look_up(key)
        return self._groups[key]

    def _look_up(self, key: str) -> None:
        from hydra import initialize_config_dir
        from hydra.core.global_hydra import GlobalHydra

        with initialize_config_dir(str(self.project.configs), version_base=None):
            self._groups[key] = GlobalHydra.instance().config_loader().repository.group_exists(key)  # type: ignore[attr-defined]

    def _base(self, groups: tuple[str, ...]) -> _Base:
        if groups not in self._bases:
            self._bases[groups] = _Base()  # if it cannot be composed, every point with it is composed in full
            config = self._composed(groups)
            self._bases[groups] = _Base(config, None if config is None else _content(config))
        return self._bases[groups]

    def _composed(self, groups: tuple[str, ...]) -> Any:
        from hydra import compose as hydra_compose
        from hydra import initialize_config_dir
        from omegaconf import OmegaConf

        with initialize_config_dir(str(self.project.configs), version_base=None):
            config = hydra_compose(config_name=self.project.config_name, overrides=list(groups))
        raw = OmegaConf.to_container(config, resolve=False)
        if _HYDRA.search(str(raw)):
            return None  # something may refer to Hydra's node, which a copy does not have while values are set
        if isinstance(raw, dict) and raw.get(_DIGEST_KEY) == _DIGEST:
            config[_DIGEST_KEY] = configs_digest(self.project.configs)  # which is read once, not at each point
        return config

    def _text(self, parameters: Mapping[str, Any]) -> str:
        return "".join(self._text_of(key, value) for key, value in parameters.items())

    def _text_of(self, key: str, value: Any) -> str:
        from omegaconf import OmegaConf

        known = (key, repr(value))
        if known not in self._texts:
            self._texts[known] = OmegaConf.to_yaml({key: value})
        return self._texts[known]

    def _validated(self, parameters: Mapping[str, Any]) -> Config | None:
        try:
            return self._known.config(parameters)
        except ConfigError:
            return None  # the validation of the text explains it


def _content(config: Any) -> dict[str, Any] | None:
    """Return the resolved content of a composition whose interpolations refer to no key; None of another."""
    from omegaconf import OmegaConf

    raw = OmegaConf.to_container(config, resolve=False)
    if not isinstance(raw, dict) or "${" in str({**raw, _PACKAGES_KEY: None}) or raw.get(_PACKAGES_KEY) != _PACKAGES:
        return None
    resolved = copy.deepcopy(config)
    OmegaConf.resolve(resolved)
    content = OmegaConf.to_container(resolved, enum_to_str=True)
    return {str(key): value for key, value in content.items()} if isinstance(content, dict) else None


def _touched(base: _Base, values: Sequence[Override]) -> list[str] | None:
    """Return the top-level keys that values are set in; None if they may depend on others, or come or go."""
    if base.content is None or sum(len(each.input_line or "") for each in values) > _SHORT:
        return None
    keys = dict.fromkeys(re.split(r"[.\[]", each.key_or_group, maxsplit=1)[0] for each in values)
    whole = any(each.is_delete() or "$" in (each.input_line or "") for each in values)
    return None if whole or not keys.keys() <= base.content.keys() - {_PACKAGES_KEY} else list(keys)


def _completed(base: _Base, content: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return the content of a whole configuration from that of its touched keys; None if `packages` depends on them."""
    whole = base.content
    if whole is None or any(list(named_targets(content[key])) != list(named_targets(whole[key])) for key in content):
        return None
    together = {**whole, **content}
    return together if _is_plain(together) else None


def _only(config: Any, keys: Sequence[str]) -> Any:
    """Return a copy of some top-level keys, as closed to new ones as the whole."""
    from omegaconf import OmegaConf

    part = OmegaConf.masked_copy(config, list(keys))
    OmegaConf.set_struct(part, True)
    return part


def _is_plain(value: Any) -> bool:
    """Return whether the text of a value is read as the same value."""
    return all(isinstance(each, _PLAIN) and each != _MISSING for each in _leaves(value))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, Mapping):
        yield from value
        for each in value.values():
            yield from _leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from _leaves(each)
    else:
        yield value

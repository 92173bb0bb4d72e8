"""Parsing of params.yaml into a typed `Config`, with every check that is possible before a run."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from overwinter.config.checks import check_config, check_service, check_supervision
from overwinter.config.composition import own_error
from overwinter.config.environment import environment, guard_environment
from overwinter.config.groups import SCHEMAS, Config
from overwinter.config.groups.pipeline import PipelineConfig, in_order
from overwinter.config.groups.serve import ServiceConfig
from overwinter.config.groups.supervision import Supervision
from overwinter.config.groups.task import own_task
from overwinter.documents import check_yaml
from overwinter.errors import ConfigError, nearest

if TYPE_CHECKING:
    from overwinter.config.project import Project

_REMEDY = "Run `overwinter compose`."


def load_config(project: Project) -> Config:
    """Read and validate the project's params.yaml.

    Raises:
        ConfigError: it is missing, not YAML, or contains a wrong key, type, unit or range.
    """
    try:
        text = project.params.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(f"{project.params} is missing. {_REMEDY}") from None
    return validate(text, source=str(project.params))


def validate(text: str, *, source: str = "the composed configuration") -> Config:
    """Parse YAML text into a `Config`.

    Args:
        text: The content of params.yaml.
        source: The name of the text in messages.

    Raises:
        ConfigError: not YAML, or a wrong key, type, unit or range.
    """
    config: Config = _typed(Config, _parsed(text, source), prefix="")
    for group in SCHEMAS:
        setattr(config, group, _grouped(group, getattr(config, group)))
    config.pipeline = _in_order(config.pipeline)
    check_config(config)
    return config


class KnownGroups:
    """Typed groups by their content, so that configurations with groups in common are validated quickly.

    The groups are shared by the configurations, which are values that nothing changes.
    """

    def __init__(self) -> None:
        self._fields: dict[tuple[str, str], Any] = {}
        self._single = {each.name: _single(each) for each in dataclasses.fields(Config)}

    def config(self, content: Mapping[str, Any]) -> Config:
        """Return the `Config` that `validate` makes of a text with this content.

        Args:
            content: The content of params.yaml, with all interpolations resolved.

        Raises:
            ConfigError: as `validate` does, but the message may name the key less well.
        """
        if unknown := content.keys() - self._single.keys():
            raise ConfigError(f"{min(map(str, unknown))}: there is no such key.")
        config = Config(**{name: self._typed(name, content) for name in self._single})
        check_config(config)
        return config

    def _typed(self, name: str, content: Mapping[str, Any]) -> Any:
        key = (name, repr(content[name]) if name in content else "")
        if key not in self._fields:
            self._fields[key] = self._made(name, {name: content[name]} if name in content else {})
        return self._fields[key]

    def _made(self, name: str, content: Mapping[str, Any]) -> Any:
        value = getattr(_typed(self._single[name], content, prefix=""), name)
        return _in_order(value) if name == "pipeline" else _grouped(name, value)


def _single(field: dataclasses.Field[Any]) -> type[Any]:
    """Return a schema with one field of `Config`."""
    kind = typing.get_type_hints(Config)[field.name]
    alone = dataclasses.field(default=field.default, default_factory=field.default_factory)
    return dataclasses.make_dataclass(f"Config_{field.name}", [(field.name, kind, alone)])


def _grouped(group: str, node: Any) -> Any:
    """Return the value of a key of `Config` as an instance of the schema of its option, if options have schemas."""
    if group == "task" and node is None:
        node = {"name": "classification"}
    if group not in SCHEMAS:
        return node
    if not isinstance(node, Mapping):
        raise ConfigError(f"{group}={node!r} must be a mapping. {_REMEDY}")
    return _typed(SCHEMAS[group](node), _keys(group, node), prefix=f"{group}.")


def _in_order(pipeline: PipelineConfig) -> PipelineConfig:
    return dataclasses.replace(pipeline, stages=in_order(pipeline.stages))


def _keys(group: str, node: Mapping[str, Any]) -> dict[str, Any]:
    """Return the keys of a group; those of the user's own task, which has no schema, are its arguments."""
    return own_task(node) if group == "task" and "_target_" in node else dict(node)


def validate_service(text: str) -> ServiceConfig:
    """Parse YAML text composed from configs/serve.yaml, for `overwinter serve` and `overwinter deploy`.

    Raises:
        ConfigError: not YAML, or a wrong key, type, unit or range.
    """
    service: ServiceConfig = _typed(ServiceConfig, _parsed(text, "the composed configuration"), prefix="")
    service.carbon = typed_carbon(service.carbon)
    check_service(service)
    return service


def validate_supervision(content: Mapping[str, Any]) -> Supervision:
    """Return the groups of a composed configuration that supervise work; its other groups are not read.

    Args:
        content: The content of params.yaml, with all interpolations resolved.

    Raises:
        ConfigError: a wrong key, type, unit or range.
    """
    names = [field.name for field in dataclasses.fields(Supervision)]
    groups: Supervision = _typed(Supervision, {name: content[name] for name in names if name in content}, prefix="")
    groups.carbon, groups.power = typed_carbon(groups.carbon), _grouped("power", groups.power)
    check_supervision(groups)
    return groups


def typed_carbon(node: Any, key: str = "carbon") -> Any:
    """Return an option of the group `carbon/` as an instance of its schema.

    Args:
        node: The option.
        key: Its configuration key; a source's fallback is such an option too.

    Raises:
        ConfigError: a wrong key or type.
    """
    if not isinstance(node, Mapping):
        raise ConfigError(
            f"{key}={node!r} must be an option of the group carbon/, such as {{source: country, country: FRA}}."
        )
    return _typed(SCHEMAS["carbon"](node), dict(node), prefix=f"{key}.")


def _parsed(text: str, source: str) -> dict[str, Any]:
    import yaml
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    guard_environment()
    check_yaml(text, where=source)
    try:
        content = _loaded(text)
        if "${" in text:
            with environment(allowed=False):
                content = OmegaConf.to_container(OmegaConf.create(content), resolve=True)
    except (yaml.YAMLError, OmegaConfBaseException) as error:
        reason = own_error(error) or f"{source} cannot be read: {error}\n{_REMEDY}"
        raise ConfigError(str(reason)) from None
    if not isinstance(content, dict) or not content:
        raise ConfigError(f"{source} is not a mapping of keys to values. {_REMEDY}")
    return {str(key): value for key, value in content.items()}


def _loaded(text: str) -> Any:
    """Return YAML text as plain data, as OmegaConf reads it: `1e-3` is a number, and a key given twice is an error.

    OmegaConf's own loader is in Python; with the same rules, the one in C takes a tenth of the time.
    """
    import yaml
    from omegaconf._utils import get_yaml_loader

    rules = get_yaml_loader()

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        yaml_implicit_resolvers = rules.yaml_implicit_resolvers
        yaml_constructors = rules.yaml_constructors

        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value if key.tag == yaml.resolver.BaseResolver.DEFAULT_SCALAR_TAG]
            for twice in (key for place, key in enumerate(keys) if key in keys[:place]):
                raise yaml.constructor.ConstructorError(None, None, f"found duplicate key {twice}", node.start_mark)
            return super().construct_mapping(node, deep=deep)

    return yaml.load(text, Loader=Loader)  # noqa: S506 -- a SafeLoader


def _typed(schema: type[Any], content: Mapping[str, Any], *, prefix: str) -> Any:
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    for field in dataclasses.fields(schema):  # OmegaConf's own message on this lacks the key
        group: Any = field.default_factory
        if dataclasses.is_dataclass(group) and not isinstance(content.get(field.name, {}), Mapping):
            raise ConfigError(f"{prefix}{field.name}={content[field.name]!r} must be a mapping of keys to values.")
    try:
        merged = OmegaConf.merge(OmegaConf.structured(schema), dict(content))
        missing = sorted(OmegaConf.missing_keys(merged))
        if missing:
            raise ConfigError(
                f"No value for {', '.join(prefix + key for key in missing)}. Set it; or, if params.yaml is older than "
                "configs/, run `overwinter compose`."
            )
        return OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(_explain(error, schema, prefix)) from None


def _explain(error: Any, schema: type[Any], prefix: str) -> str:
    key = prefix + (error.full_key or str(error.key or ""))
    owner = error.object_type if dataclasses.is_dataclass(error.object_type) else schema
    known = [field.name for field in dataclasses.fields(owner)]
    leaf = key.rsplit(".", 1)[-1]
    if leaf not in known and "not in" in str(error.msg):
        return f"{key}: there is no such key. Known here: {', '.join(known)}.{nearest(leaf, known)}"
    return f"{key}: {str(error.msg).splitlines()[0]}"

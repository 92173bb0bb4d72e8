"""The comment at a key in configs/ is the description in its schema, word for word.

Run as a program, this file writes the schemas' descriptions into the comments.
"""

import dataclasses
import typing
from pathlib import Path

import pytest
import yaml

from overwinter.config.groups import SCHEMAS, Config
from overwinter.config.groups.search import SearchSettings
from overwinter.config.groups.serve import ServiceConfig
from overwinter.config.groups.slurm import SlurmSettings
from overwinter.config.groups.sweep import SweepSettings
from overwinter.config.settings import setting_of

CONFIGS = Path(__file__).parents[2] / "configs"
OPEN = ("data", "model")  # whatever `_target_` takes
PRIMARY = {"config": Config, "serve": ServiceConfig}
PACKAGES = {"runtime": "evaluate"}


@dataclasses.dataclass
class HydraNode:
    sweeper: SearchSettings = dataclasses.field(default_factory=SearchSettings)
    launcher: SweepSettings = dataclasses.field(default_factory=SweepSettings)


@dataclasses.dataclass
class SweepOption:
    """An option of the group sweep/, which sets keys of Hydra's own node."""

    hydra: HydraNode = dataclasses.field(default_factory=HydraNode)


# Cases, which are primary configurations too, say why they set a value.
LAUNCHERS = {"overwinter_slurm": SlurmSettings}
FILES = sorted(
    [
        *(CONFIGS / f"{name}.yaml" for name in PRIMARY),
        *CONFIGS.glob("*/*.yaml"),
        *CONFIGS.glob("hydra/launcher/*.yaml"),
    ]
)
FILES = [path for path in FILES if path.parent.name not in OPEN]


def schema_of(path):
    if path.parent == CONFIGS:
        return PRIMARY[path.stem]
    if path.parent.name == "launcher":
        return LAUNCHERS[path.stem]
    group = PACKAGES.get(path.parent.name, path.parent.name)
    if group == "sweep":
        return SweepOption
    if group in SCHEMAS:
        return SCHEMAS[group](content(path))
    owner = next(owner for owner in PRIMARY.values() if group in fields_of(owner))
    return nested(fields_of(owner)[group])


def content(path):
    """Return what a file and its defaults say, as far as the choice of a schema needs it."""
    own = yaml.safe_load(path.read_text())
    siblings = [name for name in own.pop("defaults", []) if isinstance(name, str) and name != "_self_"]
    inherited = [content(path.with_stem(name)) for name in siblings if "@" not in name]
    return {key: value for each in (*inherited, own) for key, value in each.items()}


def fields_of(schema):
    return {field.name: field for field in dataclasses.fields(schema)}


def nested(field):
    """Return the schema of a nested group, or None."""
    factory = field.default_factory
    return factory if dataclasses.is_dataclass(factory) else None


def comments(text, schema):
    """Yield each described key of a file that has a comment: its owner, its field, and where the comment is."""
    root = yaml.compose(text)
    yield from _comments(text.splitlines(), root, schema) if isinstance(root, yaml.MappingNode) else ()


def _comments(lines, node, schema):
    fields = fields_of(schema)
    for key, value in node.value:
        field = fields.get(key.value)
        if field is None:
            continue
        end = key.end_mark if _is_block(value) else value.end_mark
        column = end.column + lines[end.line][end.column :].find("#")
        if setting_of(field) is not None and column >= end.column:
            yield schema, field, end.line, column
        if nested(field) is not None and isinstance(value, yaml.MappingNode):
            yield from _comments(lines, value, nested(field))


def _is_block(node):
    return isinstance(node, yaml.CollectionNode) and not node.flow_style


def rewritten(text, schema):
    """Return a file with the schema's descriptions for comments."""
    lines = text.splitlines()
    for _, field, line, column in comments(text, schema):
        lines[line] = f"{lines[line][:column]}# {setting_of(field).description}"
    return "\n".join(lines) + "\n"


def owner_of(schema, field):
    return next(base for base in reversed(schema.__mro__) if field.name in typing.get_type_hints(base))


def described(schema):
    """Yield the owner and the name of each described key of a schema and of the groups within."""
    for field in dataclasses.fields(schema):
        if setting_of(field) is not None:
            yield f"{owner_of(schema, field).__name__}.{field.name}"
        if nested(field) is not None:
            yield from described(nested(field))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.relative_to(CONFIGS).as_posix())
def test_a_comment_is_the_description_of_the_schema(path):
    text = path.read_text()
    assert text == rewritten(text, schema_of(path)), "run `python tests/config/test_comments.py`"


def test_every_described_key_has_a_comment():
    schemas = {schema_of(path) for path in FILES}
    commented = {
        f"{owner_of(schema, field).__name__}.{field.name}"
        for path in FILES
        for schema, field, _, _ in comments(path.read_text(), schema_of(path))
    }
    assert {each for schema in schemas for each in described(schema)} - commented == set()


def undescribed(schema):
    """Yield every key of a schema and of the groups within that says nothing of itself."""
    for field in dataclasses.fields(schema):
        if nested(field) is not None:
            yield from undescribed(nested(field))
        elif setting_of(field) is None:
            yield f"{owner_of(schema, field).__name__}.{field.name}"


def test_every_key_is_described():
    found = {each for path in FILES for each in undescribed(schema_of(path))}
    groups = {*(f"Config.{group}" for group in (*SCHEMAS, *OPEN)), "ServiceConfig.carbon"}
    # What names the option is described by the option's first line, and fall-backs come by its defaults.
    assert found == groups | {
        "CarbonConfig.source",
        "FallibleCarbonConfig.fallback",
        "PowerConfig.policy",
        "SparsifyConfig.method",
        "TaskConfig.name",
    }


if __name__ == "__main__":
    for each in FILES:
        each.write_text(rewritten(each.read_text(), schema_of(each)))

"""The configuration: typed schemas, composition by Hydra, validation, and the only `instantiate`.

`groups` holds the schemas, in which a `setting` describes each key and its range, and `checks` runs every further
check; `project` finds configs/ and params.yaml, `composition` turns configs/ and overrides into params.yaml,
`validation` turns params.yaml into a typed `Config`, and `targets` makes objects from `_target_`, behind an
allow-list. Nothing here imports torch.
"""

from overwinter.config.composition import compose, configs_digest
from overwinter.config.groups import Config
from overwinter.config.project import Project, find_project
from overwinter.config.settings import check_settings, setting
from overwinter.config.targets import instantiate
from overwinter.config.validation import load_config, validate, validate_service, validate_supervision

__all__ = [
    "Config",
    "Project",
    "check_settings",
    "compose",
    "configs_digest",
    "find_project",
    "instantiate",
    "load_config",
    "setting",
    "validate",
    "validate_service",
    "validate_supervision",
]

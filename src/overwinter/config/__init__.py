"""One truth for every setting: typed schemas, composition by Hydra, validation, and the only `instantiate`.

`groups` holds the schemas, `checks` what a type cannot say (ranges, choices, units), `project` finds configs/ and
params.yaml, `composition` turns configs/ and overrides into params.yaml, `validation` turns params.yaml into a
typed `Config`, and `targets` makes objects from `_target_`, behind an allow-list. Nothing here imports torch.
"""

from overwinter.config.composition import compose, configs_digest
from overwinter.config.groups import Config
from overwinter.config.project import Project, find_project
from overwinter.config.targets import instantiate
from overwinter.config.validation import load_config, validate, validate_service

__all__ = [
    "Config",
    "Project",
    "compose",
    "configs_digest",
    "find_project",
    "instantiate",
    "load_config",
    "validate",
    "validate_service",
]

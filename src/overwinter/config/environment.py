"""A guard that refuses `${oc.env:NAME}` in a configuration that is written to a file.

params.yaml and rendered deployments are committed, so a secret in them would stay in the repository's history.
Settings name a variable instead (`hibernate.sign_key=env:NAME`), which is read when it is needed.

The guard wraps OmegaConf's own resolver, so it also works inside DVC, which composes by itself, and for every form of
interpolation: in an override, nested, with a default. It does not affect other programs' configurations.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar
from typing import Any

from overwinter.errors import ConfigError

_ALLOWED: ContextVar[bool | None] = ContextVar("_ALLOWED", default=None)


@contextlib.contextmanager
def environment(*, allowed: bool) -> Iterator[None]:
    """Allow or refuse values from the environment in every configuration composed inside the context."""
    token = _ALLOWED.set(allowed)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def guard_environment() -> None:
    """Wrap OmegaConf's `oc.env` with the guard."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def guarded(name: str, *default: Any, _root_: Any, _node_: Any) -> Any:
        key = str(_node_._get_full_key(None)).replace("_dummy_", "A choice of options")  # Hydra's name for one
        if not _may_read(_root_, key):
            raise ConfigError(
                f"{key} takes its value from the environment variable {name}, which would be written to a file in "
                "plain text.\nWrite the value itself. For a key or token, name the variable, such as "
                f"hibernate.sign_key=env:{name}."
            )
        return oc.env(name, *default)

    OmegaConf.register_new_resolver("oc.env", guarded, replace=True)


def _may_read(root: Any, key: str) -> bool:
    from omegaconf import OmegaConf

    from overwinter.config.groups import Config
    from overwinter.config.groups.serve import ServiceConfig

    allowed = _ALLOWED.get()
    if allowed is not None:
        return allowed
    # Hydra's own settings are not written to params.yaml.
    return OmegaConf.get_type(root) not in (Config, ServiceConfig) or key.split(".", 1)[0] == "hydra"

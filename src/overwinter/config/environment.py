"""`${oc.env:NAME}` in a configuration: refused wherever the value would be written down.

params.yaml is committed, and so are deployments that are rendered: a secret that Hydra puts there is in everyone's
copy for ever. A variable is named instead (`hibernate.sign_key=env:NAME`), and read where it is needed.

The guard stands in front of OmegaConf's own resolver, so that it also holds inside of DVC, which composes by itself,
and however the interpolation came about: as an override, inside another one, with a default. The configurations of
other programs in this environment are none of its business.
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
    """Within, every configuration may take values from the environment, or none may."""
    token = _ALLOWED.set(allowed)
    try:
        yield
    finally:
        _ALLOWED.reset(token)


def guard_environment() -> None:
    """Put the guard in front of OmegaConf's `oc.env`."""
    from omegaconf import OmegaConf
    from omegaconf.resolvers import oc

    def guarded(name: str, *default: Any, _root_: Any, _node_: Any) -> Any:
        key = str(_node_._get_full_key(None)).replace("_dummy_", "A choice of options")  # Hydra's name for one
        if not _may_read(_root_, key):
            raise ConfigError(
                f"{key} takes its value from the environment variable {name}, and would be written down with it, for "
                "everyone to read.\nWrite the value itself; a key or token is named and read where it is needed, "
                f"such as hibernate.sign_key=env:{name}."
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
    # Hydra's own settings are of this machine, and are not written.
    return OmegaConf.get_type(root) not in (Config, ServiceConfig) or key.split(".", 1)[0] == "hydra"

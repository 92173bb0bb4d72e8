"""Names of container images: checks of their syntax, and whether they are pinned by digest.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md#pulling-manifests
"""

from __future__ import annotations

import re

from overwinter.errors import ConfigError

BASE = "docker.io/library/python:3.12-slim"
KUBECTL = "registry.k8s.io/kubectl:v1.34.0"
_HOST = r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::\d+)?/)?"
_PATH = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_IMAGE = re.compile(rf"{_HOST}{_PATH}(?:/{_PATH})*(?::[\w][\w.-]{{0,127}})?(?P<digest>@sha256:[0-9a-f]{{64}})?")


def checked_image(name: str, *, key: str) -> str:
    """Return an image's name.

    Args:
        name: The name, such as `registry.example/model:1`, or better `registry.example/model@sha256:DIGEST`.
        key: The flag that it was given by.

    Raises:
        ConfigError: The name is not valid.
    """
    if _IMAGE.fullmatch(name):
        return name
    raise ConfigError(f"{key} {name!r} is not an image name. Write NAME@sha256:DIGEST (64 digits), or NAME:TAG.")


def is_pinned(name: str) -> bool:
    """Return whether a name always means the same image: a tag can be moved."""
    found = _IMAGE.fullmatch(name)
    return found is not None and found["digest"] is not None


def of_tag(name: str) -> str:
    """Return the warning about an image that is named by its tag."""
    return (
        f"The image {name} is named by a tag, which anyone who may push there can move to another image. Name it by "
        f"its "
        "digest: NAME@sha256:DIGEST, which `podman push --digestfile FILE` or `docker buildx imagetools inspect NAME` "
        "tell."
    )

"""What Kubernetes objects of all renderers have in common: labels, and the security of pods."""

from __future__ import annotations

from typing import Any

import yaml

NAME = "app.kubernetes.io/name"
USER = {
    "runAsNonRoot": True,
    "runAsUser": 65532,
    "runAsGroup": 65532,
    "fsGroup": 65532,
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""The security context of a pod."""
BARE = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
"""The security context of a container."""
OUTSIDE: list[dict[str, Any]] = [
    {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]},
    {"ports": [{"protocol": "TCP", "port": 443}]},
]
"""The egress rules of a pod that asks a carbon intensity source: DNS and HTTPS."""


class _Plain(yaml.SafeDumper):
    """A YAML writer that repeats a value instead of using an anchor."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        return True


def to_yaml(documents: list[dict[str, Any]]) -> str:
    """Return documents as one YAML text."""
    return yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)


def kubernetes_object(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    """Return an object with a name and a specification."""
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}


def common_labels(name: str, *, version: str, component: str) -> dict[str, str]:
    """Return the labels of https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels."""
    own = {
        "instance": name,
        "version": version,
        "component": component,
        "part-of": "overwinter",
        "managed-by": "overwinter",
    }
    return {NAME: name} | {f"app.kubernetes.io/{key}": value for key, value in own.items()}

"""The few requests to Kubernetes that releasing Jobs takes: list Jobs, resume one, suspend a CronJob.

In a pod, the address, the token and the certificate are where Kubernetes puts them for every pod
(https://kubernetes.io/docs/tasks/run-application/access-api-from-pod/). Elsewhere, `kubectl proxy` holds the
credentials, and its address on this machine is enough.
"""

from __future__ import annotations

import json
import os
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

from overwinter.errors import ConfigError, IntegrityError, OverwinterError

_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
_LOCAL = ("localhost", "127.0.0.1", "::1")
_PATIENCE_S = 30.0
_MERGE = "application/merge-patch+json"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A namespace of a cluster.

    Attributes:
        address: The address of its API.
        namespace: The namespace.
        token: The bearer token; None through `kubectl proxy`.
        certificate: The file of the authority that signed the API's certificate; None: the system's.
    """

    address: str
    namespace: str
    token: str | None = None
    certificate: Path | None = None

    @classmethod
    def around(cls, environ: Mapping[str, str] = os.environ, account: Path = _ACCOUNT) -> Self:
        """Return the cluster in which this process is a pod.

        Raises:
            ConfigError: it is in none.
        """
        host, port = environ.get("KUBERNETES_SERVICE_HOST"), environ.get("KUBERNETES_SERVICE_PORT", "443")
        try:
            token, namespace = ((account / name).read_text(encoding="utf-8").strip() for name in ("token", "namespace"))
        except OSError:
            host = None
        if host is None:
            raise ConfigError(
                "--release is not called in a pod of a cluster. Run `kubectl proxy`, and name it: --api "
                "http://127.0.0.1:8001"
            )
        name = f"[{host}]" if ":" in host else host
        return cls(address=f"https://{name}:{port}", namespace=namespace, token=token, certificate=account / "ca.crt")

    @classmethod
    def through_proxy(cls, address: str, namespace: str) -> Self:
        """Return the cluster behind `kubectl proxy` on this machine.

        Raises:
            ConfigError: the address is not on this machine.
        """
        parts = urlsplit(address)
        if parts.scheme != "http" or parts.hostname not in _LOCAL:
            raise ConfigError(f"--api {address} must be kubectl proxy on this machine, such as http://127.0.0.1:8001.")
        return cls(address=address.rstrip("/"), namespace=namespace)

    def jobs(self, tree: str) -> tuple[list[dict[str, Any]], datetime | None]:
        """Return the Jobs of a tree, and the API server's time.

        Raises:
            OverwinterError: Kubernetes does not answer, or refuses.
            IntegrityError: its answer is none.
        """
        selector = quote(f"app.kubernetes.io/instance={tree},app.kubernetes.io/component=stage")
        content, now_utc = self._ask("GET", f"jobs?labelSelector={selector}")
        if not isinstance(items := content.get("items"), list):
            raise IntegrityError(f"{self.address} does not answer as Kubernetes does. Check --api.")
        return items, now_utc

    def resume(self, job: str) -> None:
        """Let a suspended Job run. Raises OverwinterError: see `jobs`."""
        self._ask("PATCH", f"jobs/{quote(job)}", {"spec": {"suspend": False}})

    def suspend_schedule(self, cron_job: str) -> None:
        """Suspend a CronJob that has nothing more to do. Raises OverwinterError: see `jobs`."""
        self._ask("PATCH", f"cronjobs/{quote(cron_job)}", {"spec": {"suspend": True}})

    def _ask(
        self, method: str, path: str, content: Mapping[str, Any] | None = None
    ) -> tuple[dict[str, Any], datetime | None]:
        url = f"{self.address}/apis/batch/v1/namespaces/{quote(self.namespace)}/{path}"
        headers = {"Accept": "application/json"}
        headers |= {"Content-Type": _MERGE} if content is not None else {}
        headers |= {"Authorization": f"Bearer {self.token}"} if self.token is not None else {}
        body = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(url, data=body, headers=headers, method=method)  # noqa: S310 -- checked above
        context = None if self.certificate is None else ssl.create_default_context(cafile=str(self.certificate))
        try:
            with urllib.request.urlopen(request, timeout=_PATIENCE_S, context=context) as answer:  # noqa: S310
                return _content(answer.read(), self.address), _time(answer.headers.get("Date"))
        except urllib.error.HTTPError as error:
            raise OverwinterError(
                f"Kubernetes refuses {method} {path.partition('?')[0]} in {self.namespace}: {error.code} "
                f"{error.reason}. Check the role of the release, and --namespace."
            ) from None
        except OSError as error:
            raise OverwinterError(
                f"{self.address} does not answer ({error}); nothing was changed. It is asked again at the next release."
            ) from None


def _content(body: bytes, address: str) -> dict[str, Any]:
    try:
        content = json.loads(body)
    except ValueError:
        content = None
    if not isinstance(content, dict):
        raise IntegrityError(f"{address} does not answer as Kubernetes does. Check --api.")
    return content


def _time(text: str | None) -> datetime | None:
    try:
        return None if text is None else parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return None

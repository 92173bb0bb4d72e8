"""Kubernetes: a Deployment that KEDA takes to zero and its HTTP add-on wakes, or a Knative Service.

KEDA's interceptor holds a request until a pod is ready; its `cron` trigger keeps one in a window. Knative has no
windows: there a CronJob raises the Service's lower bound as a window opens, and another lowers it as it closes.
Fields after KEDA 2.x (`keda.sh/v1alpha1`), the HTTP add-on 0.15 (`http.keda.sh/v1beta1`) and Knative Serving v1.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import yaml

from overwinter.errors import ConfigError
from overwinter.serving.deploy.deployment import LIVE_PATH, Deployment
from overwinter.serving.deploy.timetable import read_timetable

BUNDLE = "/srv/bundle"  # in the image
SECRETS = "/run/secrets/overwinter"  # where the token is mounted
_KEYS = "/etc/overwinter"  # where public keys are mounted
_PORT = 8080
_PRIVATE_TOKEN = "/tmp/token"  # noqa: S105, S108 -- a path, of the pod's own; see below
# A mounted secret belongs to root and is readable by the group; the server takes only a token that is its own.
_COPY_TOKEN = f'umask 077; cat {SECRETS}/token > {_PRIVATE_TOKEN}; exec overwinter "$@"'
_SCALER = "keda-add-ons-http-external-scaler.keda:9090"


@dataclass(frozen=True, kw_only=True)
class Kubernetes:
    """Renders kubernetes.yaml.

    Attributes:
        image: with the bundle in it, as `overwinter deploy container` builds it.
        hostname: by which clients reach the service, through KEDA's interceptor.
        knative: a Knative Service instead of KEDA.
        memory: limit of a pod.
        cpus: limit of a pod.
        gpus: NVIDIA GPUs of a pod.
        kubectl_image: what Knative's CronJobs run.
        prometheus: address of a Prometheus that reads the pods' /metrics, for `serve.replicas.wait_s`; None leaves
            that limit out.
    """

    image: str
    hostname: str
    knative: bool = False
    memory: str = "1Gi"
    cpus: int = 1
    gpus: int = 0
    kubectl_image: str = "registry.k8s.io/kubectl:v1.34.0"
    prometheus: str | None = None

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the file, name to text.

        Raises:
            ConfigError: a window cannot be rendered.
        """
        documents = self._for_knative(deployment) if self.knative else self._for_keda(deployment)
        documents = [*_key_map(deployment), *documents]
        name = deployment.name
        heading = deployment.heading(
            *deployment.rules(),
            *self._left_out(deployment),
            f"Its token, before: kubectl create secret generic {name}-token --from-file=token=FILE",
            *_credentials_line(deployment),
            "Needs Knative Serving." if self.knative else "Needs KEDA and its HTTP add-on in the namespace keda.",
        )
        return {"kubernetes.yaml": heading + yaml.dump_all(documents, Dumper=_Plain, sort_keys=False, width=120)}

    def _left_out(self, deployment: Deployment) -> list[str]:
        wait_s = deployment.serve.replicas.wait_s
        rendered = wait_s is None or (self.prometheus is not None and not self.knative)
        reason = "Knative has no such rule" if self.knative else "it needs --prometheus"
        waits = [] if rendered else [f"serve.replicas.wait_s={wait_s:g} is left out: {reason}."]
        return [*waits, *deployment.not_kept()]

    def _for_keda(self, deployment: Deployment) -> list[dict[str, Any]]:
        name = deployment.name
        labels = {"app.kubernetes.io/name": name}
        template = {"metadata": {"labels": labels}, "spec": self._pod(deployment)}
        server = {"selector": {"matchLabels": labels}, "template": template}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        return [
            _document("apps/v1", "Deployment", name, server),
            _document("v1", "Service", name, {"selector": labels, "ports": ports}),
            _document("http.keda.sh/v1beta1", "InterceptorRoute", name, self._route(deployment)),
            _document("keda.sh/v1alpha1", "ScaledObject", name, self._scaling(deployment)),
        ]

    def _route(self, deployment: Deployment) -> dict[str, Any]:
        serve = deployment.serve
        answer = f"{math.ceil(serve.limits.answer_s)}s"
        return {
            "target": {"service": deployment.name, "port": 80},
            "rules": [{"hosts": [self.hostname]}],
            "scalingMetric": {"concurrency": {"targetValue": serve.replicas.queue_per_replica}},
            "timeouts": {"readiness": answer, "request": answer, "responseHeader": answer},
        }

    def _scaling(self, deployment: Deployment) -> dict[str, Any]:
        route = {"scalerAddress": _SCALER, "interceptorRoute": deployment.name}
        triggers = [{"type": "external-push", "metadata": route}, *_window_triggers(deployment)]
        return {
            "scaleTargetRef": {"name": deployment.name},
            "minReplicaCount": deployment.fewest,
            "maxReplicaCount": max(deployment.serve.replicas.most, deployment.fewest),
            "cooldownPeriod": math.ceil(deployment.idle[0]),
            "triggers": [*triggers, *self._wait_trigger(deployment)],
        }

    def _wait_trigger(self, deployment: Deployment) -> list[dict[str, Any]]:
        """Return the rule that pods grow in number as the waits of a twentieth of the requests exceed the limit."""
        wait_s = deployment.serve.replicas.wait_s
        if wait_s is None or self.prometheus is None:
            return []
        pods = f'overwinter_wait_seconds_bucket{{pod=~"{deployment.name}-.+"}}'
        query = f"histogram_quantile(0.95, sum by (le) (rate({pods}[1m])))"
        rule = {"serverAddress": self.prometheus, "query": query, "threshold": f"{wait_s:g}"}
        return [{"type": "prometheus", "metricType": "Value", "metadata": rule}]

    def _for_knative(self, deployment: Deployment) -> list[dict[str, Any]]:
        name, serve = deployment.name, deployment.serve
        scale = {
            "min-scale": str(deployment.fewest),
            "max-scale": str(max(serve.replicas.most, deployment.fewest)),
            "target": str(serve.replicas.queue_per_replica),
            "scale-to-zero-pod-retention-period": f"{math.ceil(deployment.idle[0])}s",
        }
        annotations = {f"autoscaling.knative.dev/{key}": value for key, value in scale.items()}
        pod = self._pod(deployment) | {"timeoutSeconds": math.ceil(serve.limits.answer_s)}
        del pod["terminationGracePeriodSeconds"]  # Knative takes it from timeoutSeconds
        del pod["securityContext"]  # and allows one of a pod by a feature flag only
        pod["containers"][0]["securityContext"] = _BARE | {"runAsNonRoot": True, "runAsUser": _USER["runAsUser"]}
        template = {"metadata": {"annotations": annotations}, "spec": pod}
        service = _document("serving.knative.dev/v1", "Service", name, {"template": template})
        return [service, *(self._setters(deployment) if deployment.windows and deployment.may_stop else [])]

    def _setters(self, deployment: Deployment) -> list[dict[str, Any]]:
        """Return the CronJobs of the windows, and the right to patch this one Service."""
        jobs: list[dict[str, Any]] = []
        for place, window in enumerate(deployment.windows):
            if len(deployment.windows) > 1:
                raise ConfigError(
                    "serve.sleep.windows: Knative can hold one window, since the end of one would close another. "
                    "Join them, or leave out --knative: KEDA holds several."
                )
            starts = [text for part in deployment.starts(window) for text in part.expressions()]
            ends = read_timetable(window.end).expressions()
            for kind, texts, fewest in (("open", starts, 1), ("close", ends, 0)):
                jobs += [
                    self._setter(
                        f"{deployment.name}-{kind}-{place}{number}", deployment, text, window.time_zone, fewest
                    )
                    for number, text in enumerate(texts)
                ]
        return [*_rights(deployment.name), *jobs]

    def _setter(self, name: str, deployment: Deployment, schedule: str, zone: str, fewest: int) -> dict[str, Any]:
        annotations = {"autoscaling.knative.dev/min-scale": str(fewest)}
        patch = json.dumps({"spec": {"template": {"metadata": {"annotations": annotations}}}})
        words = ["kubectl", "patch", f"services.serving.knative.dev/{deployment.name}", "--type=merge", "-p", patch]
        pod = {
            "serviceAccountName": f"{deployment.name}-windows",
            "restartPolicy": "OnFailure",
            "securityContext": _USER,
            "containers": [{"name": "patch", "image": self.kubectl_image, "command": words, "securityContext": _BARE}],
        }
        job = {"template": {"spec": pod}, "backoffLimit": 3}
        rule = {"schedule": schedule, "timeZone": zone, "concurrencyPolicy": "Replace", "jobTemplate": {"spec": job}}
        return _document("batch/v1", "CronJob", name, rule)

    def _pod(self, deployment: Deployment) -> dict[str, Any]:
        """Return a pod's specification: one server with one worker, since replicas are pods here."""
        answer_s = math.ceil(deployment.serve.limits.answer_s)
        words = deployment.words(
            BUNDLE,
            trusted=deployment.keys_in(_KEYS),
            host="0.0.0.0",  # noqa: S104 -- the pod's own address; the token is asked for
            port=_PORT,
            **TOKEN | {"access__token_file": _PRIVATE_TOKEN},
            replicas__fewest=min(1, deployment.serve.replicas.fewest),
            replicas__most=1,
        )
        limits: dict[str, Any] = {"cpu": str(self.cpus), "memory": self.memory}
        limits |= {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        container: dict[str, Any] = {
            "name": "server",
            "image": self.image,
            "command": ["sh", "-c", _COPY_TOKEN, "overwinter"],
            "args": words,
            "env": [{"name": "HOME", "value": "/tmp"}, *_credentials(deployment)],  # noqa: S108 -- emptied with the pod
            "ports": [{"name": "http", "containerPort": _PORT}],
            "readinessProbe": {"httpGet": {"path": LIVE_PATH, "port": _PORT}, "periodSeconds": 1},
            "resources": {"requests": dict(limits), "limits": limits},
            "securityContext": _BARE,
            "volumeMounts": [
                {"name": "token", "mountPath": SECRETS, "readOnly": True},
                {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
            ],
        }
        volumes: list[dict[str, Any]] = [
            {"name": "token", "secret": {"secretName": f"{deployment.name}-token"}},
            {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        ]
        if deployment.trusted:
            container["volumeMounts"].append({"name": "trusted", "mountPath": _KEYS, "readOnly": True})
            volumes.append({"name": "trusted", "configMap": {"name": f"{deployment.name}-trusted"}})
        return {
            "automountServiceAccountToken": False,
            "securityContext": _USER,
            "terminationGracePeriodSeconds": answer_s + 10,  # requests in flight are answered first
            "containers": [container],
            "volumes": volumes,
        }


class _Plain(yaml.SafeDumper):
    """Writes a value that occurs twice twice, not as an anchor."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 -- PyYAML's signature
        return True


_USER = {"runAsNonRoot": True, "runAsUser": 65532, "fsGroup": 65532, "seccompProfile": {"type": "RuntimeDefault"}}
_BARE = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}
TOKEN: dict[str, Any] = {
    "access__token_file": f"{SECRETS}/token",
    "access__tls_cert": None,  # what is in front speaks TLS
    "access__tls_key": None,
    "access__client_ca": None,
}


def _key_map(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the public keys as a document, if there are any."""
    if not deployment.trusted:
        return []
    data = {path.rpartition("/")[2]: text for path, text in deployment.keys_in(_KEYS).items()}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{deployment.name}-trusted"}, "data": data}]


def _credentials_line(deployment: Deployment) -> list[str]:
    names = ", ".join(deployment.variables)
    made = f"kubectl create secret generic {deployment.name}-carbon --from-env-file=FILE, which gives {names}"
    return [f"Credentials for the carbon intensity, before: {made}"] if names else []


def _credentials(deployment: Deployment) -> list[dict[str, Any]]:
    secret = f"{deployment.name}-carbon"
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in deployment.variables
    ]


def _window_triggers(deployment: Deployment) -> list[dict[str, Any]]:
    """Return a trigger for each start: KEDA's end is the next tick of `end`, like that of a window."""
    found = []
    for window in deployment.windows:
        common = {"timezone": window.time_zone, "end": window.end, "desiredReplicas": str(max(1, deployment.fewest))}
        starts = [text for part in deployment.starts(window) for text in part.expressions()]
        found += [{"type": "cron", "metadata": {"start": start, **common}} for start in starts]
    return found


def _rights(name: str) -> list[dict[str, Any]]:
    account = f"{name}-windows"
    rule = {"apiGroups": ["serving.knative.dev"], "resources": ["services"], "resourceNames": [name]}
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role"}
    subject = {"kind": "ServiceAccount", "name": account}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}},
        role | {"metadata": {"name": account}, "rules": [rule | {"verbs": ["get", "patch"]}]},
        role
        | {"kind": "RoleBinding", "metadata": {"name": account}, "subjects": [subject]}
        | {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}},
    ]


def _document(version: str, kind: str, name: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, "spec": spec}

"""Kubernetes: a Deployment that KEDA scales to zero and its HTTP add-on wakes, or a Knative Service.

KEDA's interceptor holds a request until a pod is ready; its `cron` trigger keeps a pod in a window. Knative has no
windows: a CronJob raises the Service's `min-scale` when a window opens, and another lowers it when it closes.
The kubelet probes the supervisor, which neither wakes a model for that nor keeps one awake.
The fields follow KEDA 2.x (`keda.sh/v1alpha1`), the HTTP add-on 0.15 (`http.keda.sh/v1beta1`) and Knative Serving v1.
"""

from __future__ import annotations

import json
import math
from argparse import ArgumentParser, Namespace
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import urlsplit

from overwinter.deploy.deployment import LIVE_PATH, Deployment
from overwinter.deploy.flags import memory_limit
from overwinter.deploy.images import KUBECTL, checked_image, is_pinned, of_tag
from overwinter.deploy.interface import Orchestrator
from overwinter.deploy.objects import BARE, NAME, OUTSIDE, USER, common_labels, kubernetes_object, to_yaml
from overwinter.deploy.source import Source, bundle_in_folder
from overwinter.deploy.timetable import read_timetable
from overwinter.errors import ConfigError
from overwinter.units import format_bytes

BUNDLE = "/srv/bundle"  # in the image
SECRETS = "/run/secrets/overwinter"  # where the token is mounted
COPIES = "/var/tmp/overwinter"  # noqa: S108 -- a separate volume: TMPDIR, for private copies that do not fit in memory
_KEYS = "/etc/overwinter"  # where public keys are mounted
_PORT = 8080
_PRIVATE_TOKEN = "/tmp/token"  # noqa: S105, S108 -- a path, private to the pod; see below
# A mounted secret belongs to root and is readable by the group; the server takes only a token file of its own user.
_COPY_TOKEN = f'umask 077; cat {SECRETS}/token > {_PRIVATE_TOKEN}; exec overwinter "$@"'
_SCALER = "keda-add-ons-http-external-scaler.keda:9090"
_MIN_STARTS = 60  # seconds that a start may take before it counts as failed
_SCRATCH = "64Mi"  # in memory: the token, and files that libraries write to their user's home
_MIN_COPIES_MIB = 256


@dataclass(frozen=True, kw_only=True)
class Kubernetes(Orchestrator):
    """Renders kubernetes.yaml.

    Attributes:
        image: The image with the bundle in it, as `overwinter deploy container` builds it; should be named by its
            digest, since a tag can be moved.
        hostname: The host name by which clients reach the service, through KEDA's interceptor.
        knative: Whether to render a Knative Service instead of KEDA's objects.
        memory: The memory limit of a pod.
        cpus: The CPU limit of a pod.
        gpus: The number of NVIDIA GPUs of a pod.
        kubectl_image: The image of Knative's CronJobs; should be named by its digest, too.
        bundle_bytes: The size of the bundle's files.
        prometheus: The address of a Prometheus that scrapes the pods' /metrics, for `serve.replicas.wait_s`; None
            leaves that limit out.
    """

    summary: ClassVar[str] = "a Deployment that KEDA scales to zero and wakes, or a Knative Service"

    image: str
    hostname: str
    knative: bool = False
    memory: str = "1Gi"
    cpus: int = 1
    gpus: int = 0
    kubectl_image: str = KUBECTL
    bundle_bytes: int = 0
    prometheus: str | None = None

    @classmethod
    def add_arguments(cls, parser: ArgumentParser) -> None:
        """See `Orchestrator`."""
        parser.add_argument(
            "--image",
            required=True,
            metavar="NAME@sha256:DIGEST",
            help="image with the bundle in it, as `deploy container` builds it, best named by its digest",
        )
        parser.add_argument(
            "--kubectl-image",
            default=KUBECTL,
            metavar="NAME@sha256:DIGEST",
            help=f"image that sets Knative's windows ({KUBECTL})",
        )
        parser.add_argument("--hostname", required=True, help="host name of the service")
        parser.add_argument("--knative", action="store_true", help="render a Knative Service instead of KEDA's objects")
        parser.add_argument("--memory", type=memory_limit, default="1Gi", help="memory limit of a pod (1Gi)")
        parser.add_argument("--cpus", type=int, default=1, help="CPU limit of a pod (1)")
        parser.add_argument(
            "--prometheus",
            metavar="URL",
            help="address of a Prometheus that scrapes the pods' /metrics; needed for serve.replicas.wait_s (none)",
        )
        parser.add_argument("--gpus", type=int, default=0, help="number of NVIDIA GPUs of a pod (0)")

    @classmethod
    def from_arguments(cls, arguments: Namespace) -> tuple[Self, Source]:
        """See `Orchestrator`."""
        bundle, source = bundle_in_folder(arguments)
        found = cls(
            image=checked_image(arguments.image, key="--image"),
            hostname=arguments.hostname,
            knative=arguments.knative,
            memory=arguments.memory,
            cpus=arguments.cpus,
            gpus=arguments.gpus,
            kubectl_image=checked_image(arguments.kubectl_image, key="--kubectl-image"),
            bundle_bytes=bundle.size_bytes,
            prometheus=arguments.prometheus,
        )
        return found, source

    def next_step(self, _deployment: Deployment, folder: Path) -> str:
        """See `Orchestrator`."""
        return f"kubectl apply -f {folder}/kubernetes.yaml"

    def render(self, deployment: Deployment) -> dict[str, str]:
        """Return the file, name to text.

        Raises:
            ConfigError: A window cannot be rendered.
        """
        documents = self._for_knative(deployment) if self.knative else self._for_keda(deployment)
        documents = [*_key_map(deployment), *documents, *self._guards(deployment)]
        documents = [_labelled(document, deployment) for document in documents]
        name = deployment.name
        heading = deployment.heading(
            *deployment.rules(),
            *self._left_out(deployment),
            *(of_tag(image) for image in self.images(deployment) if not is_pinned(image)),
            f"Memory: a wake needs room for the payload ({format_bytes(self.bundle_bytes)}) besides the loaded model.",
            f"First create the token: kubectl create secret generic {name}-token --from-file=token=FILE",
            *_credentials_line(deployment),
            "Needs Knative Serving." if self.knative else "Needs KEDA and its HTTP add-on in the namespace keda.",
        )
        return {"kubernetes.yaml": heading + to_yaml(documents)}

    def images(self, deployment: Deployment) -> list[str]:
        """Return the images that the pods run."""
        patching = self.knative and deployment.windows and deployment.may_stop
        return [self.image, *([self.kubectl_image] if patching else [])]

    def _left_out(self, deployment: Deployment) -> list[str]:
        wait_s = deployment.serve.replicas.wait_s
        rendered = wait_s is None or (self.prometheus is not None and not self.knative)
        reason = "Knative has no such trigger" if self.knative else "it needs --prometheus"
        waits = [] if rendered else [f"serve.replicas.wait_s={wait_s:g} is left out: {reason}."]
        spread = ["Pods are not spread over nodes: Knative allows that by a feature flag only."]
        return [*waits, *(spread if self.knative and _max_replicas(deployment) > 1 else []), *deployment.not_kept()]

    def _for_keda(self, deployment: Deployment) -> list[dict[str, Any]]:
        name = deployment.name
        labels = {NAME: name}  # a Deployment's selector can never be changed
        template = {"metadata": {"labels": _labels(deployment)}, "spec": self._pod(deployment) | _spread(deployment)}
        server = {"selector": {"matchLabels": labels}, "template": template}
        ports = [{"name": "http", "port": 80, "targetPort": "http"}]
        return [
            kubernetes_object("apps/v1", "Deployment", name, server),
            kubernetes_object("v1", "Service", name, {"selector": labels, "ports": ports}),
            kubernetes_object("http.keda.sh/v1beta1", "InterceptorRoute", name, self._route(deployment)),
            kubernetes_object("keda.sh/v1alpha1", "ScaledObject", name, self._scaling(deployment)),
        ]

    def _route(self, deployment: Deployment) -> dict[str, Any]:
        serve = deployment.serve
        response = f"{math.ceil(serve.limits.response_s)}s"
        return {
            "target": {"service": deployment.name, "port": 80},
            "rules": [{"hosts": [self.hostname]}],
            "scalingMetric": {"concurrency": {"targetValue": serve.replicas.queue_per_replica}},
            "timeouts": {"readiness": response, "request": response, "responseHeader": response},
        }

    def _scaling(self, deployment: Deployment) -> dict[str, Any]:
        route = {"scalerAddress": _SCALER, "interceptorRoute": deployment.name}
        triggers = [{"type": "external-push", "metadata": route}, *_window_triggers(deployment)]
        return {
            "scaleTargetRef": {"name": deployment.name},
            "minReplicaCount": deployment.min_replicas,
            "maxReplicaCount": _max_replicas(deployment),
            "cooldownPeriod": math.ceil(deployment.idle[0]),
            "triggers": [*triggers, *self._wait_trigger(deployment)],
        }

    def _wait_trigger(self, deployment: Deployment) -> list[dict[str, Any]]:
        """Return the trigger that adds pods when the 95th percentile of waits exceeds the limit."""
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
            "min-scale": str(deployment.min_replicas),
            "max-scale": str(_max_replicas(deployment)),
            "target": str(serve.replicas.queue_per_replica),
            "scale-to-zero-pod-retention-period": f"{math.ceil(deployment.idle[0])}s",
        }
        annotations = {f"autoscaling.knative.dev/{key}": value for key, value in scale.items()}
        pod = self._pod(deployment) | {"timeoutSeconds": math.ceil(serve.limits.response_s)}
        del pod["terminationGracePeriodSeconds"]  # Knative takes it from timeoutSeconds
        del pod["securityContext"]  # and allows one for a pod only with a feature flag
        pod["containers"][0]["securityContext"] = BARE | {key: USER[key] for key in USER if key != "fsGroup"}
        pod["containers"][0]["ports"][0]["name"] = "http1"  # the port name that means HTTP/1 to Knative
        template = {"metadata": {"annotations": annotations, "labels": _labels(deployment)}, "spec": pod}
        service = kubernetes_object("serving.knative.dev/v1", "Service", name, {"template": template})
        return [service, *(self._setters(deployment) if deployment.windows and deployment.may_stop else [])]

    def _setters(self, deployment: Deployment) -> list[dict[str, Any]]:
        """Return the CronJobs of the windows, and the role to patch this one Service."""
        jobs: list[dict[str, Any]] = []
        for place, window in enumerate(deployment.windows):
            if len(deployment.windows) > 1:
                raise ConfigError(
                    "serve.sleep.windows: Knative supports only one window, since the end of one would close another. "
                    "Join them, or leave out --knative: KEDA supports several."
                )
            starts = [text for part in deployment.starts(window) for text in part.expressions()]
            ends = read_timetable(window.end).expressions()
            for kind, texts, min_replicas in (("open", starts, 1), ("close", ends, 0)):
                jobs += [
                    self._setter(
                        f"{deployment.name}-{kind}-{place}{number}", deployment, text, window.time_zone, min_replicas
                    )
                    for number, text in enumerate(texts)
                ]
        return [*_rights(deployment.name), *jobs]

    def _setter(self, name: str, deployment: Deployment, schedule: str, zone: str, min_replicas: int) -> dict[str, Any]:
        annotations = {"autoscaling.knative.dev/min-scale": str(min_replicas)}
        patch = json.dumps({"spec": {"template": {"metadata": {"annotations": annotations}}}})
        words = ["kubectl", "patch", f"services.serving.knative.dev/{deployment.name}", "--type=merge", "-p", patch]
        pod = {
            "serviceAccountName": f"{deployment.name}-windows",
            "restartPolicy": "OnFailure",
            "securityContext": USER,
            "containers": [
                {
                    "name": "patch",
                    "image": self.kubectl_image,
                    "command": words,
                    "resources": {"requests": _PATCH_ROOM, "limits": _PATCH_ROOM},
                    "securityContext": BARE,
                }
            ],
        }
        labels = _labels(deployment, component="windows")
        job = {"template": {"metadata": {"labels": labels}, "spec": pod}, "backoffLimit": 3}
        rule = {"schedule": schedule, "timeZone": zone, "concurrencyPolicy": "Replace", "jobTemplate": {"spec": job}}
        return kubernetes_object("batch/v1", "CronJob", name, rule)

    def _pod(self, deployment: Deployment) -> dict[str, Any]:
        """Return the pod's specification: one server with one worker, since each replica is a pod."""
        response_s = math.ceil(deployment.serve.limits.response_s)
        words = deployment.words(
            BUNDLE,
            trusted=deployment.keys_in(_KEYS),
            pinned=True,  # even if the image's tag was moved
            host="0.0.0.0",  # noqa: S104 -- the pod's own address; a token is required
            port=_PORT,
            **TOKEN | {"access__token_file": _PRIVATE_TOKEN},
            replicas__min=min(1, deployment.serve.replicas.min),
            replicas__max=1,
        )
        copies = f"{max(_MIN_COPIES_MIB, 2 * self.bundle_bytes >> 20)}Mi"
        limits: dict[str, Any] = {"cpu": str(self.cpus), "memory": self.memory, "ephemeral-storage": copies}
        limits |= {"nvidia.com/gpu": str(self.gpus)} if self.gpus else {}
        container: dict[str, Any] = {
            "name": "server",
            "image": self.image,
            "command": ["sh", "-c", _COPY_TOKEN, "overwinter"],
            "args": words,
            "env": [
                {"name": "HOME", "value": "/tmp"},  # noqa: S108 -- emptied with the pod
                *_credentials(deployment),
                {"name": "TMPDIR", "value": COPIES},
            ],
            "ports": [{"name": "http", "containerPort": _PORT}],
            **_probes(deployment),
            "resources": {"requests": dict(limits), "limits": limits},
            "securityContext": BARE,
            "volumeMounts": [
                {"name": "token", "mountPath": SECRETS, "readOnly": True},
                {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
                {"name": "copies", "mountPath": COPIES},
            ],
        }
        volumes: list[dict[str, Any]] = [
            {"name": "token", "secret": {"secretName": f"{deployment.name}-token"}},
            {"name": "scratch", "emptyDir": {"medium": "Memory", "sizeLimit": _SCRATCH}},
            {"name": "copies", "emptyDir": {"sizeLimit": copies}},
        ]
        if deployment.trusted:
            container["volumeMounts"].append({"name": "trusted", "mountPath": _KEYS, "readOnly": True})
            volumes.append({"name": "trusted", "configMap": {"name": f"{deployment.name}-trusted"}})
        return {
            "automountServiceAccountToken": False,
            "securityContext": USER,
            "terminationGracePeriodSeconds": response_s + 10,  # requests in flight finish first
            "containers": [container],
            "volumes": volumes,
        }

    def _guards(self, deployment: Deployment) -> list[dict[str, Any]]:
        """Return the NetworkPolicy, and the PodDisruptionBudget if there may be several pods."""
        own = {"serving.knative.dev/service" if self.knative else NAME: deployment.name}
        selector = {"matchLabels": own}
        policy = {
            "podSelector": selector,
            "policyTypes": ["Ingress", "Egress"],
            "ingress": self._ingress(),
            "egress": OUTSIDE if deployment.asks_outside else [],
        }
        guards = [kubernetes_object("networking.k8s.io/v1", "NetworkPolicy", deployment.name, policy)]
        if _max_replicas(deployment) > 1:
            # Not `minAvailable`: with no or one pod, no node could be drained.
            budget = {"selector": selector, "maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow"}
            guards.append(kubernetes_object("policy/v1", "PodDisruptionBudget", deployment.name, budget))
        return guards

    def _ingress(self) -> list[dict[str, Any]]:
        """Return the ingress rules for the proxies and for Prometheus; a node's probes are always allowed."""
        if self.knative:
            return [{"from": [_namespaces(*_KNATIVE_FRONT)]}]  # its sidecar has other ports
        ports = [{"protocol": "TCP", "port": _PORT}]
        readers = [] if self.prometheus is None else [_namespace_of(self.prometheus)]
        return [{"from": [_namespaces("keda"), *readers], "ports": ports}]


_PATCH_ROOM = {"cpu": "100m", "memory": "128Mi"}
_OF_WINDOWS = ("ServiceAccount", "Role", "RoleBinding", "CronJob")
_APART = ("kubernetes.io/hostname", "topology.kubernetes.io/zone")
# The namespaces of Knative's activator and autoscaler, and of its possible gateways.
_KNATIVE_FRONT = ("knative-serving", "kourier-system", "istio-system", "contour-external", "contour-internal")
TOKEN: dict[str, Any] = {
    "access__token_file": f"{SECRETS}/token",
    "access__tls_cert": None,  # the ingress terminates TLS
    "access__tls_key": None,
    "access__client_ca": None,
}


def _max_replicas(deployment: Deployment) -> int:
    """Return the maximum number of pods."""
    return max(deployment.serve.replicas.max, deployment.min_replicas)


def _labels(deployment: Deployment, *, component: str = "server") -> dict[str, str]:
    return common_labels(deployment.name, version=deployment.digest[:12], component=component)


def _labelled(document: dict[str, Any], deployment: Deployment) -> dict[str, Any]:
    component = "windows" if document["kind"] in _OF_WINDOWS else "server"
    named = {"name": document["metadata"]["name"], "labels": _labels(deployment, component=component)}
    return {key: named if key == "metadata" else value for key, value in document.items()}


def _probes(deployment: Deployment) -> dict[str, Any]:
    """Return the probes: start-up with a long limit and a short period, then readiness often and liveness rarely."""
    asked = {"httpGet": {"path": LIVE_PATH, "port": _PORT}, "timeoutSeconds": 5}
    starts = max(_MIN_STARTS, math.ceil(2 * deployment.start_s))
    return {
        "startupProbe": asked | {"periodSeconds": 1, "failureThreshold": starts},
        "readinessProbe": asked | {"periodSeconds": 1},
        "livenessProbe": asked | {"periodSeconds": 10, "failureThreshold": 3},
    }


def _spread(deployment: Deployment) -> dict[str, Any]:
    """Return constraints that spread several pods over nodes and zones."""
    if _max_replicas(deployment) == 1:
        return {}
    rule = {
        "maxSkew": 1,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": {NAME: deployment.name}},
    }
    return {"topologySpreadConstraints": [rule | {"topologyKey": key} for key in _APART]}


def _namespaces(*names: str) -> dict[str, Any]:
    named = {"key": "kubernetes.io/metadata.name", "operator": "In", "values": list(names)}
    return {"namespaceSelector": {"matchExpressions": [named]}}


def _namespace_of(address: str) -> dict[str, Any]:
    """Return the selector of an address's namespace: the pods' own if it names none, any if it is outside."""
    host = urlsplit(address).hostname or ""
    name, *rest = host.split(".")
    if name and not rest:
        return {"podSelector": {}}
    if len(rest) == 1 or rest[1:2] == ["svc"]:
        return _namespaces(rest[0])
    return {"namespaceSelector": {}}


def _key_map(deployment: Deployment) -> list[dict[str, Any]]:
    """Return the ConfigMap of the public keys, if there are any."""
    if not deployment.trusted:
        return []
    data = {path.rpartition("/")[2]: text for path, text in deployment.keys_in(_KEYS).items()}
    return [{"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": f"{deployment.name}-trusted"}, "data": data}]


def _credentials_line(deployment: Deployment) -> list[str]:
    names = ", ".join(deployment.variables)
    made = f"kubectl create secret generic {deployment.name}-carbon --from-env-file=FILE, which gives {names}"
    return [f"First create the credentials of the carbon intensity source: {made}"] if names else []


def _credentials(deployment: Deployment) -> list[dict[str, Any]]:
    secret = f"{deployment.name}-carbon"
    return [
        {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in deployment.variables
    ]


def _window_triggers(deployment: Deployment) -> list[dict[str, Any]]:
    """Return a trigger for each start; KEDA ends it at the next tick of `end`, as a window does."""
    found = []
    for window in deployment.windows:
        common = {
            "timezone": window.time_zone,
            "end": window.end,
            "desiredReplicas": str(max(1, deployment.min_replicas)),
        }
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

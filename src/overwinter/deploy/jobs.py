"""Kubernetes Jobs of a stage tree: suspended until a CronJob releases them, without a controller of our own.

Each distinct stage is one Job, `suspend: true`. A CronJob runs `overwinter deploy job --release` (`releasing`), which
resumes the Jobs whose needs have succeeded, at once or at a cleaner hour within the deadline. A Job copies the project
from its image into a scratch volume, takes the results of earlier stages from DVC's cache, and runs its stage and gate.
The cache, the ledger and the checkpoints are on a volume that all Jobs share. A gate's refusal ends a Job at once; a
pod that a node lost is replaced and goes on from its checkpoint. The fields follow batch/v1 of Kubernetes 1.34.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from overwinter.deploy.images import is_pinned, of_tag
from overwinter.deploy.job_tree import JobTree, StageJob
from overwinter.deploy.objects import BARE, NAME, OUTSIDE, USER, common_labels, kubernetes_object, to_yaml
from overwinter.errors import EXIT_INTEGRITY, EXIT_REFUSED, EXIT_USAGE

PROJECT = "/project"
"""Where the image has the project."""
NEEDS, LATEST, DURATION = "overwinter/needs", "overwinter/latest-start", "overwinter/duration-s"
"""Annotations of a Job that its release reads: names of Jobs, a time, seconds."""
_WORK = "/work"
_STAGE, _RELEASE = "stage", "release"
_RETRIES = 3
_GRACE_S = 120  # for a checkpoint at the next step
# Of the image's project, what the shared volume has: its ledger must not be replaced.
_START = (
    f"tar -C {PROJECT} --exclude=./.overwinter --exclude=./.dvc/cache --exclude=./.dvc/tmp -cf - . | tar -xf - && "
    'dvc config --local core.no_scm true && exec overwinter run --until "$@"'
)
_RELEASE_ROOM = {"cpu": "500m", "memory": "512Mi", "ephemeral-storage": "64Mi"}
_API_PORTS = (443, 6443)  # of the service, and of the API servers behind it


@dataclass(frozen=True, kw_only=True)
class Room:
    """What one stage's pod gets.

    Attributes:
        cpus: The CPU limit.
        memory: The memory limit.
        gpus: The number of NVIDIA GPUs.
    """

    cpus: int = 1
    memory: str = "4Gi"
    gpus: int = 0


@dataclass(frozen=True, kw_only=True)
class Jobs:
    """Renders jobs.yaml.

    Attributes:
        image: The image with the project in `/project` and Overwinter; should be named by its digest.
        claim: The PersistentVolumeClaim of the shared state.
        room: What a stage's pod gets.
        rooms: The same for single stages.
        scratch: The size of the volume that the project is copied to.
        schedule: How often the CronJob releases Jobs, as a cron expression.
        variables: The environment variables with the credentials of the carbon intensity source.
        asks_outside: Whether that source is asked over the network.
        carbon: The overrides that choose it.
        addresses: What stages read over the network.
        secrets: The names of Secrets whose keys become environment variables of every stage.
        ports: TCP ports that stages may reach, if they read over the network, beside 443.
    """

    image: str
    claim: str
    room: Room = field(default_factory=Room)
    rooms: Mapping[str, Room] = field(default_factory=dict)
    scratch: str = "4Gi"
    schedule: str = "*/10 * * * *"
    variables: tuple[str, ...] = ()
    asks_outside: bool = False
    carbon: tuple[str, ...] = ()
    addresses: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()

    def render(self, tree: JobTree) -> str:
        """Return jobs.yaml."""
        jobs = [self._job(tree, job) for job in tree.jobs]
        return self._heading(tree) + to_yaml([*_rights(tree), *jobs, self._releasing(tree), *self._policies(tree)])

    def _heading(self, tree: JobTree) -> str:
        lines = [
            f"{tree.name}: rendered by `overwinter deploy job`; change the configuration and render it again.",
            f"{len(tree.jobs)} Jobs, each distinct stage once, suspended until {tree.name}-release resumes them.",
            self._about_waiting(tree),
            f"Needs the PersistentVolumeClaim {self.claim}, which all Jobs share: ReadWriteMany, or one node.",
        ]
        lines += [] if is_pinned(self.image) else [of_tag(self.image)]
        if self.variables:
            made = _creating(f"{tree.name}-carbon")
            lines.append(f"First create the carbon source's credentials ({', '.join(self.variables)}): {made}")
        lines += self._about_addresses()
        return "".join(f"# {line}\n" for line in lines)

    def _about_addresses(self) -> list[str]:
        read = [f"Stages read {', '.join(self.addresses)}."] if self.addresses else []
        if not self.secrets:
            return [f"{each} No --secret was given: without credentials." for each in read]
        made = "; ".join(map(_creating, self.secrets))
        return [*read, f"First create the credentials, as environment variables in FILE: {made}"]

    def _about_waiting(self, tree: JobTree) -> str:
        if tree.deadline_utc is None:
            return "Nothing waits for cleaner hours: no --deadline was given."
        ends = f"Must have ended by {tree.deadline_utc:%Y-%m-%dT%H:%M:%SZ}."
        if not tree.unknown:
            return ends
        return f"{ends} The duration of {', '.join(tree.unknown)} is not known: these and those before do not wait."

    def _job(self, tree: JobTree, job: StageJob) -> dict[str, Any]:
        latest_utc = tree.latest_start_utc(job)
        notes = {NEEDS: ",".join(tree.needs(job))}
        notes |= {} if job.duration_s is None else {DURATION: f"{job.duration_s:.0f}"}
        notes |= {} if latest_utc is None else {LATEST: latest_utc.isoformat(timespec="seconds")}
        spec = {
            "suspend": True,
            "backoffLimit": _RETRIES,
            "podReplacementPolicy": "Failed",  # never two pods that write one checkpoint
            "podFailurePolicy": {
                "rules": [
                    {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": _STAGE,
                            "operator": "In",
                            "values": [EXIT_USAGE, EXIT_REFUSED, EXIT_INTEGRITY],
                        },
                    },
                ]
            },
            "template": {"metadata": {"labels": _labels(tree, _STAGE)}, "spec": self._pod(tree, job)},
        }
        made = kubernetes_object("batch/v1", "Job", tree.job_name(job), spec)
        made["metadata"] |= {"labels": _labels(tree, _STAGE), "annotations": notes}
        return made

    def _pod(self, tree: JobTree, job: StageJob) -> dict[str, Any]:
        room = self.rooms.get(job.stage, self.room)
        limits = {"cpu": str(room.cpus), "memory": room.memory, "ephemeral-storage": self.scratch}
        limits |= {"nvidia.com/gpu": str(room.gpus)} if room.gpus else {}
        container = {
            "name": _STAGE,
            "image": self.image,
            "command": ["sh", "-c", _START, "stage"],
            "args": [job.stage, *job.overrides],
            "workingDir": _WORK,
            "env": [*self._folders(), *self._credentials(tree)],
            **({"envFrom": [{"secretRef": {"name": name}} for name in self.secrets]} if self.secrets else {}),
            "resources": {"requests": dict(limits), "limits": limits},
            "securityContext": BARE,
            "volumeMounts": [
                {"name": "work", "mountPath": _WORK},
                {"name": "state", "mountPath": f"{_WORK}/.overwinter", "subPath": "overwinter"},
                {"name": "state", "mountPath": f"{_WORK}/.dvc/cache", "subPath": "cache"},
                {"name": "scratch", "mountPath": "/tmp"},  # noqa: S108
            ],
        }
        return {
            "automountServiceAccountToken": False,
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": _GRACE_S,
            "securityContext": USER,
            "containers": [container],
            "volumes": [
                {"name": "work", "emptyDir": {"sizeLimit": self.scratch}},
                {"name": "scratch", "emptyDir": {"sizeLimit": self.scratch}},
                {"name": "state", "persistentVolumeClaim": {"claimName": self.claim}},
            ],
        }

    def _folders(self) -> list[dict[str, Any]]:
        """Return the variables that name a stage's folders: what it fetches is kept on the volume, for all Jobs."""
        found = [{"name": "HOME", "value": "/tmp"}]  # noqa: S108 -- emptied with the pod
        return found + ([{"name": "XDG_CACHE_HOME", "value": f"{_WORK}/.overwinter/cache"}] if self.addresses else [])

    def _releasing(self, tree: JobTree) -> dict[str, Any]:
        """Return the CronJob that resumes the Jobs."""
        container = {
            "name": _RELEASE,
            "image": self.image,
            "command": ["overwinter", "-C", PROJECT, "deploy", "job", "--release", tree.name, *self.carbon],
            "env": [{"name": "HOME", "value": "/tmp"}, *self._credentials(tree)],  # noqa: S108
            "resources": {"requests": _RELEASE_ROOM, "limits": _RELEASE_ROOM},
            "securityContext": BARE,
            "volumeMounts": [{"name": "scratch", "mountPath": "/tmp"}],  # noqa: S108
        }
        pod = {
            "serviceAccountName": f"{tree.name}-release",
            "restartPolicy": "Never",
            "securityContext": USER,
            "containers": [container],
            "volumes": [{"name": "scratch", "emptyDir": {"sizeLimit": "64Mi"}}],
        }
        labels = _labels(tree, _RELEASE)
        spec = {
            "schedule": self.schedule,
            "concurrencyPolicy": "Forbid",
            "jobTemplate": {
                "spec": {"backoffLimit": 0, "template": {"metadata": {"labels": labels}, "spec": pod}},
            },
        }
        made = kubernetes_object("batch/v1", "CronJob", f"{tree.name}-release", spec)
        made["metadata"] |= {"labels": labels}
        return made

    def _credentials(self, tree: JobTree) -> list[dict[str, Any]]:
        secret = f"{tree.name}-carbon"
        return [{"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": name}}} for name in self.variables]

    def _policies(self, tree: JobTree) -> list[dict[str, Any]]:
        """Return the NetworkPolicies: no pod can be reached, and only the release reaches Kubernetes."""
        reads = bool(self.addresses or self.secrets)
        ports = [{"ports": [{"protocol": "TCP", "port": port} for port in self.ports]}] if reads and self.ports else []
        outside = [*OUTSIDE, *ports] if self.asks_outside or reads else []
        api = [{"ports": [{"protocol": "TCP", "port": port} for port in _API_PORTS]}]
        found = []
        for component, egress in ((_STAGE, outside), (_RELEASE, [*OUTSIDE[:1], *api])):
            selector = {"matchLabels": {NAME: tree.name, "app.kubernetes.io/component": component}}
            spec = {"podSelector": selector, "policyTypes": ["Ingress", "Egress"], "ingress": [], "egress": egress}
            made = kubernetes_object("networking.k8s.io/v1", "NetworkPolicy", f"{tree.name}-{component}", spec)
            made["metadata"] |= {"labels": _labels(tree, component)}
            found.append(made)
        return found


def _creating(secret: str) -> str:
    return f"kubectl create secret generic {secret} --from-env-file=FILE"


def _labels(tree: JobTree, component: str) -> dict[str, str]:
    return common_labels(tree.name, version=tree.digest, component=component)


def _rights(tree: JobTree) -> list[dict[str, Any]]:
    """Return the account of the release, which may resume these Jobs and suspend its own CronJob, and nothing else."""
    account = f"{tree.name}-release"
    names = [tree.job_name(job) for job in tree.jobs]
    jobs: dict[str, Any] = {"apiGroups": ["batch"], "resources": ["jobs"]}
    rules = [
        jobs | {"verbs": ["list"]},  # which Kubernetes cannot limit to names
        jobs | {"resourceNames": names, "verbs": ["patch"]},
        {"apiGroups": ["batch"], "resources": ["cronjobs"], "resourceNames": [account], "verbs": ["patch"]},
    ]
    metadata = {"name": account, "labels": _labels(tree, _RELEASE)}
    role: dict[str, Any] = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata}
    return [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata},
        role | {"rules": rules},
        role
        | {"kind": "RoleBinding", "subjects": [{"kind": "ServiceAccount", "name": account}]}
        | {"roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": account}},
    ]

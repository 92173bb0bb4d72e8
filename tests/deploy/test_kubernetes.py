from __future__ import annotations

import jsonschema
import kubernetes_validate
import pytest
import yaml

from overwinter.deploy import Kubernetes
from overwinter.errors import ConfigError

WINDOW = "{start:'0 8 * * 1-5',end:'0 18 * * 1-5',time_zone:Europe/Berlin}"
NATIVE = "1.34"


def closed(required, **properties):
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def texts(**properties):
    return {"type": "object", "additionalProperties": {"type": "string"}, **properties}


NUMBER, TEXT, DURATION = {"type": "integer", "minimum": 0}, {"type": "string"}, {"type": "string", "pattern": r"^\d+s$"}
META = closed(["name", "labels"], name=TEXT, labels=texts())
ROUTE = closed(  # http.keda.sh/v1beta1, the fields that are used
    ["target", "scalingMetric"],
    target=closed(["service", "port"], service=TEXT, port=NUMBER),
    rules={"type": "array", "items": closed([], hosts={"type": "array", "items": TEXT})},
    scalingMetric=closed(["concurrency"], concurrency=closed(["targetValue"], targetValue=NUMBER | {"minimum": 1})),
    timeouts=closed([], readiness=DURATION, request=DURATION, responseHeader=DURATION),
)
TRIGGER = {
    "oneOf": [
        closed(
            ["type", "metadata"],
            type={"const": "external-push"},
            metadata=texts(required=["scalerAddress", "interceptorRoute"]),
        ),
        closed(
            ["type", "metadata"],
            type={"const": "cron"},
            metadata=texts(required=["timezone", "start", "end", "desiredReplicas"]),
        ),
        closed(
            ["type", "metricType", "metadata"],
            type={"const": "prometheus"},
            metricType={"enum": ["AverageValue", "Value"]},
            metadata=texts(required=["serverAddress", "query", "threshold"]),
        ),
    ]
}
SCALED = closed(  # keda.sh/v1alpha1
    ["scaleTargetRef", "triggers"],
    scaleTargetRef=closed(["name"], name=TEXT),
    minReplicaCount=NUMBER,
    maxReplicaCount=NUMBER | {"minimum": 1},
    cooldownPeriod=NUMBER,
    triggers={"type": "array", "items": TRIGGER},
)
KNATIVE = closed(  # serving.knative.dev/v1; its pod template is checked as a Deployment's
    ["template"],
    template=closed(
        ["metadata", "spec"], metadata=closed([], annotations=texts(), labels=texts()), spec={"type": "object"}
    ),
)
ADDED = {"InterceptorRoute": ROUTE, "ScaledObject": SCALED}
# https://knative.dev/docs/serving/configuration/feature-flags: what a pod may have without a flag
KNATIVE_POD = {"automountServiceAccountToken", "containers", "volumes", "timeoutSeconds"}


@pytest.fixture
def rendered(deployed):
    """Return the checked documents by kind."""

    def render(*overrides, settings=None, **own):
        renderer = Kubernetes(image="registry.example/model:1", hostname="model.example.com", **own)
        text = renderer.render(deployed(*overrides, **settings or {}))["kubernetes.yaml"]
        assert "&id" not in text
        return {document["kind"]: document for document in documents_of(text)}

    return render


def documents_of(text):
    documents = list(yaml.safe_load_all(text))
    for document in documents:
        check(document)
    return documents


def check(document):
    if document["kind"] in ADDED:
        envelope = closed(["spec"], apiVersion=TEXT, kind=TEXT, metadata=META, spec=ADDED[document["kind"]])
        jsonschema.validate(document, envelope)
    elif document["apiVersion"].startswith("serving.knative.dev"):
        jsonschema.validate(document["spec"], KNATIVE)
        pod = document["spec"]["template"]["spec"]
        assert set(pod) <= KNATIVE_POD
        template = {"metadata": {"labels": {"a": "b"}}, "spec": {k: v for k, v in pod.items() if k != "timeoutSeconds"}}
        spec = {"selector": {"matchLabels": {"a": "b"}}, "template": template}
        stand_in = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "a"}, "spec": spec}
        kubernetes_validate.validate(stand_in, NATIVE, strict=True)
    else:
        kubernetes_validate.validate(document, NATIVE, strict=True)


def test_the_checks_can_fail(rendered):
    documents = rendered()
    documents["Deployment"]["spec"]["replicaz"] = 1
    documents["ScaledObject"]["spec"]["cooldown"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        check(documents["Deployment"])
    with pytest.raises(jsonschema.ValidationError):
        check(documents["ScaledObject"])


def test_the_rules_arrive(rendered):
    documents = rendered(
        "serve.sleep.policy=fixed",
        "+serve.sleep.options.timeout_s=90",
        "serve.replicas.max=3",
        "serve.replicas.queue_per_replica=7",
        "serve.limits.response_s=30",
        "serve.limits.queue=9",
    )
    assert list(documents) == [
        "Deployment",
        "Service",
        "InterceptorRoute",
        "ScaledObject",
        "NetworkPolicy",
        "PodDisruptionBudget",
    ]
    scaled, route = documents["ScaledObject"]["spec"], documents["InterceptorRoute"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"], scaled["cooldownPeriod"]) == (0, 3, 90)
    assert route["scalingMetric"]["concurrency"]["targetValue"] == 7
    assert route["timeouts"]["readiness"] == "30s"
    pod = documents["Deployment"]["spec"]["template"]["spec"]
    arguments = pod["containers"][0]["args"]
    assert {"serve.limits.queue=9", "serve.replicas.max=1"} <= set(arguments)
    assert pod["terminationGracePeriodSeconds"] == 40
    assert "securityContext" in pod


def test_credentials_come_from_a_secret(rendered):
    pod = rendered(settings={"variables": ("TOKEN",)})["Deployment"]["spec"]["template"]["spec"]
    key = {"secretKeyRef": {"name": "model-carbon", "key": "TOKEN"}}
    assert pod["containers"][0]["env"][1] == {"name": "TOKEN", "valueFrom": key}


@pytest.mark.parametrize("own", [{}, {"knative": True}])
def test_public_keys_are_a_map_that_the_pod_sees(rendered, own):
    documents = rendered(settings={"trusted": {"/here/signer.pub": "a key"}}, **own)
    assert documents["ConfigMap"]["data"] == {"trusted-0.pem": "a key"}
    server = documents["Service" if own else "Deployment"]
    pod = server["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-2:] == ["--trusted", "/etc/overwinter/trusted-0.pem"]
    assert {"name": "trusted", "mountPath": "/etc/overwinter", "readOnly": True} in pod["containers"][0]["volumeMounts"]
    assert {"name": "trusted", "configMap": {"name": "model-trusted"}} in pod["volumes"]


def test_a_limit_of_waits_is_a_trigger_where_something_measures_them(deployed):
    limit = deployed("serve.replicas.wait_s=1.5", "serve.replicas.max=3")
    common = {"image": "registry.example/model:1", "hostname": "model.example.com"}
    measured = Kubernetes(**common, prometheus="http://prometheus:9090").render(limit)["kubernetes.yaml"]
    scaled = next(document for document in documents_of(measured) if document["kind"] == "ScaledObject")
    trigger = scaled["spec"]["triggers"][-1]
    assert (trigger["metricType"], trigger["metadata"]["threshold"]) == ("Value", "1.5")
    assert "wait_s" not in measured.split("apiVersion")[0]
    for renderer in (Kubernetes(**common), Kubernetes(**common, knative=True, prometheus="http://prometheus:9090")):
        assert "serve.replicas.wait_s=1.5 is left out" in renderer.render(limit)["kubernetes.yaml"]


def test_a_pod_keeps_nothing_and_says_so(deployed, tmp_path):
    keeping = deployed(f"serve.state={tmp_path}", "serve.persistence.response_cache_bytes=1000")
    text = Kubernetes(image="a", hostname="b").render(keeping)["kubernetes.yaml"]
    assert "# serve.state is left out" in text
    assert "serve.persistence" not in text


def test_the_token_is_asked_for_and_not_written(rendered, tmp_path):
    token = tmp_path / "token"
    token.write_text("secret-text")
    token.chmod(0o600)
    documents = rendered(f"serve.access.token_file={token}")
    server = documents["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    assert "serve.access.token_file=/tmp/token" in server["args"]
    assert "umask 077; cat /run/secrets/overwinter/token > /tmp/token" in server["command"][2]
    assert "secret-text" not in str(documents)
    assert str(token) not in str(documents)


def test_a_window_is_a_trigger_that_begins_early(rendered):
    triggers = rendered(f"serve.sleep.windows=[{WINDOW}]", settings={"start_s": 90.0})["ScaledObject"]["spec"][
        "triggers"
    ]
    metadata = {"start": "58 7 * * 1-5", "timezone": "Europe/Berlin", "end": "0 18 * * 1-5", "desiredReplicas": "1"}
    assert triggers[1:] == [{"type": "cron", "metadata": metadata}]


def test_what_must_not_stop_does_not(rendered):
    scaled = rendered("serve.replicas.min=2", "serve.replicas.max=2", gpus=1)["ScaledObject"]["spec"]
    assert (scaled["minReplicaCount"], scaled["maxReplicaCount"]) == (2, 2)


def test_knative_bounds_and_windows(rendered):
    documents = rendered(f"serve.sleep.windows=[{WINDOW}]", knative=True, settings={"fixed_idle_s": 120.0})
    assert list(documents) == ["Service", "ServiceAccount", "Role", "RoleBinding", "CronJob", "NetworkPolicy"]
    annotations = documents["Service"]["spec"]["template"]["metadata"]["annotations"]
    assert annotations["autoscaling.knative.dev/min-scale"] == "0"
    assert annotations["autoscaling.knative.dev/scale-to-zero-pod-retention-period"] == "120s"
    close = documents["CronJob"]["spec"]
    assert (close["schedule"], close["timeZone"]) == ("0 18 * * 1-5", "Europe/Berlin")
    assert documents["Role"]["rules"][0]["resourceNames"] == ["model"]


def test_knative_holds_one_window(rendered):
    with pytest.raises(ConfigError, match="one window"):
        rendered(f"serve.sleep.windows=[{WINDOW},{WINDOW}]", knative=True)


BOTH = pytest.mark.parametrize("own", [{}, {"knative": True}], ids=["keda", "knative"])
PINNED = f"registry.example/model@sha256:{'a' * 64}"


def pod_of(documents):
    return documents["Deployment" if "Deployment" in documents else "Service"]["spec"]["template"]


@BOTH
def test_a_start_may_take_long_and_a_server_that_hangs_is_started_again(rendered, own):
    server = pod_of(rendered(settings={"start_s": 200.0}, **own))["spec"]["containers"][0]
    probes = [server[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")]
    assert {probe["httpGet"]["path"] for probe in probes} == {"/v2/health/live"}  # it wakes no model
    assert probes[0]["failureThreshold"] * probes[0]["periodSeconds"] == 400


@BOTH
def test_every_object_has_the_recommended_labels(rendered, own):
    windowed = rendered(f"serve.sleep.windows=[{WINDOW}]", "serve.replicas.max=2", **own)
    labels = {kind: document["metadata"]["labels"] for kind, document in windowed.items()}
    assert {len(each) for each in labels.values()} == {6}
    expected = {"name": "model", "instance": "model", "version": "ab" * 6, "part-of": "overwinter"}
    for each in [*labels.values(), pod_of(windowed)["metadata"]["labels"]]:
        assert {f"app.kubernetes.io/{key}": value for key, value in expected.items()}.items() <= each.items()
    assert pod_of(windowed)["metadata"]["labels"]["app.kubernetes.io/component"] == "server"
    if own:
        assert labels["CronJob"]["app.kubernetes.io/component"] == "windows"


def test_only_what_is_in_front_reaches_the_pods_and_they_reach_nothing(rendered):
    policy = rendered()["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "model"}}
    assert (policy["policyTypes"], policy["egress"]) == (["Ingress", "Egress"], [])
    (rule,) = policy["ingress"]
    assert namespaces(rule) == [["keda"]]
    assert rule["ports"] == [{"protocol": "TCP", "port": 8080}]


def namespaces(rule):
    return [each["namespaceSelector"]["matchExpressions"][0]["values"] for each in rule["from"]]


@pytest.mark.parametrize(
    ("address", "peer"),
    [
        ("http://prometheus.monitoring:9090", "monitoring"),
        ("http://prometheus.monitoring.svc.cluster.local:9090", "monitoring"),
        ("http://prometheus:9090", {"podSelector": {}}),
        ("https://metrics.example.com", {"namespaceSelector": {}}),
        ("http://10.0.0.7:9090", {"namespaceSelector": {}}),
    ],
)
def test_what_reads_the_metrics_comes_in(rendered, address, peer):
    (rule,) = rendered(prometheus=address)["NetworkPolicy"]["spec"]["ingress"]
    if isinstance(peer, str):
        assert namespaces(rule) == [["keda"], [peer]]
    else:
        assert rule["from"][1] == peer


def test_a_source_of_carbon_intensity_is_reached(rendered):
    outside = rendered(settings={"others": ("carbon=uk_grid",)})["NetworkPolicy"]["spec"]["egress"]
    assert [port["port"] for rule in outside for port in rule["ports"]] == [53, 53, 443]
    assert rendered(settings={"others": ("carbon=constant",)})["NetworkPolicy"]["spec"]["egress"] == []


def test_knatives_own_come_in(rendered):
    policy = rendered(knative=True)["NetworkPolicy"]["spec"]
    assert policy["podSelector"] == {"matchLabels": {"serving.knative.dev/service": "model"}}
    assert "knative-serving" in namespaces(policy["ingress"][0])[0]


@BOTH
def test_several_pods_are_not_taken_away_at_once(rendered, own):
    documents = rendered("serve.replicas.max=3", **own)
    budget = documents["PodDisruptionBudget"]["spec"]
    assert (budget["maxUnavailable"], "minAvailable" in budget) == (1, False)  # else one pod alone would hold its node
    assert budget["selector"] == documents["NetworkPolicy"]["spec"]["podSelector"]
    assert "PodDisruptionBudget" not in rendered(**own)


def test_several_pods_are_spread(rendered, deployed):
    several = rendered("serve.replicas.max=2")["Deployment"]["spec"]["template"]["spec"]["topologySpreadConstraints"]
    assert [rule["topologyKey"] for rule in several] == ["kubernetes.io/hostname", "topology.kubernetes.io/zone"]
    assert "topologySpreadConstraints" not in rendered()["Deployment"]["spec"]["template"]["spec"]
    knative = Kubernetes(image=PINNED, hostname="b", knative=True).render(deployed("serve.replicas.max=2"))
    assert "# Pods are not spread over nodes" in knative["kubernetes.yaml"]


def test_a_movable_image_is_reported_and_no_other_bundle_is_served_from_it(deployed):
    tagged, pinned = (Kubernetes(image=image, hostname="h").render(deployed()) for image in ("a/b:1", PINNED))
    assert "# The image a/b:1 is named by a tag" in tagged["kubernetes.yaml"]
    assert "named by a tag" not in pinned["kubernetes.yaml"]
    server = pod_of({document["kind"]: document for document in documents_of(pinned["kubernetes.yaml"])})
    words = server["spec"]["containers"][0]["args"]
    assert words[words.index("--digest") + 1] == "ab" * 32


@BOTH
def test_a_pod_has_no_right_and_no_room_that_it_does_not_need(rendered, own):
    pod = pod_of(rendered(bundle_bytes=1 << 30, **own))["spec"]
    (server,) = pod["containers"]
    rights = pod.get("securityContext", {}) | server["securityContext"]
    assert (rights["runAsNonRoot"], rights["runAsUser"], rights["runAsGroup"]) == (True, 65532, 65532)
    assert rights["seccompProfile"] == {"type": "RuntimeDefault"}
    assert (rights["readOnlyRootFilesystem"], rights["allowPrivilegeEscalation"]) == (True, False)
    assert rights["capabilities"] == {"drop": ["ALL"]}
    assert pod["automountServiceAccountToken"] is False
    rooms = {volume["name"]: volume.get("emptyDir") for volume in pod["volumes"]}
    assert rooms["scratch"] == {"medium": "Memory", "sizeLimit": "64Mi"}
    assert rooms["copies"] == {"sizeLimit": "2048Mi"}  # on a disk: what memory has no room for
    assert {"name": "TMPDIR", "value": "/var/tmp/overwinter"} in server["env"]
    assert server["resources"]["limits"]["ephemeral-storage"] == "2048Mi"


def test_knative_takes_the_port_by_its_name(rendered):
    """https://knative.dev/docs/serving/services/configure-requests-limits-services: `http1`, `h2c` or none."""
    assert rendered(knative=True)["Service"]["spec"]["template"]["spec"]["containers"][0]["ports"][0]["name"] == "http1"

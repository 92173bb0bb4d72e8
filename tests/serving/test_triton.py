"""Triton's extensions, asked of models whose worker is a stand-in."""

import asyncio
import json
from types import SimpleNamespace

import pytest

from overwinter.serving.messages import Request, RequestError
from overwinter.serving.metrics import DurationTotal
from overwinter.serving.routing import Router
from overwinter.serving.triton import Triton

METADATA = {
    "name": "digits",
    "versions": ["abc"],
    "platform": "overwinter_torch",
    "inputs": [
        {"name": "input", "datatype": "FP32", "shape": [-1, 1, 8, 8]},
        {"name": "raw", "datatype": "UINT8", "shape": [-1, 8, 8]},
    ],
    "outputs": [{"name": "label", "datatype": "BYTES", "shape": [-1]}],
}


def model(**changes):
    model_metrics = {name: DurationTotal() for name in ("succeeded", "failed", "kept", "queued", "computed")}
    plan = SimpleNamespace(name="digits", metadata=METADATA)
    return SimpleNamespace(
        plan=plan, model_metrics=SimpleNamespace(last_s=0.0, **model_metrics), **{"refused": ""} | changes
    )


def ask(path, served, *, method="GET", body=b""):
    route, request = Router(Triton({"digits": served}).routes()).find(
        Request(method=method, path=path, headers={}, body=body)
    )
    return json.loads(asyncio.run(route.handler(request)).body)


@pytest.mark.parametrize("version", ["", "/versions/abc"])
def test_a_configuration_has_the_variant_of_tritons(version):
    found = ask(f"/v2/models/digits{version}/config", model())
    assert found["max_batch_size"] == 0
    assert found["input"] == [
        {"name": "input", "data_type": "TYPE_FP32", "dims": [-1, 1, 8, 8], "optional": True},
        {"name": "raw", "data_type": "TYPE_UINT8", "dims": [-1, 8, 8], "optional": True},
    ]
    assert found["output"] == [{"name": "label", "data_type": "TYPE_STRING", "dims": [-1]}]


@pytest.mark.parametrize("path", ["/v2/models/other/config", "/v2/models/digits/versions/no/stats"])
def test_other_models_and_versions_are_not_there(path):
    with pytest.raises(RequestError) as refusal:
        ask(path, model())
    assert refusal.value.status == 404


@pytest.mark.parametrize(
    "path", ["/v2/models/digits/stats", "/v2/models/digits/versions/abc/stats", "/v2/models/stats"]
)
def test_statistics_are_what_was_counted(path):
    served = model()
    served.model_metrics.last_s = 1700000000.5
    for spent, count in (("succeeded", 3), ("kept", 1), ("failed", 2), ("queued", 4), ("computed", 2)):
        for _ in range(count):
            getattr(served.model_metrics, spent).add(0.25)
    (found,) = ask(path, served)["model_stats"]
    assert (found["name"], found["version"], found["last_inference"]) == ("digits", "abc", 1700000000500)
    assert (found["inference_count"], found["execution_count"]) == (2, 2)
    assert found["inference_stats"]["success"] == {"count": 3, "ns": 750000000}
    assert found["inference_stats"]["queue"] == {"count": 4, "ns": 1000000000}
    assert found["inference_stats"]["cache_hit"]["count"] == 1
    assert found["batch_stats"] == []


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": false}'])
def test_the_index_lists_all(body):
    refused = model(refused="altered")
    assert ask("/v2/repository/index", refused, method="POST", body=body) == [
        {"name": "digits", "version": "abc", "state": "UNAVAILABLE", "reason": "altered"}
    ]


def test_or_only_what_is_ready_and_what_sleeps_is():
    assert ask("/v2/repository/index", model(refused="altered"), method="POST", body=b'{"ready": true}') == []
    (entry,) = ask("/v2/repository/index", model(), method="POST", body=b'{"ready": true}')
    assert entry["state"] == "READY"


@pytest.mark.parametrize("body", [b"x", b"[]", b'{"ready": 1}', b"[" * 30000])
def test_a_body_that_is_not_one_is_refused(body):
    with pytest.raises(RequestError) as refusal:
        ask("/v2/repository/index", model(), method="POST", body=body)
    assert refusal.value.status == 400

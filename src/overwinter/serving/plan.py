"""The supervisor's plan: everything that needs Hydra, numpy or a bundle to determine, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from overwinter.serving.messages import LANGUAGE

if TYPE_CHECKING:
    from overwinter.bundle import Bundle, Keys
    from overwinter.config.groups.serve import ServeConfig, ServiceConfig

_NUMPY_TO_PROTOCOL = {"bool": "BOOL", "float16": "FP16", "float32": "FP32", "float64": "FP64"}


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A model to serve.

    Attributes:
        name: The model's name in URLs.
        bundle: The path of its bundle: a folder or a sealed file.
        digest: The digest of the verified bundle; no other is served.
        kind: `language`, or the name of the runtime that loads it.
        metadata: The model's metadata in the protocol.
    """

    name: str
    bundle: str
    digest: str
    kind: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServePlan:
    """The models to serve, and their settings.

    Attributes:
        models: The models; at least one.
        trusted: The packages whose model classes a worker may build.
        keys: The files of public keys, one of which must have signed a bundle.
        opening: The sources of decryption keys for sealed bundles; the worker reads the keys themselves.
        carbon: The group `carbon/`, validated, as plain data for the forecast's process.
        serve: The group `serve/`, validated. In the supervisor it is not a `ServeConfig`, whose module needs
            OmegaConf, but has the same attributes.
    """

    models: tuple[ModelPlan, ...]
    trusted: tuple[str, ...]
    keys: tuple[str, ...]
    opening: tuple[str, ...]
    carbon: Mapping[str, Any]
    serve: ServeConfig

    def to_json(self) -> str:
        """Return the plan as text for `parse_plan`."""
        return json.dumps(asdict(self))


def make_plan(service: ServiceConfig, bundles: Mapping[str, Bundle], *, keys: Keys) -> ServePlan:
    """Return the plan of a server.

    Args:
        service: The validated configuration.
        bundles: The verified bundles by name in URLs. One from a store has the path of its download: the store is not
            used again, so that neither a moved alias nor an unreachable store keeps a model from waking.
        keys: The keys that verified and opened the bundles.
    """
    models = tuple(
        ModelPlan(
            name=name,
            bundle=str(bundle.source),
            digest=bundle.digest,
            kind=bundle.runtime if bundle.tokenizer is None else LANGUAGE,
            metadata=_metadata(name, bundle),
        )
        for name, bundle in bundles.items()
    )
    return ServePlan(
        models=models,
        trusted=tuple(service.trusted_targets),
        keys=tuple(str(path.resolve()) for path in keys.trusted),
        opening=keys.opening,
        carbon=asdict(service.carbon),
        serve=service.serve,
    )


def parse_plan(text: str) -> ServePlan:
    """Return the plan that `ServePlan.to_json` wrote."""
    content = json.loads(text)
    groups = {
        key: SimpleNamespace(**value) if isinstance(value, dict) else value for key, value in content["serve"].items()
    }
    return ServePlan(
        models=tuple(ModelPlan(**model) for model in content["models"]),
        trusted=tuple(content["trusted"]),
        keys=tuple(content["keys"]),
        opening=tuple(content["opening"]),
        carbon=content["carbon"],
        serve=cast("ServeConfig", SimpleNamespace(**groups)),
    )


def _metadata(name: str, bundle: Bundle) -> dict[str, Any]:
    common = {"name": name, "versions": [bundle.digest[:12]], "platform": f"overwinter_{bundle.runtime}"}
    if bundle.tokenizer is not None:  # served at /v1 only
        return {**common, "inputs": [], "outputs": []}
    inputs = [{"name": "input", "datatype": "FP32", "shape": [-1, *bundle.input_shape]}]
    raw = bundle.preprocessing.get("raw")
    if isinstance(raw, Mapping) and raw.get("shape") is not None:
        inputs.append({"name": "raw", "datatype": _datatype(raw.get("dtype", "float32")), "shape": [-1, *raw["shape"]]})
    return {
        **common,
        "inputs": inputs,
        "outputs": [
            {"name": "logits", "datatype": "FP32", "shape": [-1, len(bundle.labels)]},
            {"name": "label", "datatype": "BYTES", "shape": [-1]},
            {"name": "probability", "datatype": "FP32", "shape": [-1]},
        ],
    }


def _datatype(dtype: str) -> str:
    return _NUMPY_TO_PROTOCOL.get(dtype, dtype.upper())

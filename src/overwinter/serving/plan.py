"""What the supervisor is reported: everything that needs Hydra, numpy or a bundle to find out, as JSON."""

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
        name: in addresses.
        bundle: where it is: a folder or a sealed file.
        digest: of the bundle that was verified; another one is not served.
        kind: `language`, or the name of the runtime that loads it.
        metadata: what the protocol says of the model.
    """

    name: str
    bundle: str
    digest: str
    kind: str
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ServePlan:
    """What to serve, and how.

    Attributes:
        models: at least one.
        trusted: packages whose model classes a worker may build.
        keys: files of public keys, one of which must have signed a bundle.
        opening: sources of the keys that open sealed bundles; the keys themselves are read by the worker.
        carbon: the group `carbon/`, validated; plain, for the process that asks.
        serve: the group `serve/`, validated. In the supervisor it is no `ServeConfig`, whose module needs
            OmegaConf, but has its attributes.
    """

    models: tuple[ModelPlan, ...]
    trusted: tuple[str, ...]
    keys: tuple[str, ...]
    opening: tuple[str, ...]
    carbon: Mapping[str, Any]
    serve: ServeConfig

    def to_json(self) -> str:
        """Return it as text for `parse_plan`."""
        return json.dumps(asdict(self))


def make_plan(service: ServiceConfig, bundles: Mapping[str, Bundle], *, keys: Keys) -> ServePlan:
    """Make the plan of a server.

    Args:
        service: validated.
        bundles: name in addresses -> what was verified. One from a store is where it was fetched to: the store is not
            asked again, since neither an alias that moves nor a store out of reach may keep a model from waking.
        keys: that they were verified and opened with.
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
    if bundle.tokenizer is not None:  # it is asked at /v1
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

"""The supervisor's plan: everything that needs Hydra, numpy or a bundle to determine, as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from overwinter.serving.messages import worker_kind

if TYPE_CHECKING:
    from overwinter.bundle import Bundle, Keys
    from overwinter.config.groups.serve import ServeConfig, ServiceConfig

PROJECT = "project"
"""The value of `serve.ledger.file` that means the ledger of the project around the working folder."""
INFER, PREDICT, EMBED, COMPLETE, CHAT = "infer", "predict", "embed", "complete", "chat"
JSON, TEXT, IMAGES = "application/json", "text/plain", ("image/png", "image/jpeg")
_ACCEPTED = {"image": (JSON, *IMAGES), "text": (JSON, TEXT)}  # by the kind of the preprocessing


@dataclass(frozen=True, kw_only=True)
class ModelPlan:
    """A model to serve.

    Attributes:
        name: The model's name in URLs.
        bundle: The path of its bundle: a folder or a sealed file.
        digest: The digest of the verified bundle; no other is served.
        kind: `language`, or the name of the runtime that loads it.
        metadata: The model's metadata in the protocol.
        operations: What a worker can be asked for: `infer` and `predict`, and `embed` of an encoder; of a language
            model `complete` and `chat`.
        accepts: The media types of a request to predict.
    """

    name: str
    bundle: str
    digest: str
    kind: str
    metadata: Mapping[str, Any]
    operations: tuple[str, ...] = (INFER, PREDICT)
    accepts: tuple[str, ...] = (JSON,)


@dataclass(frozen=True, kw_only=True)
class LedgerPlan:
    """Where and how a server records what it spends.

    Attributes:
        path: The ledger's absolute path.
        project: The project's name in the ledger.
        person: The user; None: not recorded.
        interval_s: The time between two records.
        g_per_kwh: The carbon intensity, if it is the same at all times; None: the source is asked.
    """

    path: Path
    project: str | None
    person: str | None
    interval_s: float
    g_per_kwh: float | None


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
        ledger: The ledger to write; None: none.
    """

    models: tuple[ModelPlan, ...]
    trusted: tuple[str, ...]
    keys: tuple[str, ...]
    opening: tuple[str, ...]
    carbon: Mapping[str, Any]
    serve: ServeConfig
    ledger: LedgerPlan | None = None

    def to_json(self) -> str:
        """Return the plan as text for `parse_plan`."""
        return json.dumps(asdict(self), default=str)


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
            kind=worker_kind(bundle.runtime, generates=bundle.generates),
            metadata=_metadata(name, bundle),
            operations=_operations(bundle),
            accepts=_ACCEPTED.get(bundle.preprocessing.get("kind", ""), (JSON,)),
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
        ledger=_ledger_plan(service),
    )


def parse_plan(text: str) -> ServePlan:
    """Return the plan that `ServePlan.to_json` wrote."""
    content = json.loads(text)
    groups = {
        key: SimpleNamespace(**value) if isinstance(value, dict) else value for key, value in content["serve"].items()
    }
    return ServePlan(
        models=tuple(map(_model, content["models"])),
        trusted=tuple(content["trusted"]),
        keys=tuple(content["keys"]),
        opening=tuple(content["opening"]),
        carbon=content["carbon"],
        serve=cast("ServeConfig", SimpleNamespace(**groups)),
        ledger=None if content["ledger"] is None else _ledger(content["ledger"]),
    )


def _model(content: Mapping[str, Any]) -> ModelPlan:
    tuples = {key: tuple(content[key]) for key in ("operations", "accepts")}
    return ModelPlan(**{**content, **tuples})


def _ledger(content: Mapping[str, Any]) -> LedgerPlan:
    plan = LedgerPlan(**content)
    return replace(plan, path=Path(plan.path))


def _ledger_plan(service: ServiceConfig) -> LedgerPlan | None:
    """Return what `serve.ledger` means here; None outside a project, unless a file is named."""
    from overwinter.ledger import ledger_path, origin_of

    settings = service.serve.ledger
    if settings.file is None:
        return None
    path = ledger_path() if settings.file == PROJECT else Path(settings.file).absolute()
    if settings.file == PROJECT and not (path.exists() or (path.parents[1] / ".dvc").is_dir()):
        return None
    origin = origin_of(path, project=settings.project, record_person=settings.record_person)
    source = service.carbon.open()
    varies = hasattr(source, "forecast")
    return LedgerPlan(
        path=path,
        project=origin.project,
        person=origin.person,
        interval_s=settings.interval_s,
        g_per_kwh=None if varies else source.at(datetime.now(UTC)).g_per_kwh,
    )


def _operations(bundle: Bundle) -> tuple[str, ...]:
    if bundle.generates:
        return COMPLETE, CHAT
    return (INFER, PREDICT, EMBED) if bundle.embeds else (INFER, PREDICT)


def _metadata(name: str, bundle: Bundle) -> dict[str, Any]:
    common = {"name": name, "versions": [bundle.digest[:12]], "platform": f"overwinter_{bundle.runtime}"}
    if bundle.generates:  # served at /v1 only
        return {**common, "inputs": [], "outputs": []}
    from overwinter.bundle.surroundings import open_preprocessing
    from overwinter.serving.tensors_of import input_tensors, output_tensors

    preprocessing = open_preprocessing(bundle, None)
    raw = [] if preprocessing is None else preprocessing.describe_raw()
    return {**common, "inputs": [*input_tensors(bundle), *raw], "outputs": output_tensors(bundle)}

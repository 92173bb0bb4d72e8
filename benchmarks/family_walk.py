"""One model on its way from training to a woken bundle, step by step; see families.py."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import overwinter as ow
from family_models.catalog import Family
from overwinter.config.groups import FitConfig
from overwinter.errors import OverwinterError
from overwinter.inputs import chunks, to_arrays
from overwinter.quantization.settings import CalibratedQuantizeConfig, MixedConfig, ScaleDistillationConfig
from overwinter.sparsity.settings import ChannelsConfig

TRUSTED = ("family_models",)
QUANTIZERS = ("int8_static", "int8_dynamic", "int8_weight_only", "int8_smooth", "int8_grouped")
RUNTIMES = ("torch", "torch-bf16", "onnxruntime", "openvino")
COMPILED = ("dense", "int8_dynamic")  # for torch-compile too, which takes a minute for each
LIMITS = {"nats": 0.25, "of the spread": 0.25}  # mean divergence from dense, by its unit
COMPARED = 64
SEED = 0
PASSED, UNCLAIMED, REFUSED, FAR, FAILED = "passed", "unclaimed", "refused", "far", "failed"


@dataclass(kw_only=True)
class Step:
    """What became of one step.

    Attributes:
        outcome: passed; unclaimed: a runtime that does not claim the variant; refused: by a message; far: further
            from dense than the limit; failed: an internal error.
        words: why; or what was left alone, and why.
        divergence: mean over samples from the dense model's outputs.
        headline: the task's figure on the validation split.
    """

    outcome: str = PASSED
    words: str = ""
    divergence: float | None = None
    headline: float | None = None


@dataclass(kw_only=True)
class Walk:
    """A family on its way; `steps` fills up as it goes.

    Attributes:
        family: what is built, and learns what.
        folder: for models and bundles.
        samples: of the data, at most.
        quantizers: to make a variant with.
        runtimes: to build every variant for.
        compiled: variants to build for torch-compile too.
        steps: what became of each.
    """

    family: Family
    folder: Path
    samples: int = 1797
    quantizers: Sequence[str] = QUANTIZERS
    runtimes: Sequence[str] = RUNTIMES
    compiled: Sequence[str] = ()
    steps: dict[str, Step] = field(default_factory=dict)

    def run(self) -> None:
        """Take every step whose ground is laid."""
        if not self._take("train", self.train):
            return
        variants = ["dense"]
        if self._take("sparsify", self.sparsify):
            variants.append("sparse")
        source = variants[-1]
        variants += [method for method in self.quantizers if self._take(method, self.quantize, method, source)]
        for variant in variants:
            for runtime in (*self.runtimes, *(("torch-compile",) if variant in self.compiled else ())):
                self._take(f"{variant}@{runtime}", self.serve, variant, runtime)

    def _take(self, name: str, work: Callable[..., Step], *given: str) -> bool:
        try:
            self.steps[name] = work(*given)
        except OverwinterError as error:
            self.steps[name] = Step(outcome=REFUSED, words=" ".join(str(error).split()))
        except Exception:  # noqa: BLE001 - the bugs that this is to find
            self.steps[name] = Step(outcome=FAILED, words=traceback.format_exc(limit=-8))
        return self.steps[name].outcome == PASSED

    @cached_property
    def data(self) -> Any:
        """The data source, read for the task."""
        node = {"_target_": f"family_models.data.{self.family.data}", "limit": self.samples}
        source = ow.data.load_data(node, trusted=TRUSTED)
        return source.use(ow.tasks.load_task(self.family.task, source.labels, trusted=TRUSTED))

    @cached_property
    def compared(self) -> Any:
        """Inputs of the test split, on which outputs are compared."""
        return self.data.split("test").first(COMPARED)[0]

    @cached_property
    def dense_outputs(self) -> torch.Tensor:
        """The dense model's outputs for `compared`."""
        return torch.as_tensor(self._outputs(self._load("dense")))

    def train(self) -> Step:
        """Fit the model, and save it with its signature."""
        task, (train, validation) = self.data.task, self._splits()
        model = ow.models.build_model(self.family.model, trusted=TRUSTED, seed=SEED)
        signature = ow.models.find_signature(model, train.singles(4))
        fitted = ow.training.fit(
            model, train, validation, self._fit_settings(), task=task, seed=SEED, device=torch.device("cpu")
        )
        self._save("dense", fitted.model, signature)
        return Step(headline=self._headline(fitted.model))

    def sparsify(self) -> Step:
        """Remove channels, and fine-tune with the dense model as the teacher."""
        task, (train, validation) = self.data.task, self._splits()
        model = self._load("dense")
        sparsifier = _channels(self._fit_settings()).open()
        hooks = sparsifier.prepare(model, train)
        fitted = ow.training.fit(
            model,
            train,
            validation,
            self._fit_settings(),
            task=task,
            seed=SEED,
            device=torch.device("cpu"),
            hooks=hooks,
            loss=ow.training.DistillationLoss(task, self._load("dense"), weight=1.0, temperature=1.0),
        )
        report = sparsifier.report(fitted.model)
        description = ow.models.load_description(self.folder / "dense")
        self._save("sparse", fitted.model, ow.models.signature_of(description))
        step = self._judged(self._outputs(fitted.model), _left_alone(report.left_alone))
        step.headline = self._headline(fitted.model)
        return step

    def quantize(self, method: str, source: str) -> Step:
        """Make one quantized variant."""
        train, validation = self._splits()
        report = ow.quantization.quantize(
            method,
            self.folder / source,
            self.folder / method,
            calibration=to_arrays(train.spread(COMPARED, seed=SEED)[0]),
            held_out=to_arrays(validation.spread(COMPARED, seed=SEED)[0]),
            settings=_quantize_settings(method),
            task=self.data.task,
            lineage={},
            trusted=TRUSTED,
        )
        return Step(words=_left_alone(report.left_in_float))

    def serve(self, variant: str, runtime: str) -> Step:
        """Build a variant for a runtime, compare its outputs with dense's, put it into a bundle and wake it."""
        if reason := ow.runtime.refusal(self.folder / variant, runtime):
            return Step(outcome=UNCLAIMED, words=reason)
        built, examples = self.folder / f"{variant}@{runtime}", to_arrays(self.compared)
        ow.runtime.build(self.folder / variant, runtime, built, examples=examples, trusted=TRUSTED)
        session = ow.runtime.open_session(built, runtime, 1, trusted=TRUSTED)
        outputs = np.concatenate([session.run(chunk) for chunk in chunks(examples, 16)])
        woken = self._woken(variant, runtime, built).run(examples)
        # A woken language model gives the logits after the last token only.
        same = outputs[:, -1] if woken.ndim < outputs.ndim else outputs
        if not np.allclose(woken, same, atol=0.02 * np.abs(same).max()):
            return Step(outcome=FAILED, words="the woken model has other outputs than the session")
        return self._judged(outputs)

    def _woken(self, variant: str, runtime: str, built: Path) -> Any:
        bundle = self.folder / f"{variant}@{runtime}.bundle"
        ow.bundle.hibernate(
            bundle,
            payload=built,
            facts=ow.bundle.BundleFacts(
                variant=variant,
                runtime=runtime,
                signature=ow.models.signature_of(ow.models.load_description(self.folder / variant)),
                labels=self.data.labels,
                preprocessing={},
                production_energy_j=None,
                lineage={},
                task=self.family.task,
            ),
            canary_inputs=to_arrays(self.data.split("validation").first(4)[0]),
            canary_tolerance=0.02,
            trusted=TRUSTED,
        )
        return ow.bundle.wake(bundle, trusted=TRUSTED)

    def _splits(self) -> tuple[Any, Any]:
        return self.data.split("train"), self.data.split("validation")

    def _fit_settings(self) -> FitConfig:
        return FitConfig(
            epochs=1,
            batch_size=8,
            learning_rate=self.family.learning_rate,
            weight_decay=0.01,
            warmup_fraction=0.1,
            gradient_clip_norm=1.0,
            patience_epochs=0,
            precision="fp32",
            checkpoint_interval_s=1e9,
        )

    def _save(self, variant: str, model: nn.Module, signature: Any) -> None:
        ow.models.save_model(
            self.folder / variant,
            model,
            variant=variant,
            model_config=self.family.model,
            signature=signature,
            lineage={},
        )

    def _load(self, variant: str) -> nn.Module:
        return ow.models.load_model(self.folder / variant, trusted=TRUSTED)

    def _outputs(self, model: nn.Module) -> Any:
        with torch.inference_mode():
            return model.eval()(self.compared).numpy()

    def _headline(self, model: nn.Module) -> float:
        score = ow.training.evaluate(model, self.data.split("validation"), self.data.task)
        return float(score.measures[self.data.task.headline.name])

    def _judged(self, outputs: Any, words: str = "") -> Step:
        dense, task = self.dense_outputs, self.data.task
        if outputs.ndim < dense.dim():  # a language session's: logits after the last token only
            dense = dense[:, -1]
        found = float(task.divergence(torch.as_tensor(outputs), dense).mean())
        if found <= LIMITS[task.divergence_unit]:
            return Step(divergence=found, words=words)
        return Step(outcome=FAR, divergence=found, words=words)


def _left_alone(layers: Mapping[str, str]) -> str:
    """Return the layers that were left alone, by the reason."""
    reasons: dict[str, list[str]] = {}
    for layer, reason in layers.items():
        reasons.setdefault(reason, []).append(layer)
    return "; ".join(f"{', '.join(names)}: {reason}" for reason, names in reasons.items())


def _channels(fit: FitConfig) -> ChannelsConfig:
    return ChannelsConfig(
        version=1,
        method="channels",
        amount=0.25,
        skip=[],
        distillation_weight=1.0,
        distillation_temperature=1.0,
        fit=fit,
    )


def _quantize_settings(method: str) -> CalibratedQuantizeConfig:
    return CalibratedQuantizeConfig(
        version=2,
        methods=[method],
        calibration_samples=COMPARED,
        calibration_text="data",
        calibration_method="minmax",
        skip=[],
        overrides={},
        embedding="int8",
        head="as_embedding",
        scale_distillation=ScaleDistillationConfig(steps=0, learning_rate=0.001, batch_size=32, zeros=False),
        sensitivity_samples=0,
        mixed=MixedConfig(max_size_ratio=None, max_divergence=None),
        min_agreement=0.0,
    )


def verdict(steps: Mapping[str, Step]) -> str:
    """Return whether a family goes through: passed, refused, or failed.

    It passes if it learns, is pruned, has an int8 variant, and every runtime that claims a variant serves it, from a
    bundle too, near enough to dense.
    """
    outcomes = {step.outcome for step in steps.values()}
    if not outcomes.isdisjoint({FAILED, FAR}):
        return FAILED
    served = {name: step.outcome for name, step in steps.items() if "@" in name and step.outcome != UNCLAIMED}
    int8 = any(name.startswith("int8") for name, outcome in served.items() if outcome == PASSED)
    laid = all(name in steps and steps[name].outcome == PASSED for name in ("train", "sparsify"))
    return PASSED if laid and int8 and set(served.values()) == {PASSED} else REFUSED

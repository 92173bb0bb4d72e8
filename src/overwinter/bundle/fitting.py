"""Whether what a bundle says of its model fits what it recorded, so that requests need not fail later."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from overwinter.bundle.facts import Bundle, BundleFacts, Canary
from overwinter.bundle.folder import REMEDY
from overwinter.errors import ConfigError, IntegrityError
from overwinter.inputs import named
from overwinter.signature import OUTPUT, Signature, TensorSpec

# Axis of the outputs that has one side per label; own tasks check theirs themselves.
_LABEL_AXES = {"classification": -1, "multilabel": -1, "token_classification": -1, "segmentation": 1}


def with_output(facts: BundleFacts, canary: Canary) -> BundleFacts:
    """Return the facts with the signature's output as the canary recorded it, if an older Overwinter left it out."""
    if facts.signature.outputs or facts.generates:
        return facts
    output = TensorSpec(name=OUTPUT, dtype="float32", shape=(None, *canary.outputs.shape[1:]))
    return replace(facts, signature=Signature(inputs=facts.signature.inputs, outputs=(output,)))


def check_fit(bundle: Bundle) -> None:
    """Check a verified bundle.

    Raises:
        IntegrityError: Its signature, labels and canary contradict each other.
    """
    wrong = next(_contradictions(bundle), None)
    if wrong is not None:
        raise IntegrityError(f"{bundle.source} contradicts itself ({wrong}). {REMEDY}")


def _contradictions(bundle: Bundle) -> Iterator[str]:
    canary = bundle.canary
    if not bundle.generates:  # a language model's canary is the beginning of its windows
        try:
            bundle.signature.check(canary.inputs, what="the recorded inputs")
        except ConfigError as error:
            yield f"signature: {str(error).partition('. Was')[0]}"
            return
    counts = [*map(len, named(canary.inputs).values()), len(canary.outputs)]
    counts += [] if canary.raw is None else [len(canary.raw)]
    if len(set(counts)) > 1:
        yield f"canary: inputs, outputs and raw samples are {', '.join(map(str, counts))}"
    if bundle.generates:
        return
    outputs = list(canary.outputs.shape[1:])
    if not bundle.signature.outputs[0].fits(canary.outputs):
        yield f"signature: {bundle.signature.outputs[0]}, but recorded outputs of {outputs}"
    axis = _LABEL_AXES.get(bundle.task.get("name", ""))
    if axis is not None and (not outputs or canary.outputs.shape[axis] != len(bundle.labels)):
        yield f"labels: {len(bundle.labels)}, but outputs of {outputs}"

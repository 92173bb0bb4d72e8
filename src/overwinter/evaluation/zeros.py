"""What single zeros buy: bytes where a file holds them packed, and joules only on a runtime whose kernels skip them.

Zeros of an unstructured mask are meant. Channels that are gone make a model smaller, which any runtime gains from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from overwinter.evaluation.candidate import Candidate
from overwinter.evaluation.choosing import DENSE

_FEW = 0.1  # share of zeros below which nothing is said: a model may have some by chance


def zeros_of(descriptions: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """Return variant -> share of zeros, of the float variants that have as many weights as dense and many zeros.

    Args:
        descriptions: variant -> its ``model.json``, dense among them.
    """
    dense = descriptions[DENSE]
    return {
        variant: each["sparsity"]
        for variant, each in descriptions.items()
        if variant != DENSE
        and each["quantization"] is None
        and each["parameters"] == dense["parameters"]
        and each["sparsity"] > _FEW + dense["sparsity"]
    }


def on_zeros(candidates: Sequence[Candidate], zeros: Mapping[str, float]) -> list[str]:
    """Return one line per variant with single zeros: its bytes and joules over dense's on each runtime.

    Args:
        candidates: all that were measured.
        zeros: variant -> share of zeros; see `zeros_of`.
    """
    found = {(each.variant, each.runtime): each for each in candidates}
    lines = []
    for variant, share in zeros.items():
        pairs = [
            (each, found[DENSE, each.runtime])
            for each in candidates
            if each.variant == variant and (DENSE, each.runtime) in found
        ]
        if pairs:
            lines.append(f"{variant} has {share:.0%} zeros: {'; '.join(map(_over_dense, pairs))}. {_verdict(pairs)}")
    return lines


def _over_dense(pair: tuple[Candidate, Candidate]) -> str:
    sparse, dense = pair
    return (
        f"on {sparse.runtime} {sparse.size_bytes / dense.size_bytes:.2f} times dense's bytes and "
        f"{sparse.energy_j / dense.energy_j:.2f} times its joules per response"
    )


def _verdict(pairs: Sequence[tuple[Candidate, Candidate]]) -> str:
    saving = [sparse.runtime for sparse, dense in pairs if sparse.energy_ci_j[1] < dense.energy_ci_j[0]]
    if saving:
        return f"They save joules beyond the uncertainty on {', '.join(saving)}"
    return "No runtime here skips single zeros: they save bytes where the file holds them packed, and no joules"

from types import SimpleNamespace

import pytest

from overwinter.evaluation import Candidate, Quality, on_zeros, zeros_of
from overwinter.tasks import Measure


def candidate(variant, energy_j, size_bytes, *, runtime="torch", spread_j=0.1):
    return Candidate(
        variant=variant,
        runtime=runtime,
        simplicity=0,
        size_bytes=size_bytes,
        quality=Quality(
            headline=Measure(name="accuracy"), figures={"accuracy": 0.9}, interval=(0.9, 0.9), loss_interval=(0.0, 0.0)
        ),
        cost=SimpleNamespace(
            energy_per_response_j=energy_j, energy_per_response_ci_j=(energy_j - spread_j, energy_j + spread_j)
        ),
    )


def description(sparsity, *, parameters=100, quantization=None):
    return {"sparsity": sparsity, "parameters": parameters, "quantization": quantization}


def test_zeros_that_no_kernel_skips_save_bytes_alone():
    candidates = [
        candidate("dense", 10.0, 1000),
        candidate("sparse", 10.02, 270),
        candidate("dense", 5.0, 1000, runtime="onnxruntime"),
        candidate("sparse", 5.0, 1000, runtime="onnxruntime"),
        candidate("int8", 3.0, 120),
    ]
    (line,) = on_zeros(candidates, {"sparse": 0.8})
    assert line == (
        "sparse has 80% zeros: on torch 0.27 times dense's bytes and 1.00 times its joules per response; "
        "on onnxruntime 1.00 times dense's bytes and 1.00 times its joules per response. "
        "No runtime here skips single zeros: they save bytes where the file holds them packed, and no joules"
    )


def test_a_runtime_that_skips_zeros_is_named():
    candidates = [candidate("dense", 10.0, 1000), candidate("sparse", 6.0, 270)]
    (line,) = on_zeros(candidates, {"sparse": 0.8})
    assert line.endswith("They save joules beyond the uncertainty on torch")


def test_a_variant_without_dense_beside_it_is_not_spoken_of():
    assert on_zeros([candidate("dense", 1, 1), candidate("sparse", 1, 1, runtime="x")], {"sparse": 0.8}) == []


@pytest.mark.parametrize(
    "other",
    [
        description(0.8, parameters=50),
        description(0.8, quantization={"method": "int8_dynamic"}),
        description(0.05),
    ],
    ids=["channels are gone", "integers", "a few zeros by chance"],
)
def test_only_float_variants_with_many_single_zeros_count(other):
    dense = description(0.0)
    assert zeros_of({"dense": dense, "other": other, "sparse": description(0.8)}) == {"sparse": 0.8}

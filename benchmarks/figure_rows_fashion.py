"""The figures of Fashion-MNIST: the case, training levers, weights and channels removed, training aware of rounding."""

from __future__ import annotations

from collections.abc import Iterator

from figure_rows import Row, has_result, interval, result

_SPARSE = {
    "sparse_80": "80 % of the weights zero, distilled",
    "sparse_80_int8": "the same in int8",
    "rigl_90": "90 % zero from the first step on (RigL)",
}
_SPARSE_SIZES = {"sparse_80_int8": "0.10"}
_GAINS = {
    "int4_relaxed over int4_straight_through": "",
    "int4_inputs_too_relaxed over int4_inputs_too_straight_through": ", inputs in 4 bits too",
    "int4_inputs_too_relaxed over int4_inputs_too_straight_through_learned": ", the same, its scales learned too",
}
_SMALLER = {"shrunk": "while training", "pruned": "from the trained model"}
_OPERATIONS = {"pruned": "0.34"}


def fashion_rows() -> Iterator[Row]:
    """Return the rows of pipelines/fashion, and of what trains for less."""
    case = result("fashion")
    yield "Fashion-MNIST: test accuracy, dense", f"{case['accuracy_dense']:.2%}", "91 %"
    lost = 100 * (case["accuracy_dense"] - case["accuracy_chosen"])
    yield "Fashion-MNIST: points lost by both compressions", f"{lost:.2f}", "1"
    chosen, eager = (case["comparison"][name]["1"]["cpu_s_per_response"] for name in (case["chosen"], "dense@torch"))
    what = f"Fashion-MNIST: CPU time per response over eager fp32, batch 1 ({case['chosen']})"
    yield what, f"{chosen / eager:.2f}", "0.3"
    train_s = next(row["duration_s"] for row in case["stages"] if row["stage"] == "train")
    yield "Fashion-MNIST: training on two shared cores", f"{train_s:.0f} s", "90 s"
    yield from _lever_rows()
    yield from _structured_rows()
    yield from _training_rows()


def sparse_fashion_rows() -> Iterator[Row]:
    """Return the rows of weights removed from the net, and of nets that are sparse from the start."""
    if not has_result("sparsity_fashion"):
        return
    for method, row in result("sparsity_fashion")["methods"].items():
        (low, high), what = row["lost_points_95"], f"Fashion-MNIST, {_SPARSE[method]}"
        of = f"{what}: points lost of {100 * row['accuracy_dense']:.1f}, {row['seeds']} seeds"
        yield of, f"{row['lost_points']:+.2f} ({low:+.2f} to {high:+.2f})", f"{row['asked_lost_points']:g}"
        yield f"{what}: the weights' file over dense's", f"{row['size_ratio']:.3f}", _SPARSE_SIZES.get(method, "")
        if "flops_ratio" in row:
            of = f"{what}: operations in training over dense's, if zeros are skipped"
            yield of, f"{row['flops_ratio']:.2f}", "below 1"


def _lever_rows() -> Iterator[Row]:
    if not has_result("training"):
        return
    found = result("training")
    for row, each in found["medians"].items():
        if each["ratio_to_plain"] is None:  # the plain script was not measured yet
            continue
        what = f"Fashion-MNIST, CPU time to {found['target']:.0%} on validation over a plain script's: {row}"
        tests = ", ".join(f"{accuracy:.1%}" for accuracy in each["accuracy_test"])
        reached = "" if each["reached"] else ", not always reached"
        asked = f"{found['asked_ratios'][0]}, then {found['asked_ratios'][1]}" if row.startswith("+ whitened") else ""
        yield what, f"{each['ratio_to_plain']:.3f} (test {tests}{reached})", asked


def _structured_rows() -> Iterator[Row]:
    if not has_result("structured"):
        return
    found = result("structured")
    for fit, what in _SMALLER.items():
        lost, asked = interval(found["lost_points"][fit]), found["asked_lost_points"][fit]
        of = f"Fashion-MNIST, channels removed {what}"
        yield f"{of}: points lost", lost, f"{asked:g}"
        yield f"{of}: operations over dense's", f"{found['flops_ratio'][fit]['mean']:.2f}", _OPERATIONS.get(fit, "")
        times = ", ".join(f"{name} {fits[fit]['mean']:.2f}" for name, fits in found["times_less_cpu_s"].items())
        target = f"{found['asked_times_less_cpu_s']:g}" if fit == "pruned" else ""
        yield f"{of}: times less CPU time per response, batch {found['batch']}", times, target
    ratio, asked = found["training_cpu_s_ratio"]["mean"], found["asked_training_cpu_s_ratio"]
    yield (
        "Fashion-MNIST, channels removed while training: CPU time of training over dense's",
        f"{ratio:.2f}",
        f"{asked:g}",
    )


def _training_rows() -> Iterator[Row]:
    qat = result("qat")
    gained = {pair: interval(found) for pair, found in qat["gained_points_paired"].items()}
    for method, target in qat["asked_lost_points"].items():
        lost = qat["lost_points"][method]
        paired = gained.get(f"{method} over float")
        more = f"; {paired} over an epoch in float" if paired else ""
        yield f"Fashion-MNIST: points lost by {method}, seeds: {lost['seeds']}", f"{interval(lost)}{more}", f"{target}"
    for pair, what in _GAINS.items():
        nats = qat["gained_nats_paired"].get(pair)
        value = gained[pair] + (f"; {interval(nats, 4)} nats" if nats else "")
        yield f"Fashion-MNIST: points gained by relaxed quantization over straight-through{what}", value, "0"

"""What the loop of a sweep decides, without DVC."""

from overwinter.sweep.running import committed_before

STAGES = ["train", "sparsify", "quantize"]


def test_a_program_that_starts_tells_what_is_committed():
    assert committed_before("check", STAGES) == ()
    assert committed_before("train", STAGES) == []
    assert committed_before("gate-train", STAGES) == ["train"]
    assert committed_before("quantize", STAGES) == ["train", "sparsify"]
    assert committed_before("gate-hibernate", STAGES) == ()

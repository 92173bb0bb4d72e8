"""Two ranks of a distributed training agree to stop if one of them wants to."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from overwinter.integrations.ranks import AGREE_EVERY, agreed

RANK = """
import json, os, sys
from torch import distributed
from overwinter.integrations.ranks import agreed

rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method=f"file://{sys.argv[2]}", rank=rank, world_size=2)
print(json.dumps([agreed(rank == 0 and step > 12, step, "cpu") for step in range(0, 31)]))
"""


def test_alone_a_rank_stops_when_it_wants():
    assert not agreed(False, 3, "cpu")
    assert agreed(True, 3, "cpu")


def test_both_ranks_stop_at_the_first_agreement_after_one_wants_to(tmp_path: Path):
    command = [sys.executable, "-c", RANK]
    ranks = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in (0, 1)
    ]
    decisions = [json.loads(rank.communicate(timeout=120)[0]) for rank in ranks]
    expected = [step % AGREE_EVERY == 0 and step > 12 for step in range(31)]
    assert decisions == [expected, expected]

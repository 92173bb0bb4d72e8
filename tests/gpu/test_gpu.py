"""That the device is as strict as CUDA: what the other tests here rely on."""

import pytest
import torch


def test_operands_must_be_on_one_device():
    here, there = torch.ones(3, 3), torch.ones(3, 3, device="cuda")
    for mixed in (
        lambda: there + here,
        lambda: there @ here,
        lambda: torch.cat([there, here]),
        lambda: torch.where(there > 0, here, there),
        lambda: here[there[0].long()],
        lambda: torch.nn.functional.embedding(here[0].long(), there),
        lambda: there.addmm_(here, there),
    ):
        with pytest.raises(RuntimeError, match="device"):
            mixed()


def test_scalars_and_indices_may_be_on_the_cpu():
    there = torch.arange(3.0, device="cuda")
    assert (there * torch.tensor(2.0)).tolist() == [0, 2, 4]
    assert there[torch.tensor([2, 0])].tolist() == [2, 0]


def test_numpy_reads_what_is_on_the_cpu_only():
    with pytest.raises(TypeError, match="can't convert cuda:0"):
        torch.ones(1, device="cuda").numpy()


def test_memory_is_counted():
    before = torch.cuda.memory_allocated()
    held = torch.zeros(1 << 20, device="cuda")
    part = held[:1]
    del held
    assert torch.cuda.memory_allocated() >= before + (4 << 20), "a view keeps the whole"
    del part
    assert torch.cuda.memory_allocated() == before
    assert torch.cuda.max_memory_allocated() >= before + (4 << 20)

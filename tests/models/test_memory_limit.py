import resource

import pytest

from overwinter.models.memory_limit import memory_limited


def test_memory_ends_where_it_is_reported_to_and_comes_back():
    before = resource.getrlimit(resource.RLIMIT_DATA)
    with pytest.raises(MemoryError), memory_limited(1 << 24):
        bytearray(1 << 30)
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    with memory_limited(1 << 30):
        assert len(bytearray(1 << 24)) == 1 << 24

import os

import pytest

from overwinter.bundle import pages

MIB = 1 << 20


@pytest.fixture
def memory():
    handle = os.memfd_create("test", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(handle, 7 * MIB + 5)
    yield handle
    os.close(handle)


@pytest.mark.parametrize("begin", [0, 1, MIB, 2 * MIB, 6 * MIB])
def test_what_is_written_afterwards_is_all_that_is_there(memory, begin):
    pages.take_huge_pages(memory, begin, 7 * MIB + 5 - begin)
    assert os.fstat(memory).st_size == 7 * MIB + 5
    assert os.pread(memory, 8 * MIB, 0) == bytes(7 * MIB + 5)
    content = os.urandom(1000)
    os.pwrite(memory, content, 3 * MIB - 500)
    assert os.pread(memory, 1000, 3 * MIB - 500) == content


def test_where_the_system_refuses_nothing_is_lost(memory, monkeypatch):
    monkeypatch.setattr(pages, "_MADV_COLLAPSE", 1000)  # no such advice
    pages.take_huge_pages(memory, 0, 4 * MIB)
    monkeypatch.setattr(pages, "_HUGE_BYTES", 1 << 46)  # no such room
    pages.take_huge_pages(memory, 0, 1 << 46)
    os.pwrite(memory, b"x" * 9, 0)
    assert os.pread(memory, 10, 0) == b"x" * 9 + b"\0"


def test_no_mapping_stays_behind_to_keep_a_file_writable(memory):
    import fcntl

    pages.take_huge_pages(memory, 0, 7 * MIB)
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    with pytest.raises(PermissionError):
        os.pwrite(memory, b"x", 0)

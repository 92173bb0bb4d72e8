"""A reading that fails in passing is bridged for about a second; one that fails for good is reported at once."""

from __future__ import annotations

import errno

import pytest

from overwinter.energy.patient import Patient


def scripted(*responses: int | Exception) -> Patient:
    values = iter(responses)

    def read() -> int:
        response = next(values)
        if isinstance(response, Exception):
            raise response
        return response

    return Patient(read)


def test_a_passing_failure_gives_the_last_value() -> None:
    read = scripted(1, OSError(errno.EAGAIN, "busy"), ValueError("half a line"), 4)
    assert [read() for _ in range(4)] == [1, 1, 1, 4]


@pytest.mark.parametrize("code", [errno.EACCES, errno.ENOENT, errno.ENODEV])
def test_a_lasting_failure_is_reported_at_once(code: int) -> None:
    read = scripted(1, OSError(code, "gone"))
    read()
    with pytest.raises(OSError, match="gone"):
        read()


def test_a_failure_that_goes_on_is_reported() -> None:
    read = scripted(1, *[OSError(errno.EIO, "broken")] * 20)
    assert [read() for _ in range(11)] == [1] * 11
    with pytest.raises(OSError, match="broken"):
        read()


def test_without_a_first_value_there_is_nothing_to_give() -> None:
    with pytest.raises(ValueError, match="empty"):
        scripted(ValueError("empty"))()

"""Who may stay when there are too many."""

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.seats import Seats, counted_address


class Task:
    """Stands in for the task that serves a connection."""

    def __init__(self):
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def sit():
    """Take a seat; give it, and the client's end of the connection."""
    with contextlib.ExitStack() as stack:

        def sit(seats, address=None):
            ours, theirs = map(stack.enter_context, socket.socketpair())
            seat = seats.take(ours, address)
            if seat is not None:
                seat.task = Task()
            return seat, theirs

        yield sit


def test_the_one_that_waits_longest_leaves_for_a_new_one(sit):
    seats = Seats(2, 9)
    (first, _), (second, _) = sit(seats), sit(seats)
    seats.wait(first)  # it was answered meanwhile, and waits since now
    assert sit(seats)[0] is not None
    assert (first.task.cancelled, second.task.cancelled) == (False, True)


def test_who_sends_a_body_leaves_after_all_who_wait(sit):
    seats = Seats(2, 9)
    (sends, _), (waits, _) = sit(seats), sit(seats)
    seats.receive(sends)
    for who in (waits, sends):
        (new, _) = sit(seats)
        assert who.task.cancelled
        seats.work(new)
    assert sit(seats)[0] is None


def test_who_has_just_spoken_stays(sit):
    seats = Seats(1, 9)
    seat, client = sit(seats)
    client.send(b"GET")
    assert sit(seats)[0] is None
    assert not seat.task.cancelled


def test_who_has_closed_its_side_does_not(sit):
    seats = Seats(1, 9)
    seat, client = sit(seats)
    client.close()
    assert sit(seats)[0] is not None
    assert seat.task.cancelled


def test_an_address_that_has_too_many_makes_room_among_its_own(sit):
    seats = Seats(9, 2)
    (other, _), (first, _), (second, _) = sit(seats, "b"), sit(seats, "a"), sit(seats, "a")
    seats.work(second)
    assert sit(seats, "a")[0] is not None
    assert (other.task.cancelled, first.task.cancelled) == (False, True)


def test_an_address_whose_connections_are_all_at_work_gets_no_more(sit):
    seats = Seats(9, 1)
    seat, _ = sit(seats, "a")
    seats.work(seat)
    assert sit(seats, "a")[0] is None
    assert sit(seats, "b")[0] is not None
    assert sit(seats, None)[0] is not None
    seats.leave(seat)
    assert sit(seats, "a")[0] is not None


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["take", "leave", "wait", "receive", "work"]), st.integers(0, 5)), max_size=40),
)
def test_there_are_never_more_than_may_be(most, most_per_address, steps):
    seats, taken = Seats(most, most_per_address), []
    with socket.socket() as client:
        for step, number in steps:
            address = (None, "a", "b")[number % 3]
            if step == "take":
                taken += [seat] if (seat := seats.take(client, address)) is not None else []
                for each in taken:
                    each.task = each.task or Task()
            elif taken:
                getattr(seats, step)(taken[number % len(taken)])
            there = [each for each in taken if each.task in seats.tasks()]
            assert len(there) <= most
            assert all(sum(each.address == name for each in there) <= most_per_address for name in "ab")
            assert all(not each.task.cancelled for each in there)


@pytest.mark.parametrize(
    ("peer", "address"),
    [
        (("192.0.2.7", 1234), "192.0.2.7"),
        (("::ffff:192.0.2.7", 1234, 0, 0), "192.0.2.7"),
        (("2001:db8:1:2:3:4:5:6", 1234, 0, 0), "2001:db8:1:2::"),
        (("fe80::1%eth0", 1234, 0, 2), "fe80::"),
        (("127.0.0.1", 1234), None),
        (("::1", 1234, 0, 0), None),
        (("::ffff:127.0.0.1", 1234, 0, 0), None),
        ("", None),
    ],
)
def test_addresses_are_counted_by_who_has_them(peer, address):
    assert counted_address(peer) == address


def test_silent_connections_do_not_keep_others_out(at_door, settings):
    settings.limits.connections = 50

    async def scenario(port, _door):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(80)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        answer = await asyncio.wait_for(reader.read(), 5)
        for _, each in [*silent, (reader, writer)]:
            each.close()
        return answer

    assert at_door(scenario).startswith(b"HTTP/1.1 200")

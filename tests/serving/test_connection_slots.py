"""Who may stay when there are too many."""

import asyncio
import contextlib
import socket

import pytest
from hypothesis import given
from hypothesis import strategies as st

from overwinter.serving.connection_slots import ConnectionSlots, counted_address


class Task:
    """Stands in for the task that serves a connection."""

    def __init__(self):
        self.cancelled = False

    def cancel(self):
        self.cancelled = True


@pytest.fixture
def sit():
    """Take a slot; give it, and the client's end of the connection."""
    with contextlib.ExitStack() as stack:

        def sit(slots, address=None):
            ours, theirs = map(stack.enter_context, socket.socketpair())
            slot = slots.take(ours, address)
            if slot is not None:
                slot.task = Task()
            return slot, theirs

        yield sit


def test_the_one_that_waits_longest_leaves_for_a_new_one(sit):
    slots = ConnectionSlots(2, 9)
    (first, _), (second, _) = sit(slots), sit(slots)
    slots.wait(first)  # it was answered meanwhile, and waits since now
    assert sit(slots)[0] is not None
    assert (first.task.cancelled, second.task.cancelled) == (False, True)


def test_who_sends_a_body_leaves_after_all_who_wait(sit):
    slots = ConnectionSlots(2, 9)
    (sends, _), (waits, _) = sit(slots), sit(slots)
    slots.receive(sends)
    for who in (waits, sends):
        (new, _) = sit(slots)
        assert who.task.cancelled
        slots.work(new)
    assert sit(slots)[0] is None


def test_who_has_just_spoken_stays(sit):
    slots = ConnectionSlots(1, 9)
    slot, client = sit(slots)
    client.send(b"GET")
    assert sit(slots)[0] is None
    assert not slot.task.cancelled


def test_who_has_closed_its_side_does_not(sit):
    slots = ConnectionSlots(1, 9)
    slot, client = sit(slots)
    client.close()
    assert sit(slots)[0] is not None
    assert slot.task.cancelled


def test_an_address_that_has_too_many_makes_room_among_its_own(sit):
    slots = ConnectionSlots(9, 2)
    (other, _), (first, _), (second, _) = sit(slots, "b"), sit(slots, "a"), sit(slots, "a")
    slots.work(second)
    assert sit(slots, "a")[0] is not None
    assert (other.task.cancelled, first.task.cancelled) == (False, True)


def test_an_address_whose_connections_are_all_at_work_gets_no_more(sit):
    slots = ConnectionSlots(9, 1)
    slot, _ = sit(slots, "a")
    slots.work(slot)
    assert sit(slots, "a")[0] is None
    assert sit(slots, "b")[0] is not None
    assert sit(slots, None)[0] is not None
    slots.leave(slot)
    assert sit(slots, "a")[0] is not None


@given(
    st.integers(1, 4),
    st.integers(1, 4),
    st.lists(st.tuples(st.sampled_from(["take", "leave", "wait", "receive", "work"]), st.integers(0, 5)), max_size=40),
)
def test_there_are_never_more_than_may_be(most, max_per_address, steps):
    slots, taken = ConnectionSlots(most, max_per_address), []
    with socket.socket() as client:
        for step, number in steps:
            address = (None, "a", "b")[number % 3]
            if step == "take":
                taken += [slot] if (slot := slots.take(client, address)) is not None else []
                for each in taken:
                    each.task = each.task or Task()
            elif taken:
                getattr(slots, step)(taken[number % len(taken)])
            there = [each for each in taken if each.task in slots.tasks()]
            assert len(there) <= most
            assert all(sum(each.address == name for each in there) <= max_per_address for name in "ab")
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


def test_silent_connections_do_not_keep_others_out(at_server, settings):
    settings.limits.connections = 50

    async def scenario(port, _http_server):
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(80)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET /health HTTP/1.1\r\nHost: here\r\nConnection: close\r\n\r\n")
        response = await asyncio.wait_for(reader.read(), 5)
        for _, each in [*silent, (reader, writer)]:
            each.close()
        return response

    assert at_server(scenario).startswith(b"HTTP/1.1 200")

import os
import signal
import subprocess
import sys
import time

import pytest

from overwinter.pipeline.signals import default_interrupts_handled, ignored, interrupts_handled, restore_termination


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupt_is_handled_inside_and_as_before_outside(number):
    before, handled = signal.getsignal(number), []
    with interrupts_handled(lambda: handled.append(number)):
        os.kill(os.getpid(), number)
        os.kill(os.getpid(), number)
    assert handled == [number, number]
    assert signal.getsignal(number) is before


def test_the_earlier_handlers_come_back_after_an_error():
    before = signal.getsignal(signal.SIGINT)

    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), interrupts_handled(interrupt):
        os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_handler_that_a_library_puts_back_later_does_what_the_previous_one_does():
    handled: list[int] = []
    previous = signal.signal(signal.SIGTERM, lambda number, _: handled.append(number))
    try:
        with interrupts_handled(lambda: pytest.fail("its context has ended")):
            kept = signal.getsignal(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)  # a library takes the signal inside
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
        signal.signal(signal.SIGTERM, kept)  # and gives it back afterwards
        signal.raise_signal(signal.SIGTERM)
    finally:
        signal.signal(signal.SIGTERM, previous)
    assert handled == [signal.SIGTERM]


def test_a_handler_put_back_later_counts_as_none_for_the_next_context():
    before = signal.getsignal(signal.SIGTERM)
    handled: list[int] = []
    with default_interrupts_handled(lambda number: None):
        kept = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, kept)
    with default_interrupts_handled(handled.append):
        signal.raise_signal(signal.SIGTERM)
    assert handled == [signal.SIGTERM]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_forked_child_ends_by_a_signal_as_before():
    with default_interrupts_handled(lambda number: None):
        pid = os.fork()
        if pid == 0:
            time.sleep(20)
            os._exit(0)
        time.sleep(0.1)
        os.kill(pid, signal.SIGTERM)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGTERM


def test_a_program_that_is_started_inside_ignores_what_its_starter_ignores_until_it_restores_it():
    before = signal.getsignal(signal.SIGTERM)
    code = (
        "import signal\nfrom overwinter.pipeline.signals import restore_termination\n"
        "print(signal.getsignal(signal.SIGTERM).name, signal.getsignal(signal.SIGUSR2).name)\n"
        "restore_termination()\nprint(signal.getsignal(signal.SIGTERM).name)"
    )
    with ignored(signal.SIGTERM, signal.SIGUSR2):
        signal.raise_signal(signal.SIGTERM)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["SIG_IGN", "SIG_IGN", "SIG_DFL"]
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_handler_of_ones_own_is_not_taken_away():
    with interrupts_handled(lambda: None):
        own = signal.getsignal(signal.SIGTERM)
        restore_termination()
        assert signal.getsignal(signal.SIGTERM) is own

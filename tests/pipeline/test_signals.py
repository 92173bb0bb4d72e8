import os
import signal

import pytest

from overwinter.pipeline.signals import interrupts_handled


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

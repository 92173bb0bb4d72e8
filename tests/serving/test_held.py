import asyncio

from overwinter.serving.held import HeldBytes


def test_what_does_not_fit_waits_until_something_has_left():
    async def scenario():
        held = HeldBytes(10)
        held.add(8)
        assert (held.fits(2), held.fits(3)) == (True, False)
        waiting = asyncio.create_task(held.room(3))
        await asyncio.sleep(0.01)
        assert not waiting.done()
        held.remove(4)
        await asyncio.wait_for(waiting, 1)

    asyncio.run(scenario())


def test_what_never_fits_is_let_in_alone():
    asyncio.run(asyncio.wait_for(HeldBytes(10).room(100), 1))

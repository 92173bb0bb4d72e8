import time
from concurrent.futures import ThreadPoolExecutor

from overwinter.bundle.store import Pins
from overwinter.bundle.store.locking import exclusive


def test_a_lock_that_is_removed_is_held_by_one_at_a_time(tmp_path):
    inside = []

    def enter(_):
        for _ in range(50):
            with exclusive(tmp_path / "out"):
                inside.append(1)
                assert sum(inside) == 1
                time.sleep(0)  # others may run
                inside.append(-1)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(enter, range(8)))
    assert len(inside) == 2 * 50 * 8
    assert not list(tmp_path.glob("*.lock"))


def test_who_pins_at_the_same_time_pins_both_and_never_goes_back(tmp_path):
    path = tmp_path / "new" / "pins.json"
    moves = [(f"store#{name}", serial) for serial in (1, 2, 3) for name in "abcdefgh"]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda move: Pins(path).set(*move, f"digest {move[1]}"), reversed(moves)))
    assert Pins(path)._load() == {f"store#{name}": (3, "digest 3") for name in "abcdefgh"}
    assert [found.name for found in path.parent.iterdir()] == ["pins.json"]

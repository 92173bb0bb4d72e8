"""What a supervisor reports a worker."""

from typing import Any

from overwinter.serving.worker.records import WakeOrder


def wake_order(bundle: str, digest: str, **changes: Any) -> WakeOrder:
    """Return the order to wake a bundle on one thread, with neither keys nor a prefix."""
    order = {"keys": (), "opening": (), "trusted": (), "threads": 1, "json_values": 10_000, "response_tokens": 1}
    return WakeOrder(bundle=bundle, digest=digest, **order | {"keeps_prefix": False, "prefix": None} | changes)

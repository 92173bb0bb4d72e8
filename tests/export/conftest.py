"""A small model that is no language model, saved and put to sleep."""

from tests.support.small_bundle import hibernate, payloads, saved

__all__ = ["hibernate", "payloads", "saved"]

"""Overwinter inside Hydra, wherever it composes (also in DVC): see `plugin`."""

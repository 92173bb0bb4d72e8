"""Largest tolerance of a canary check that a configuration or a bundle may set.

A bundle sets its own tolerance. With a large one, an untrusted bundle would pass with another model's outputs.
"""

MAX_TOLERANCE = 0.1  # difference relative to the largest recorded logit; 8-bit variants need less than 0.05

"""Callbacks for training loops of other libraries, which do what `overwinter.watch` does for a loop of one's own.

`transformers` has one for Hugging Face's `Trainer`, `lightning` one for Lightning's; each imports its library, so it is
imported only by name: `from overwinter.integrations.transformers import OverwinterCallback`.
"""

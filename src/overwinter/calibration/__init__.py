"""Calibration of a model block by block: statistics of its layers' inputs, and the dense model as a teacher.

- `batches` are the samples: model inputs of one tensor or several, of lengths that may differ.
- `chain` finds the blocks, so that one at a time is in memory; `device_placement` moves a block to the device that
  computes, `precision` selects bfloat16 for passes that need no more.
- `walk` goes through a model block by block: layers are observed, then changed, then the next block's inputs computed.
- `statistics` collects layer inputs, `hessian` makes their sums fit for solvers, `teacher` returns the dense model's
  outputs and how far others are from them.
- `following` fits some of a model's tensors to those outputs.
- `generated_text` is calibration text that the dense model generates.
"""

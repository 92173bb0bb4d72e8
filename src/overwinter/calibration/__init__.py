"""Calibration of a model block by block: statistics of its layers' inputs, and the dense model as a teacher.

- `chain` finds the blocks, so that one at a time is in memory; `device_placement` moves a block to the device that
  computes, `precision` selects bfloat16 for passes that need no more.
- `statistics` collects layer inputs, `teacher` returns the dense model's outputs.
- `generated_text` is calibration text that the dense model generates.
"""

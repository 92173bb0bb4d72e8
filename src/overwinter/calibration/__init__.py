"""Walking a model block by block: what its layers see (`statistics`), what a teacher says of it (`teacher`).

- `chain` finds the blocks, so that one at a time is in memory; `device_placement` moves a block to the device that
  computes, `precision` lets a pass be rounded where that does no harm.
- `generated_text` is calibration text that the dense model writes itself.
"""

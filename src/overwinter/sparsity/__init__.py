"""Sparsity: removing weights, or whole channels, from a trained model.

- `Sparsifier` is the protocol; `open_sparsifier` finds the one that ``sparsify.method`` names.
- `Magnitude` zeroes single weights while the model is fine-tuned: the `MaskHook` raises the sparsity along
  the cubic schedule and holds the masks to the end.
- `Channels` physically removes channels and hidden units before the fine-tuning, so that any device gains;
  `find_channel_groups` says which can be removed, and why others can't.
- `SparsityReport` says what was asked, what was reached, layer by layer, and what was left alone.

Third parties add theirs under the entry-point group ``overwinter.sparsifiers`` (name -> class, made from the
configuration of the group `sparsify`), and their schema under ``overwinter.schemas`` (``sparsify.NAME``).
"""

from overwinter.sparsity.channels import Channels
from overwinter.sparsity.dependencies import ChannelGroup, find_channel_groups
from overwinter.sparsity.magnitude import Magnitude, MaskHook
from overwinter.sparsity.protocol import Sparsifier
from overwinter.sparsity.registry import open_sparsifier
from overwinter.sparsity.report import LayerReport, SparsityReport

__all__ = [
    "ChannelGroup",
    "Channels",
    "LayerReport",
    "Magnitude",
    "MaskHook",
    "Sparsifier",
    "SparsityReport",
    "find_channel_groups",
    "open_sparsifier",
]

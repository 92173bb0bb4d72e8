"""Your own model and your own data, in the smallest variant that Overwinter takes."""

from my_package.data import Data
from my_package.net import Net

__all__ = ["Data", "Net"]

"""A minimal model and data source for Overwinter."""

from my_package.data import Data
from my_package.net import Net

__all__ = ["Data", "Net"]

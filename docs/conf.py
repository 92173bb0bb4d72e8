"""The documentation as a site: `make docs` builds it, with warnings as errors, into docs/_build/."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from generated_pages import write_pages

from overwinter import __version__

project = "Overwinter"
copyright = "the Overwinter authors"  # noqa: A001 -- Sphinx's name
version = release = __version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
napoleon_use_ivar = True
default_role = "code"  # docstrings quote code as Markdown does
autodoc_typehints = "description"
autodoc_member_order = "bysource"

html_theme = "furo"
html_title = f"Overwinter {version}"
# Links to files beside the pages lead to the repository, where examples and programs are read.
suppress_warnings = ["myst.xref_missing"]


def setup(app):
    """Write the generated pages before Sphinx reads the folder."""
    folder = Path(app.srcdir)
    write_pages(folder.parent / "configs", folder / "reference")

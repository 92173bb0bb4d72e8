"""The page that `dvc plots show` writes: its charts are drawn by a local copy of Vega, so that it needs no network.

DVC's own page loads Vega from the network. Here .dvc/config names a page of ours as `plots.html_template`, which loads
.dvc/tmp/vega.js: vl-convert makes that file on this machine, and the check stage and `overwinter compose` put it
there. DVC reads only the page, which is in Git, so a missing copy of Vega breaks nothing: what DVC would have loaded is
loaded then.
"""

from __future__ import annotations

import contextlib
import os
from importlib.metadata import version
from pathlib import Path

from overwinter.config import Project
from overwinter.errors import OverwinterError
from overwinter.files import write_text

PAGE = "page.html"
_VEGA = "vega.js"
_VEGA_LITE = "5.20"  # of the version that plots name in `$schema`, and in every vl-convert that is accepted
_PAGE = f"""\
<!DOCTYPE html>
<html lang="en">
<head>
    <meta charset="utf-8">
    {{refresh_tag}}
    <title>Plots</title>
    <script src="../.dvc/tmp/{_VEGA}"></script>
    <template id="without-local-copy">{{scripts}}</template>
    <script>
        const missing = () => typeof vegaEmbed === "undefined";
        if (missing()) document.write(document.getElementById("without-local-copy").innerHTML);
    </script>
    <style>
        body {{ font-family: sans-serif; }}
        table {{ border-spacing: 15px; }}
    </style>
</head>
<body>
    <script>
        if (missing()) document.write("<p>Nothing to draw with. In the project's folder, run <code>pip install "
            + "'overwinter[report]'</code>, <code>overwinter compose</code> and <code>dvc plots show</code>.</p>");
    </script>
    {{plot_divs}}
</body>
</html>
"""


def render_plots_page() -> str:
    """Return the text of the page, with DVC's placeholders."""
    return _PAGE


def write_vega(project: Project) -> None:
    """Write the JavaScript that draws the plots into .dvc/tmp, if vl-convert is installed and it is not there yet.

    It is made once per user and version: that takes a second.
    """
    target = project.root / ".dvc" / "tmp" / _VEGA
    if target.exists():
        return
    try:
        import vl_convert
    except ImportError:
        return
    kept = _cache() / f"vega-lite-{_VEGA_LITE}-vl-convert-{version('vl-convert-python')}.js"
    if kept.exists():
        content = kept.read_text(encoding="utf-8")
    else:
        content = vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;", _VEGA_LITE)
        with contextlib.suppress(OverwinterError):  # a home folder that cannot be written costs the second next time
            write_text(kept, content)
    write_text(target, content)


def _cache() -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(cache) / "overwinter"

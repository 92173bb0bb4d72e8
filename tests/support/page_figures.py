"""The figures of a report's page, checked against the files that they name."""

import html.parser
import json

from overwinter.report.page.rendering import FORMATS


class Figures(html.parser.HTMLParser):
    """Collects the page's `data` elements: their attributes and their text."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[dict[str, str]] = []
        self._open = False

    def handle_starttag(self, tag, attrs):
        if tag == "data":
            self._open = True
            self.found.append({**dict(attrs), "text": ""})

    def handle_endtag(self, tag):
        self._open = self._open and tag != "data"

    def handle_data(self, data):
        if self._open:
            self.found[-1]["text"] += data


def figures_in(page: str) -> list[dict[str, str]]:
    parser = Figures()
    parser.feed(page)
    return parser.found


def value_at(content, key: str):
    """Return the value at a dotted key; a name in it may itself contain dots or an @."""
    while key:
        if isinstance(content, list):
            name, _, key = key.partition(".")
            content = content[int(name)]
            continue
        name = next(each for each in content if key == each or key.startswith(f"{each}."))
        content, key = content[name], key[len(name) + 1 :]
    return content


def check_figures(page: str, root) -> int:
    """Check that every figure that names a file is the one in it, in value and as text; return their number."""
    from_files = [each for each in figures_in(page) if "data-file" in each]
    for each in from_files:
        value = value_at(json.loads((root / each["data-file"]).read_text()), each["data-key"])
        assert float(each["value"]) == value, each
        assert each["text"].strip() == FORMATS[each["data-format"]](value), each
    return len(from_files)

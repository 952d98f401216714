"""The page: data, layout and drawing library in one file that needs no network."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent

SCRIPTS = (
    "colours.js",
    "model.js",
    "layout.js",
    "graph.js",
    "diff.js",
    "text.js",
    "tables.js",
    "source.js",
    "main.js",
)
"""Files of the page itself, in the order in which they run."""

LIBRARIES = ("cytoscape", "d3-dag")
"""Files of others, each with its licence beside it."""


def render_page(data: Mapping[str, Any], live: bool = False) -> str:
    """Return the page of a report; one that is live follows the server that it comes from.

    Everything that comes from a user, such as source text or the names of functions, is in one
    JSON element, where no markup can begin; the scripts only ever put it into text nodes.
    """
    licences = "\n\n".join(_read("vendor", f"{name}.LICENSE.txt") for name in LIBRARIES)
    libraries = [_script(_read("vendor", f"{name}.min.js")) for name in LIBRARIES]
    scripts = [*SCRIPTS, "live.js"] if live else SCRIPTS
    own = "\n".join(_read("page", name) for name in scripts)
    parts = {
        "title": escape(str(data["title"])),
        "connect": "; connect-src 'self'" if live else "",
        "style": _read("page", "style.css"),
        "licences": escape(licences),
        "data": embedded_json(data),
        "libraries": "\n".join(libraries),
        "script": _script(f'(() => {{\n"use strict";\n{own}\n}})();'),
    }
    page = _read("page", "template.html")
    before, *rest = page.split("{{")
    pieces = [before]
    for part in rest:
        name, _, text = part.partition("}}")
        pieces += [parts[name], text]
    return "".join(pieces)


def embedded_json(data: Any) -> str:
    r"""Return data as JSON that may stand in an element of HTML.

    Examples
    --------
    >>> embedded_json("</script>")
    '"\\u003c/script>"'
    """
    return json.dumps(data, separators=(",", ":")).replace("<", "\\u003c")


def _script(text: str) -> str:
    if "</script" in text.lower():
        raise ValueError("a script of the page contains an end of script")
    return f"<script>{text}</script>"


def _read(folder: str, name: str) -> str:
    return (HERE / folder / name).read_text(encoding="utf-8")

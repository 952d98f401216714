"""Graphs as text with the user's own lines beside them."""

from __future__ import annotations

import linecache

from ...ir import Graph, Loc, Printer


def source_line(loc: Loc | None) -> str:
    """Return the line of Python at a location, without indentation; empty if it is not at hand."""
    return linecache.getline(loc.file, loc.line).strip() if loc is not None else ""


def annotated_text(graph: Graph) -> str:
    """Return the text of a graph with the user's own lines in the comments.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> graph = brainir.transform.jit(lambda x: jnp.sin(x) * 2).trace(1.0).graph()
    >>> "jnp.sin(x) * 2" in brainir.tools.annotated_text(graph)
    True
    """
    printer = Printer(graph, locations=True)
    lines = list(printer.lines)
    last: tuple[str, int] | None = None
    for node, number in printer.line_of.items():
        if node.loc is not None:
            place = node.loc.file, node.loc.line
            source = source_line(node.loc)
            if source and place != last:
                lines[number] += f": {source}"
            last = place
    return "\n".join(lines)

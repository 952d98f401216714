"""The kernels of a graph as LLVM's text."""

from __future__ import annotations

from ...backends import native
from ...ir import Graph, walk
from .drawing import node_title


def kernel_code(graph: Graph) -> str:
    """Return the code of all kernels of a graph, before LLVM's own passes; a comment above each.

    Raises
    ------
    ModuleNotFoundError
        If llvmlite is not installed.

    Examples
    --------
    >>> from brainir.frontend.export import kernel_code
    >>> from brainir.ir import parse
    >>> from brainir.passes import outline_kernels
    >>> graph = outline_kernels(parse('''graph @decay(%V: f32[8]) -> (f32[8]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }'''))
    >>> print(kernel_code(graph).splitlines()[0])
    ; kernel of @decay: for_loop
    """
    parts: list[str] = []
    for node in walk(graph):
        if node.op.name == "kernel":
            (region,) = node.regions
            held = ", ".join(node_title(n) for n in region.nodes if n.regions)
            where = f", {node.loc}" if node.loc else ""
            parts.append(f"; kernel of @{graph.name}: {held}{where}\n{native.code(region)}\n")
    return "\n".join(parts) or f"; @{graph.name} has no kernels\n"

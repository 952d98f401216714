"""From a region to the text of a module of LLVM: one function, and the handler that XLA calls."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from llvmlite import ir

from ...ir import Builder, Graph, Node, Operand, Replacements, Value, inline, replay_graph, spikes
from .blocks import Block
from .handler import write_handler
from .key_words import without_keys
from .sources import Buffer
from .wholes import WHOLES
from .writer import GROUP, LOOP, Writer

CALLS = ("call", "checkpoint", "custom_derivative", "kernel")
"""What runs its first region once."""


@dataclass(frozen=True, slots=True)
class Code:
    """A module of LLVM.

    Attributes
    ----------
    text : str
        Its functions, of which ``call`` is for XLA.
    scratch : int
        The bytes of one more result, which the function needs as memory; 0 for none.
    """

    text: str
    scratch: int


def lower(region: Graph, dense: bool = False, checked: bool = False) -> Code:
    """Return the code of a region that captures nothing and of which kernels can hold all ops.

    Products leave out what spikes multiply by zero, unless they are to be ``dense``. If the code is
    ``checked``, it counts accesses outside of arrays; for tests.

    Examples
    --------
    >>> from brainir.backends.native.lower import lower
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @decay(%V: f32[8]) -> (f32[8]) {
    ...   %end = for_loop carry(%v = %V) {length=10} do {
    ...     %next = mul %v, 0.9:f32
    ...     yield %next
    ...   }
    ...   return %end
    ... }''')
    >>> code = lower(graph)
    >>> code.text.count("fmul"), code.scratch
    (1, 0)
    """
    graph = without_keys(_without_calls(region))
    module = ir.Module("kernel")
    writer = Writer(module, graph.params, [result.type for result in graph.results], checked)
    writer.spikes = None if dense else spikes(graph)
    targets: dict[Value, list[Buffer]] = {}
    literals: list[tuple[Operand, Buffer]] = []
    for result, buffer in zip(graph.results, writer.results, strict=True):
        if isinstance(result, Value):
            targets.setdefault(result, []).append(buffer)
        else:
            literals.append((result, buffer))
    Block(writer, graph.nodes, targets, (), WHOLES).run()
    for literal, buffer in literals:
        writer.copy(writer.source(literal), buffer)
    writer.finish()
    gives = len(graph.results) + bool(writer.scratch)
    write_handler(module, writer.function, len(graph.params), gives)
    return Code(_finished(str(module)), writer.scratch)


def _without_calls(region: Graph) -> Graph:
    """Put the nodes of functions that are called in place of the calls."""

    def rewrite(
        builder: Builder, node: Node, operands: tuple[Operand, ...], mapping: Replacements
    ) -> Sequence[Operand] | None:
        if node.op.name not in CALLS:
            return None
        return inline(builder, _without_calls(node.regions[0]), operands, mapping)

    return replay_graph(region, rewrite)


def _finished(text: str) -> str:
    """Make the metadata of loops distinct, which llvmlite cannot say."""
    text = re.sub(rf'= !\{{ !"{GROUP} \d+" \}}', "= distinct !{}", text)
    return re.sub(rf'(!\d+) = !\{{ !"{LOOP} \d+", ', r"\1 = distinct !{ \1, ", text)

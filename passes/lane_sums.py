"""Sums of what is alike, written as one sum over a stack: what lanes add up to, one by one."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..ir import Builder, Node, Operand
from .alike import Rows, given


@dataclass(frozen=True, slots=True)
class Sums:
    """Nodes in which sums were rewritten, and the stacks that were made, in any order."""

    nodes: tuple[Node, ...]
    stacks: frozenset[Node]


def sums_over_stacks(
    nodes: Sequence[Node], results: Sequence[Operand | None], least: int
) -> Sums | None:
    """Write sums with at least so many alike terms as sums over stacks; None if there are none.

    They are what derivatives leave of a value that many lanes have used: the sum of what each says
    of it, term by term. The terms are added in another order.
    """
    rows = Rows(nodes)
    uses = Counter(x for node in nodes for x in given(node))
    uses.update(x for x in results if x is not None)
    adders = {id(node): node for node in nodes if node.op.name == "add"}
    inner = {
        id(maker.node)
        for node in adders.values()
        for x in node.operands
        if (maker := rows.maker(x)) is not None and uses.get(x) == 1 and id(maker.node) in adders
    }
    built, stacks, gone = Builder(), set[Node](), set[int]()
    sums: dict[int, list[Node]] = {}
    for key, root in adders.items():
        if key in inner:
            continue
        terms, passed = _terms(root, rows, inner)
        alike: dict[int, list[Operand]] = defaultdict(list)
        for term in terms:
            alike[rows.form(term)].append(term)
        if max(map(len, alike.values())) >= least:
            sums[key] = _summed(root, list(alike.values()), least, stacks)
            gone |= passed
    if not sums:
        return None
    for node in nodes:
        built.extend(sums.get(id(node), () if id(node) in gone else (node,)))
    return Sums(tuple(built.nodes), frozenset(stacks))


def _terms(root: Node, rows: Rows, inner: set[int]) -> tuple[list[Operand], set[int]]:
    """Return what a sum is of, and the nodes that add it up."""
    terms, passed, waiting = list[Operand](), set[int](), [*reversed(root.operands)]
    while waiting:
        operand = waiting.pop()
        maker = rows.maker(operand)
        if maker is not None and id(maker.node) in inner:
            passed.add(id(maker.node))
            waiting.extend(reversed(maker.node.operands))
        else:
            terms.append(operand)
    return terms, passed


def _summed(
    root: Node, alike: Sequence[Sequence[Operand]], least: int, stacks: set[Node]
) -> list[Node]:
    """Return nodes that add terms up, with the result of their root."""
    builder, parts = Builder(root.loc), list[Operand]()
    for terms in alike:
        if len(terms) < least:
            parts.extend(terms)
            continue
        stack = builder("stack", *terms, axis=0)
        stacks.add(builder.nodes[-1])
        parts.append(builder("reduce_sum", stack, axes=(0,)))
    total = parts[0]
    for term in parts[1:]:
        total = builder("add", total, term)
    builder.nodes[-1] = replace(builder.nodes[-1], results=root.results)
    return builder.nodes

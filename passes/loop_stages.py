"""What of a loop's step has to wait for what: the stages in which a loop can run.

A step depends on the step before only by its carries. The strongly connected components of the
dependences, with an edge from what goes out by a carry to what comes in by it, are what must run
step by step. Everything else need only come after what it uses, so a product between two
recurrences can be computed for all steps at once, between two loops. To split loops along such
components is the loop distribution of K. Kennedy and K. S. McKinley, *Loop distribution with
arbitrary control flow*, 1990.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from math import inf
from typing import Any

import networkx as nx

from ..ir import Builder, Carry, Loop, Node, Operand, Value, sum_of_convolutions, sum_of_products
from .residuals import repeatable
from .splicing import inputs_of

PRODUCTS = {"dot_general": sum_of_products, "conv_general_dilated": sum_of_convolutions}
"""What may leave a loop, and how to build the sum of many of them as one."""


def _sum_of_sums(builder: Builder, operand: Operand, attrs: Mapping[str, Any]) -> Operand:
    axes = (0, *(axis + 1 for axis in attrs["axes"]))
    return builder("reduce_sum", operand, **{**attrs, "axes": axes})


SUMS: Mapping[str, Callable[..., Operand]] = {**PRODUCTS, "reduce_sum": _sum_of_sums}
"""Those, and the sum of something else that a carry may add up, as for the gradient of a bias."""

LINEAR = ("transpose", "reshape")
"""What may stand between a product and the sum over it: moves elements, and does nothing else. So
may sums of its elements, which can as well be taken of all steps at last."""


@dataclass(frozen=True, slots=True, eq=False)
class Stage:
    """Nodes that run together: in a loop with some of the carries, or for all steps at once.

    Attributes
    ----------
    nodes : tuple of Node
        In program order.
    carries : tuple of Carry
        Those of the loop that go from step to step here.
    at_once : bool
        Whether no loop is needed, nor wanted to bound the memory.
    """

    nodes: tuple[Node, ...]
    carries: tuple[Carry, ...]
    at_once: bool


@dataclass(frozen=True, slots=True)
class Term:
    """A product or sum, and what moves its elements before they are added up."""

    product: Node
    moves: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Total:
    """A carry that only adds up products of all steps.

    Attributes
    ----------
    carry : Carry
        The carry of the loop.
    terms : tuple of Term
        What is added in each step.
    alone : frozenset
        The carry's parameter, and all nodes that are there for it only.
    """

    carry: Carry
    terms: tuple[Term, ...]
    alone: frozenset[Node | Value]


class Dependences:
    """What within one step of a loop depends on what.

    Attributes
    ----------
    loop : Loop
        The loop.
    params : tuple of Value
        What comes into a step.
    varying : set of Value
        What may differ from step to step.
    light : set of Node
        What is cheap, and made only of slices of the input and of what is light: better computed
        again in each stage than kept for all steps.
    fixed : list of Node
        What is not cheap, and the same in each step, as what is left of a loop inside this one can
        be: computed once, before all stages.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.params = loop.body.params
        self.varying: set[Value] = set(self.params)
        self.light: set[Node] = set()
        self.fixed: list[Node] = []
        self.producers: dict[Value, Node | Value] = {c.param: c.param for c in loop.carries}
        self.uses: Counter[Operand] = Counter(loop.body.results)
        self._carry = {carry.param: i for i, carry in enumerate(loop.carries)}
        self._place = {node: place for place, node in enumerate(loop.nodes)}
        self._source: dict[Value, float] = {param: param.type.size for param in self.params}
        """Of how many elements a value is made that cheap nodes alone made larger."""
        self.at_hand: set[Value] = {piece.param for piece in loop.slices}
        for node in loop.nodes:
            inputs = inputs_of(node)
            self.uses.update(inputs)
            self.producers.update(dict.fromkeys(node.results, node))
            varying = self.varying.intersection(inputs)
            if varying:
                self.varying.update(node.results)
                cheap = sum(self._source[v] for v in varying) if repeatable(node) else inf
                self._source.update((r, min(cheap, r.type.size)) for r in node.results)
            if repeatable(node) and varying <= self.at_hand:
                self.light.add(node)
                self.at_hand.update(node.results)
            elif not varying:
                self.fixed.append(node)

    def grows(self, node: Node) -> bool:
        """Whether a node takes something like a one-hot code, which is small until it is needed."""
        taken = self.varying.intersection(node.operands)
        return any(v.type.size > self._source[v] for v in taken)

    def totals(self, worth: Callable[[Node], bool]) -> list[Total]:
        """Find the carries that add up products and that nothing in the loop reads."""
        found = (self._total(carry, worth) for carry in self.loop.carries)
        return [total for total in found if total is not None]

    def _total(self, carry: Carry, worth: Callable[[Node], bool]) -> Total | None:
        param = carry.param
        terms: list[Term] = []
        alone: set[Node | Value] = {param}
        stack: list[Operand] = [carry.next]
        while stack:
            operand = stack.pop()
            if operand is param:
                continue
            made = self._maker(operand)
            if made is None or operand.type != param.type:
                return None
            alone.add(made)
            if made.op.name == "add":
                stack += made.operands
                continue
            term = self._term(made)
            if term is None or not worth(term.product):
                return None
            terms.append(term)
            alone |= {term.product, *term.moves}
        adds = (node for node in alone if isinstance(node, Node))
        is_added = self.uses[param] == 1 and any(param in node.operands for node in adds)
        return Total(carry, tuple(terms), frozenset(alone)) if terms and is_added else None

    def _term(self, node: Node) -> Term | None:
        moves: list[Node] = []
        term: Term | None = None
        made: Node | None = node
        while made is not None and made.op.name in (*LINEAR, *SUMS):
            if made.op.name in SUMS and not _in_groups(made):
                term = Term(made, tuple(reversed(moves)))
            if made.op.name in PRODUCTS:
                break
            moves.append(made)
            made = self._maker(made.operands[0])
        return term

    def _maker(self, operand: Operand) -> Node | None:
        """Return the node that makes a value for one use only."""
        made: Any = self.producers.get(operand) if isinstance(operand, Value) else None
        return made if isinstance(made, Node) and self.uses[operand] == 1 else None

    def stages(self, products: AbstractSet[Node], gone: set[Node | Value]) -> list[Stage]:
        """Return the stages in order, with each product that does not recur in one without a loop.

        What is light or fixed is in none of them, nor is what is ``gone``.
        """
        dependences = self._dependences(gone)
        parts = nx.condensation(dependences)
        levels: dict[int, int] = {}
        for part in nx.topological_sort(parts):
            level = max((levels[p] for p in parts.predecessors(part)), default=0)
            # Products have the odd levels; what is between them, or recurs, the even ones.
            odd = parts.nodes[part]["members"] <= products
            levels[part] = level if level % 2 == odd else level + 1
        members: defaultdict[int, list[Node | Value]] = defaultdict(list)
        for part, level in levels.items():
            members[level] += parts.nodes[part]["members"]
        return [self._stage(members[level], products) for level in sorted(members)]

    def recurrences(self) -> Iterator[tuple[list[Node], list[Carry]]]:
        """Yield nodes that wait for each other round the loop, with the carries by which they do.

        Each comes after what it needs; what waits for nothing comes by itself, without carries.
        What is light or fixed does not come.
        """
        parts = nx.condensation(self._dependences(set()))
        for part in nx.topological_sort(parts):
            stage = self._stage(parts.nodes[part]["members"], frozenset())
            yield list(stage.nodes), list(stage.carries)

    def _dependences(self, gone: set[Node | Value]) -> nx.DiGraph[Node | Value]:
        """Return who needs whom, round the loop too."""
        left_out = gone.union(self.light, self.fixed)
        graph: nx.DiGraph[Node | Value] = nx.DiGraph()
        needs: list[tuple[Node | Value, list[Any]]] = [
            (carry.param, [carry.next]) for carry in self.loop.carries
        ]
        needs += [(node, inputs_of(node)) for node in self.loop.nodes]
        for user, inputs in needs:
            if user not in left_out:
                graph.add_node(user)
                makers = {self.producers[v] for v in inputs if v in self.producers} - left_out
                graph.add_edges_from((maker, user) for maker in makers)
        return graph

    def _stage(self, members: Iterable[Node | Value], products: AbstractSet[Node]) -> Stage:
        nodes = self._in_order(m for m in members if isinstance(m, Node))
        places = sorted(self._carry[m] for m in members if isinstance(m, Value))
        carries = tuple(self.loop.carries[place] for place in places)
        at_once = not carries and (set(nodes) <= products or not _need_a_loop(nodes))
        return Stage(nodes, carries, at_once)

    def _in_order(self, nodes: Iterable[Node]) -> tuple[Node, ...]:
        return tuple(sorted(nodes, key=self._place.__getitem__))

    def with_light(self, wanted: Iterable[Operand], nodes: Iterable[Node] = ()) -> tuple[Node, ...]:
        """Return nodes and the light ones that these and the wanted values need, in order."""
        chosen = set(nodes)
        stack: list[Any] = [*wanted, *(v for node in chosen for v in inputs_of(node))]
        while stack:
            made = self.producers.get(stack.pop())
            if isinstance(made, Node) and made in self.light and made not in chosen:
                chosen.add(made)
                stack += inputs_of(made)
        return self._in_order(chosen)


def _in_groups(product: Node) -> bool:
    """Whether a product is a convolution in groups, which has no sum of its kind."""
    return product.attrs.get("feature_groups", 1) * product.attrs.get("batch_groups", 1) > 1


def _need_a_loop(nodes: Sequence[Node]) -> bool:
    """Whether nodes have regions, or make something larger than all that they take.

    That is in memory for one step at a time in a loop, and else for all steps.
    """
    made = {result for node in nodes for result in node.results}
    taken = (v.type.nbytes for node in nodes for v in inputs_of(node) if v not in made)
    largest = max(taken, default=0)
    return any(node.regions for node in nodes) or any(v.type.nbytes > largest for v in made)

"""Derivatives that are asked for, by their parts; see `brainir.ir.views`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from .applied_views import Applied, Argument, Yield
from .builder import Builder
from .graph import Graph, Node
from .types import Loc, Operand, StateVar, Value
from .views import Operands, Regions, hint_of


@dataclass(frozen=True, slots=True)
class Gradient(Applied):
    """A ``grad``.

    Attributes
    ----------
    arguments : tuple of Argument
    yields : tuple of Yield
        What it is given, and what it gives beside gradients.
    states : tuple of StateVar
    wrt : tuple of Value
        The states, and the parameters, by which is differentiated.
    gradients : tuple of Value
        The results that are gradients: of the leaves of states, then of parameters.
    losses : int
        How many yields, the first ones, are summed and differentiated.
    lanes : int or None
    seeds : tuple of Operand
        How often with other weights, and these, one array for each loss; None for once, with ones.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Gradient, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %slope, %y = grad (%a = %x) {wrt=(0,), states=(), losses=1} do {
    ...     %b = mul %a, %a
    ...     yield %b
    ...   }
    ...   return %slope
    ... }''')
    >>> view = Gradient.of(graph.nodes[0])
    >>> view.wrt[0].hint, view.summed[0].hint, view.gradients[0].hint
    ('a', 'b', 'slope')
    """

    arguments: tuple[Argument, ...]
    yields: tuple[Yield, ...]
    states: tuple[StateVar, ...]
    wrt: tuple[Value, ...]
    gradients: tuple[Value, ...]
    losses: int
    lanes: int | None
    memory: int | float | None
    seeds: tuple[Operand, ...]
    nodes: tuple[Node, ...]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Gradient:
        (body,), attrs = regions, node.attrs
        params: tuple[Value, ...] = body.params
        count = len(node.results) - len(node.regions[0].results)
        return cls(
            tuple(Argument(*names) for names in zip(operands, params, strict=False)),
            tuple(Yield(*names) for names in zip(body.results, node.results[count:], strict=True)),
            attrs["states"],
            tuple(params[int(i)] for i in attrs["wrt"]),
            node.results[:count],
            attrs["losses"],
            attrs["lanes"],
            attrs["memory"],
            operands[len(params) :],
            body.nodes,
            body.name,
            node.loc,
        )

    @property
    def summed(self) -> tuple[Operand, ...]:
        """The yields that are summed and differentiated."""
        return tuple(y.inside for y in self.yields)[: self.losses]

    def emit(self, builder: Builder) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Build the node; return gradients, and what it gives beside them."""
        place = {a.param: i for i, a in enumerate(self.arguments)}
        attrs = {
            "wrt": tuple(place[param] for param in self.wrt),
            "states": self.states,
            "losses": self.losses,
            "lanes": self.lanes,
            "memory": self.memory,
        }
        hints = [gradient.hint for gradient in self.gradients]
        hints += [hint_of(y.result, y.inside) for y in self.yields]
        operands = [*(a.operand for a in self.arguments), *self.seeds]
        results = builder.emit("grad", operands, attrs, [self.body], loc=self.loc, hints=hints)
        count = len(results) - len(self.yields)
        return results[:count], results[count:]


class Pushed(NamedTuple):
    """What a ``jvp`` gives: inside, outside, and its tangent there.

    Examples
    --------
    >>> from brainir.ir import Pushforward, parse
    >>> graph = parse('''graph @f(%x: f32[], %dx: f32[]) -> (f32[]) {
    ...   %y, %dy = jvp %x, %dx {wrt=(0,)} do (%a: f32[]) {
    ...     %b = mul %a, %a
    ...     yield %b
    ...   }
    ...   return %dy
    ... }''')
    >>> (pushed,) = Pushforward.of(graph.nodes[0]).yields
    >>> [value.hint for value in pushed]
    ['b', 'y', 'dy']
    """

    inside: Operand
    result: Value | None = None
    tangent: Value | None = None


@dataclass(frozen=True, slots=True)
class Pushforward(Applied):
    """A ``jvp``.

    Attributes
    ----------
    arguments : tuple of Argument
    yields : tuple of Pushed
        What it is given, and what it gives.
    states : tuple of StateVar
    wrt : tuple of Value
    tangents : tuple of Operand
        The states and the parameters that have tangents, and these: of the leaves of states, then
        of parameters.
    lanes : int or None
        How many tangents each of them has; None for one, without an axis for it.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import Pushforward, parse
    >>> graph = parse('''graph @f(%x: f32[], %dx: f32[]) -> (f32[]) {
    ...   %y, %dy = jvp %x, %dx {wrt=(0,)} do (%a: f32[]) {
    ...     %b = mul %a, %a
    ...     yield %b
    ...   }
    ...   return %dy
    ... }''')
    >>> view = Pushforward.of(graph.nodes[0])
    >>> [a.operand.hint for a in view.arguments], [t.hint for t in view.tangents], view.lanes
    (['x'], ['dx'], None)
    """

    arguments: tuple[Argument, ...]
    yields: tuple[Pushed, ...]
    states: tuple[StateVar, ...]
    wrt: tuple[Value, ...]
    tangents: tuple[Operand, ...]
    lanes: int | None
    nodes: tuple[Node, ...]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> Pushforward:
        (body,) = regions
        params: tuple[Value, ...] = body.params
        count = len(body.results)
        columns = body.results, node.results[:count], node.results[count:]
        return cls(
            tuple(Argument(*names) for names in zip(operands, params, strict=False)),
            tuple(Pushed(*names) for names in zip(*columns, strict=True)),
            node.attrs["states"],
            tuple(params[int(i)] for i in node.attrs["wrt"]),
            operands[len(params) :],
            node.attrs["lanes"],
            body.nodes,
            body.name,
            node.loc,
        )

    def emit(self, builder: Builder) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Build the node; return what it gives, and the tangents of that."""
        place = {a.param: i for i, a in enumerate(self.arguments)}
        attrs = {
            "wrt": tuple(place[param] for param in self.wrt),
            "states": self.states,
            "lanes": self.lanes,
        }
        hints = [hint_of(y.result, y.inside) for y in self.yields]
        hints += [y.tangent.hint if y.tangent is not None else "" for y in self.yields]
        operands = [*(a.operand for a in self.arguments), *self.tangents]
        results = builder.emit("jvp", operands, attrs, [self.body], loc=self.loc, hints=hints)
        return results[: len(self.yields)], results[len(self.yields) :]


class Rule(NamedTuple):
    """What runs in place of a function that is differentiated by a rule of its own.

    Attributes
    ----------
    given, moved : tuple of Value
        Parameters that stand for arguments, and in forward mode for their tangents.
    values, tangents, residuals : tuple of Operand
        Yields: results, in forward mode their tangents, in reverse mode what the other rule gets.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.

    Examples
    --------
    >>> from brainir.ir import CustomDerivative, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = custom_derivative (%a = %x) {mode="jvp"} do {
    ...     yield %a
    ...   } and (%b: f32[], %db: f32[]) {
    ...     %dy = mul %db, 3.0:f32
    ...     yield %b, %dy
    ...   }
    ...   return %y
    ... }''')
    >>> rule = CustomDerivative.of(graph.nodes[0]).rule
    >>> rule.given[0].hint, rule.moved[0].hint, rule.values[0].hint, rule.tangents[0].hint
    ('b', 'db', 'b', 'dy')
    """

    given: tuple[Value, ...]
    moved: tuple[Value, ...]
    values: tuple[Operand, ...]
    tangents: tuple[Operand, ...]
    residuals: tuple[Operand, ...]
    nodes: tuple[Node, ...]
    name: str = ""

    @property
    def graph(self) -> Graph:
        """The region."""
        params, results = (*self.given, *self.moved), (*self.values, *self.tangents)
        return Graph(self.name, params, self.nodes, (*results, *self.residuals))


class Backward(NamedTuple):
    """What makes cotangents of arguments from those of results.

    Attributes
    ----------
    residuals, cotangents : tuple of Value
        Parameters that stand for what the rule kept, and for cotangents of results.
    gradients : tuple of Operand
        Yields: the cotangents of arguments.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.

    Examples
    --------
    >>> from brainir.ir import CustomDerivative, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = custom_derivative (%a = %x) {mode="vjp"} do {
    ...     yield %a
    ...   } and (%b: f32[]) {
    ...     yield %b, %b
    ...   } and (%kept: f32[], %cotangent: f32[]) {
    ...     %dx = mul %kept, %cotangent
    ...     yield %dx
    ...   }
    ...   return %y
    ... }''')
    >>> backward = CustomDerivative.of(graph.nodes[0]).backward
    >>> backward.residuals[0].hint, backward.cotangents[0].hint, backward.gradients[0].hint
    ('kept', 'cotangent', 'dx')
    """

    residuals: tuple[Value, ...]
    cotangents: tuple[Value, ...]
    gradients: tuple[Operand, ...]
    nodes: tuple[Node, ...]
    name: str = ""

    @property
    def graph(self) -> Graph:
        """The region."""
        return Graph(self.name, (*self.residuals, *self.cotangents), self.nodes, self.gradients)


@dataclass(frozen=True, slots=True)
class CustomDerivative(Applied):
    """A ``custom_derivative``.

    Attributes
    ----------
    arguments : tuple of Argument
    yields : tuple of Yield
        What the function is given, and what it gives.
    nodes : tuple of Node
        What it computes.
    rule : Rule
        What runs in its place.
    backward : Backward or None
        What goes back; None in forward mode.
    name : str
        Of the function.
    loc : Loc or None
        Where it stands.

    Examples
    --------
    >>> from brainir.ir import CustomDerivative, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = custom_derivative (%a = %x) {mode="jvp"} do @step {
    ...     yield %a
    ...   } and (%b: f32[], %db: f32[]) {
    ...     %dy = mul %db, 3.0:f32
    ...     yield %b, %dy
    ...   }
    ...   return %y
    ... }''')
    >>> view = CustomDerivative.of(graph.nodes[0])
    >>> view.name, view.backward is None, [node.op.name for node in view.rule.nodes]
    ('step', True, ['mul'])
    """

    arguments: tuple[Argument, ...]
    yields: tuple[Yield, ...]
    nodes: tuple[Node, ...]
    rule: Rule
    backward: Backward | None = None
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def _of(cls, node: Node, operands: Operands, regions: Regions) -> CustomDerivative:
        primal, rule, *backward = regions
        taken, given, pushed = len(primal.params), len(primal.results), rule.results
        ends = 2 * given if not backward else given
        back = None
        if backward:
            (last,) = backward
            kept = len(last.params) - given
            params = last.params[:kept], last.params[kept:]
            back = Backward(*params, last.results, last.nodes, last.name)
        return cls(
            tuple(Argument(*names) for names in zip(operands, primal.params, strict=True)),
            tuple(Yield(*names) for names in zip(primal.results, node.results, strict=True)),
            primal.nodes,
            Rule(
                rule.params[:taken],
                rule.params[taken:],
                pushed[:given],
                pushed[given:ends],
                pushed[ends:],
                rule.nodes,
                rule.name,
            ),
            back,
            primal.name,
            node.loc,
        )

    def emit(self, builder: Builder) -> tuple[Value, ...]:
        """Build the node and return its results."""
        regions = [self.body, self.rule.graph]
        regions += [] if self.backward is None else [self.backward.graph]
        mode = "jvp" if self.backward is None else "vjp"
        hints = [hint_of(y.result, y.inside) for y in self.yields]
        operands, name = [a.operand for a in self.arguments], "custom_derivative"
        return builder.emit(name, operands, {"mode": mode}, regions, loc=self.loc, hints=hints)

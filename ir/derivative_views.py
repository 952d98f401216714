"""Derivatives that are asked for, by their parts; see `brainir.ir.views`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from .builder import Builder
from .graph import Graph, Node
from .types import Loc, Operand, StateVar, Value
from .views import Argument, Yield


@dataclass(frozen=True, slots=True)
class Gradient:
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
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.
    """

    arguments: tuple[Argument, ...]
    yields: tuple[Yield, ...]
    states: tuple[StateVar, ...]
    wrt: tuple[Value, ...]
    gradients: tuple[Value, ...]
    losses: int
    nodes: tuple[Node, ...]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def of(
        cls,
        node: Node,
        operands: Sequence[Operand] | None = None,
        regions: Sequence[Graph] | None = None,
    ) -> Gradient:
        """Take a node apart; operands and regions may be others, as in a replay."""
        (body,), attrs = regions or node.regions, node.attrs
        operands = node.operands if operands is None else operands
        params: tuple[Value, ...] = body.params
        count = len(node.results) - len(node.regions[0].results)
        return cls(
            tuple(Argument(*names) for names in zip(operands, params, strict=True)),
            tuple(Yield(*names) for names in zip(body.results, node.results[count:], strict=True)),
            attrs["states"],
            tuple(params[int(i)] for i in attrs["wrt"]),
            node.results[:count],
            attrs["losses"],
            body.nodes,
            body.name,
            node.loc,
        )

    def rebuilt(self, **changes: Any) -> Gradient:
        """Return a view in which some pieces are others."""
        return replace(self, **changes)

    @property
    def summed(self) -> tuple[Operand, ...]:
        """The yields that are summed and differentiated."""
        return tuple(y.inside for y in self.yields)[: self.losses]

    @property
    def body(self) -> Graph:
        """The region of its node."""
        params = tuple(a.param for a in self.arguments)
        return Graph(self.name, params, self.nodes, tuple(y.inside for y in self.yields))

    def emit(self, builder: Builder) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Build the node; return gradients, and what it gives beside them."""
        place = {a.param: i for i, a in enumerate(self.arguments)}
        attrs = {
            "wrt": tuple(place[param] for param in self.wrt),
            "states": self.states,
            "losses": self.losses,
        }
        hints = [gradient.hint for gradient in self.gradients]
        hints += [y.result.hint if y.result is not None else "" for y in self.yields]
        operands = [a.operand for a in self.arguments]
        results = builder.emit("grad", operands, attrs, [self.body], loc=self.loc, hints=hints)
        count = len(results) - len(self.yields)
        return results[:count], results[count:]


class Pushed(NamedTuple):
    """What a ``jvp`` gives: inside, outside, and its tangent there."""

    inside: Operand
    result: Value | None = None
    tangent: Value | None = None


@dataclass(frozen=True, slots=True)
class Pushforward:
    """A ``jvp``.

    Attributes
    ----------
    arguments : tuple of Argument
    yields : tuple of Pushed
        What it is given, and what it gives.
    wrt : tuple of Value
    tangents : tuple of Operand
        The parameters that have tangents, and these.
    nodes : tuple of Node
        What it computes.
    name : str
        Of the function that it was.
    loc : Loc or None
        Where it stands.
    """

    arguments: tuple[Argument, ...]
    yields: tuple[Pushed, ...]
    wrt: tuple[Value, ...]
    tangents: tuple[Operand, ...]
    nodes: tuple[Node, ...]
    name: str = ""
    loc: Loc | None = None

    @classmethod
    def of(
        cls,
        node: Node,
        operands: Sequence[Operand] | None = None,
        regions: Sequence[Graph] | None = None,
    ) -> Pushforward:
        """Take a node apart; operands and regions may be others, as in a replay."""
        (body,) = regions or node.regions
        operands = tuple(node.operands if operands is None else operands)
        params: tuple[Value, ...] = body.params
        count = len(body.results)
        columns = body.results, node.results[:count], node.results[count:]
        return cls(
            tuple(Argument(*names) for names in zip(operands, params, strict=False)),
            tuple(Pushed(*names) for names in zip(*columns, strict=True)),
            tuple(params[int(i)] for i in node.attrs["wrt"]),
            operands[len(params) :],
            body.nodes,
            body.name,
            node.loc,
        )

    def rebuilt(self, **changes: Any) -> Pushforward:
        """Return a view in which some pieces are others."""
        return replace(self, **changes)

    @property
    def body(self) -> Graph:
        """The region of its node."""
        params = tuple(a.param for a in self.arguments)
        return Graph(self.name, params, self.nodes, tuple(y.inside for y in self.yields))

    def emit(self, builder: Builder) -> tuple[tuple[Value, ...], tuple[Value, ...]]:
        """Build the node; return what it gives, and the tangents of that."""
        place = {a.param: i for i, a in enumerate(self.arguments)}
        attrs = {"wrt": tuple(place[param] for param in self.wrt)}
        names = [*(y.result for y in self.yields), *(y.tangent for y in self.yields)]
        hints = [v.hint if v is not None else "" for v in names]
        operands = [*(a.operand for a in self.arguments), *self.tangents]
        results = builder.emit("jvp", operands, attrs, [self.body], loc=self.loc, hints=hints)
        return results[: len(self.yields)], results[len(self.yields) :]

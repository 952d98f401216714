"""Checks that graphs are well formed, and of the form that a stage of the pipeline promises."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, cast

from .graph import Graph, Node
from .lexer import pointed
from .op import Effect, GraphError, Op
from .printer import Printer
from .types import Literal, Operand, StateVar, Type, Value


class VerificationError(GraphError):
    """A graph is not well formed, or not of the form asked for.

    Examples
    --------
    >>> from brainir.ir import Node, Value, parse, verify
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> (node,) = graph.nodes
    >>> wrong = Node(node.op, (Value(node.result.type),), {}, (), node.results)
    >>> verify(graph.with_(nodes=(wrong,)))
    Traceback (most recent call last):
        ...
    brainir.ir.verify.VerificationError: neg: %0 is not defined here
    ...
    """


@dataclass(frozen=True, slots=True)
class Form:
    """What nodes may occur at a stage.

    ``refuses(node, depth)`` says what is wrong with a node that stands inside ``depth`` regions, or
    returns None.

    Examples
    --------
    >>> from brainir.ir import FORMS
    >>> for form in FORMS.values():
    ...     print(f"{form.name}: {form.doc}")
    any: Whatever is well formed.
    hoisted: States are touched outside all regions only.
    expanded: No vmap, map, grad or jvp is left.
    pure: No states are left.
    """

    name: str
    doc: str
    refuses: Callable[[Node, int], str | None]


_ON_STATE = {Effect.READ, Effect.WRITE, Effect.NEW}
_TRANSFORMATIONS = {"vmap", "map", "grad", "jvp"}


def _refuse_inner_state(node: Node, depth: int) -> str | None:
    if Effect.NEW in node.op.effects:
        return "states created in the graph should have become values"
    if depth and node.op.effects & _ON_STATE:
        return "states should be touched outside all regions only"
    return None


def _refuse_transformation(node: Node, depth: int) -> str | None:
    return "should have been expanded" if node.op.name in _TRANSFORMATIONS else None


def _refuse_state(node: Node, depth: int) -> str | None:
    return "no states should be left" if node.op.effects & _ON_STATE else None


FORMS: dict[str, Form] = {
    form.name: form
    for form in (
        Form("any", "Whatever is well formed.", lambda node, depth: None),
        Form("hoisted", "States are touched outside all regions only.", _refuse_inner_state),
        Form("expanded", "No vmap, map, grad or jvp is left.", _refuse_transformation),
        Form("pure", "No states are left.", _refuse_state),
    )
}
"""The forms that a graph can be asked to have, by name."""


def infer_types(
    op: Op, operands: Sequence[Operand], attrs: Mapping[str, Any], regions: tuple[Graph, ...]
) -> tuple[Type, ...]:
    """Return the result types of a node whose parts may be of any kind.

    Raises
    ------
    GraphError
        If the op's inference refuses them, or fails on them in any other way.
    """
    try:
        return op.result_types(tuple(o.type for o in operands), attrs, regions)
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
        raise GraphError(str(error)) from error


def verify(graph: Graph, form: Form | str = "any") -> None:
    """Check a graph.

    Every value is defined once, and before it is used; states are declared; regions take and give
    what their node says; each type is what inference makes it; literals fit their dtype; only the
    outermost graph has states, consts and units.

    Parameters
    ----------
    graph : Graph
        At any stage.
    form : Form or str
        What its nodes must be besides: one of `FORMS`, or its name.

    Raises
    ------
    VerificationError
        At the first fault. It shows the lines of the graph around it and the user's own line.

    Examples
    --------
    >>> from brainir.ir import Literal, Type, parse, verify
    >>> graph = parse('''
    ... graph (%x: f32[3]) -> (f32[3]) {
    ...   %y = add %x, 1.0:f32 : f32[3]
    ...   return %y
    ... }''')
    >>> verify(graph)
    >>> verify(graph.with_(params=()))
    Traceback (most recent call last):
        ...
    brainir.ir.verify.VerificationError: add: %x is not defined here
    in the graph:
      1 | graph() -> (f32[3]) {
      2 |   %y = add %x, 1.0:f32 : f32[3]
        |        ^
      3 |   return %y
      4 | }
    """
    _Verifier(graph, FORMS[form] if isinstance(form, str) else form).run()


class _Verifier:
    def __init__(self, graph: Graph, form: Form) -> None:
        self._graph = graph
        self._form = form
        self._scope: set[Value] = set()
        self._ever: set[Value] = set()
        self._states: set[StateVar] = set()
        self._created: set[StateVar] = set()

    def run(self) -> None:
        """Check everything."""
        graph = self._graph
        for what, units, values in (
            ("parameters", graph.param_units, graph.params),
            ("results", graph.result_units, graph.results),
        ):
            if units and len(units) != len(values):
                self._fail(None, f"{len(units)} units for {len(values)} {what}")
        for state in graph.states:
            if state in self._states:
                self._fail(None, f"state @{state.name} is declared twice")
            self._states.add(state)
        self._writes(graph)
        self._body(graph, None, 0, [const.value for const in graph.consts])

    def _writes(self, graph: Graph) -> None:
        for state in graph.writes:
            if state not in self._states:
                self._fail(None, f"state @{state.name} is written, but not declared")
        if len(set(graph.writes)) < len(graph.writes):
            self._fail(None, "a state is written twice")
        if not graph.writes:
            return
        for what, states, values in (
            ("parameters", graph.states, graph.params),
            ("results", graph.writes, graph.results),
        ):
            leaves = [type for state in states for type in state.types]
            if [value.type for value in values[-len(leaves) :]] != leaves:
                self._fail(None, f"the last {what} are not the leaves of the graph's states")

    def _body(
        self, graph: Graph, owner: Node | None, depth: int, consts: Sequence[Value] = ()
    ) -> None:
        defined: list[Value] = []
        created: list[StateVar] = []
        self._define((*graph.params, *consts), owner, defined)
        for node in graph.nodes:
            self._node(node, depth, created)
            self._define(node.results, node, defined)
        for result in graph.results:
            self._operand(result, owner, "the result ")
        self._scope.difference_update(defined)
        self._states.difference_update(created)

    def _define(self, values: Sequence[Value], node: Node | None, defined: list[Value]) -> None:
        for value in values:
            if value in self._ever:
                self._fail(node, "% is defined a second time", value)
            self._ever.add(value)
            self._scope.add(value)
            defined.append(value)

    def _operand(self, operand: Operand, node: Node | None, what: str = "") -> None:
        if isinstance(operand, Literal):
            problem = literal_problem(operand)
            if problem:
                self._fail(node, f"{what}% {problem}", operand)
        elif operand not in self._scope:
            self._fail(node, f"{what}% is not defined here", operand)

    def _node(self, node: Node, depth: int, created: list[StateVar]) -> None:
        for operand in node.operands:
            self._operand(operand, node)
        problem = self._form.refuses(node, depth)
        if problem:
            self._fail(node, f"{problem} in the form {self._form.name!r}")
        self._node_states(node, created)
        lanes = self._lane_states(node)
        self._states.update(lanes)
        for region in node.regions:
            if region.states or region.consts or region.param_units or region.result_units:
                self._fail(node, "a region cannot have states, consts or units of its own")
            self._body(region, node, depth + 1)
        self._states.difference_update(lanes)
        if bool(node.regions) != node.op.has_regions:
            self._fail(node, "has regions" if node.regions else "has no regions")
        try:
            types = infer_types(node.op, node.operands, node.attrs, node.regions)
        except GraphError as error:
            self._fail(node, str(error))
        given = tuple(value.type for value in node.results)
        if given != types:
            shown = [", ".join(map(str, ts)) for ts in (types, given)]
            self._fail(node, f"the results should be ({shown[0]}), not ({shown[1]})")

    def _node_states(self, node: Node, created: list[StateVar]) -> None:
        if Effect.NEW in node.op.effects:
            state: StateVar = node.attrs["state"]
            if state in self._created or state in self._graph.states:
                self._fail(node, f"state @{state.name} is created a second time")
            self._created.add(state)
            self._states.add(state)
            created.append(state)
            return
        for value in node.attrs.values():
            items = cast(tuple[Any, ...], value) if isinstance(value, tuple) else (value,)
            for item in items:
                if isinstance(item, StateVar) and item not in self._states:
                    self._fail(node, f"state @{item.name} is not declared here")

    def _lane_states(self, node: Node) -> set[StateVar]:
        """Return the states that regions see one lane of, as the node's attributes declare them."""
        lanes: set[StateVar] = set()
        for name in ("in_states", "out_states"):
            declared = node.attrs.get(name, ())
            if not isinstance(declared, tuple):
                self._fail(node, f"{name} is a tuple of triples: a state, a lane of it, an axis")
            for item in cast(tuple[Any, ...], declared):
                lanes.add(self._lane_state(node, name, item))
        return lanes

    def _lane_state(self, node: Node, name: str, item: Any) -> StateVar:
        match item:
            case (StateVar() as outer, StateVar() as lane, int() | None as axis):
                pass
            case _:
                self._fail(node, f"{name} is a tuple of triples: a state, a lane of it, an axis")
        if outer not in self._states:
            self._fail(node, f"state @{outer.name} is not declared here")
        if lane in self._states or lane in self._created:
            self._fail(node, f"state @{lane.name} is declared already, so it cannot be a lane")
        types = tuple(_without_axis(type, axis) for type in outer.types)
        if lane.types != types:
            shown = ", ".join(map(str, types))
            self._fail(node, f"a lane of state @{outer.name} is {shown}, unlike @{lane.name}")
        return lane

    def _fail(self, node: Node | None, what: str, operand: Operand | None = None) -> NoReturn:
        """Raise; ``%`` in the message stands for the operand."""
        printer = Printer(self._graph)
        shown = printer.operand(operand) if operand is not None else ""
        message = what.replace("%", shown, 1)
        if node is not None:
            message = f"{node.op.name}: {message}"
            if node.loc is not None:
                message += f"\nfrom {node.loc}"
        raise VerificationError(f"{message}\nin the graph:\n{_excerpt(printer, node)}")


def _excerpt(printer: Printer, node: Node | None) -> str:
    """Return the line of a node with two lines around it, and a caret below the op."""
    lines = printer.lines
    at = 0 if node is None else printer.line_of.get(node, 0)
    rows: list[str] = []
    width = len(str(at + 3))
    for i in range(max(0, at - 2), min(len(lines), at + 3)):
        line = lines[i]
        column = len(line) - len(line.lstrip())
        if i == at and node is not None and node.results:
            column = line.index(" = ") + 3
        shown, caret = pointed(line, column)
        rows.append(f"  {i + 1:{width}} | {shown}")
        if i == at:
            rows.append(f"  {'':{width}} | {caret}")
    return "\n".join(rows)


def _without_axis(type: Type, axis: int | None) -> Type:
    return type if axis is None else type.with_shape(*type.shape[:axis], *type.shape[axis + 1 :])


def literal_problem(literal: Literal) -> str | None:
    """Say why a literal's value does not fit its dtype, or return None."""
    value: Any = literal.value
    type = literal.type
    if not isinstance(value, (bool, int, float, complex)):
        return f"is a {value.__class__.__name__}, not a Python number"
    if type.dtype == "bool":
        return None if value in (0, 1) else "does not fit its dtype"
    if type.is_integer:
        return _integer_problem(value, type.dtype)
    if type.is_float:
        return "is not real" if isinstance(value, complex) else None
    return None if type.is_complex else f"cannot be a literal: {type.dtype} has none"


def _integer_problem(value: complex, dtype: str) -> str | None:
    if not isinstance(value, int):
        return "is not an integer"
    bits = int("".join(c for c in dtype if c.isdigit()))
    signed = not dtype.startswith("u")
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    return None if low <= value <= high else "does not fit its dtype"

"""Graphs as text, in one syntax for all ops; `parse` reads it back.

The text is a function of the graph alone. The grammar is in docs/grammar.md.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, cast

import numpy as np

from .graph import Graph, Node
from .op import Effect
from .types import NARROW, SHORT_NAMES, Literal, Loc, Operand, Scalar, StateVar, Type, Value

WIDTH = 100
"""A graph's parameters, results, states or consts get a line each if they do not fit in one."""

LOC_COLUMN = 48
"""Where comments with locations begin, after lines that are short enough."""


def print_graph(graph: Graph, locations: bool = True) -> str:
    """Return the text of a graph.

    Parameters
    ----------
    graph : Graph
        At any stage. A region can be printed by itself, but what it captures is then not defined.
    locations : bool
        Whether to add the user's source lines as comments.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, print_graph
    >>> x, build = Value(Type("float32", (3,)), "x"), Builder()
    >>> print(print_graph(build.graph([x], [build("add", x, x)], "twice")))
    graph @twice(%x: f32[3]) -> (f32[3]) {
      %0 = add %x, %x : f32[3]
      return %0
    }
    """
    return "\n".join(Printer(graph, locations).lines)


def scalar_text(value: Scalar) -> str:
    """Return a Python number so that it can be read back exactly."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, complex):
        real, imaginary = float.__repr__(value.real), float.__repr__(value.imag)
        return f"{real}{'' if imaginary.startswith('-') else '+'}{imaginary}j"
    return float.__repr__(value) if isinstance(value, float) else int.__repr__(value)


def literal_text(literal: Literal) -> str:
    """Return a literal as an operand, such as ``2.5:f32`` or ``true``; equal ones look the same."""
    value, dtype = literal.value, literal.type.dtype
    if isinstance(value, int):
        if dtype == "bool" and value in (0, 1):
            return "true" if value else "false"
        value = int(value)
    if isinstance(value, float) and dtype in NARROW:
        # As few digits as tell it from all other numbers of its dtype.
        value = float(str(np.dtype(dtype).type(value)))
    return f"{scalar_text(value)}:{SHORT_NAMES.get(dtype, dtype)}"


def implied_type(group: str, operand: Type) -> Type:
    """Return the type of the region parameter bound to an operand, unless it is written down."""
    if group == "over" and operand.shape:
        return Type(operand.dtype, operand.shape[1:])
    return operand


class Printer:
    """Prints one graph.

    Attributes
    ----------
    lines : list of str
        The text.
    line_of : dict
        The index of the line where each node begins.

    Examples
    --------
    >>> from brainir.ir import Printer, parse
    >>> graph = parse('''graph @f(%x: f32[]) -> (f32[]) {
    ...   %y = neg %x
    ...   return %y
    ... }''')
    >>> printer = Printer(graph)
    >>> printer.lines[printer.line_of[graph.nodes[0]]], printer.operand(graph.results[0])
    ('  %y = neg %x : f32[]', '%y')
    """

    def __init__(self, graph: Graph, locations: bool = False) -> None:
        self.lines: list[str] = []
        self.line_of: dict[Node, int] = {}
        self._locations = locations
        self._values: dict[Value, str] = {}
        self._value_names = _Names()
        self._states: dict[StateVar, str] = {}
        self._state_names = _Names()
        self._types: dict[Type, str] = {}
        self._header(graph)
        self._body(graph)

    # --- parts ------------------------------------------------------------------------------------

    def operand(self, operand: Operand) -> str:
        """Return a value's name or a literal's text."""
        if isinstance(operand, Literal):
            return literal_text(operand)
        return self._name(operand, operand.hint)

    def _operands(self, operands: Iterable[Operand]) -> str:
        return ", ".join(map(self.operand, operands))

    def _name(self, value: Value, hint: str) -> str:
        # In a graph that is not well formed, a value may be met before or after its definition.
        name = self._values.get(value)
        if name is None:
            name = self._values[value] = "%" + self._value_names.take(_identifier(hint))
        return name

    def _type(self, type: Type) -> str:
        text = self._types.get(type)
        if text is None:
            text = self._types[type] = str(type)
        return text

    def _typed(self, value: Value, unit: str | None = None) -> str:
        """Define a value with its type."""
        return f"{self._name(value, value.hint)}: {self._type(value.type)}{_unit(unit)}"

    def _state(self, state: StateVar) -> str:
        text = self._states.get(state)
        if text is None:
            name = self._state_names.take(state.name)
            text = self._states[state] = _symbol(name)
        return text

    def _declared(self, state: StateVar) -> str:
        types = [self._type(t) for t in state.types]
        text = types[0] if len(types) == 1 else f"({', '.join(types)})"
        return f"{self._state(state)}: {text} {state.kind}{_unit(state.unit)}"

    def _attribute(self, value: Any) -> str:
        kind = cast(Any, type(value))
        if kind is int or kind is bool or kind is float or kind is complex:
            return scalar_text(value)
        if kind is str:
            return SHORT_NAMES.get(value) or _quoted(value)
        if kind is tuple:
            comma = "," if len(value) == 1 else ""
            return f"({', '.join(map(self._attribute, value))}{comma})"
        if kind is StateVar:
            return self._state(value) if value in self._states else self._declared(value)
        if kind is Type:
            return self._type(value)
        return "none" if value is None else f"<{kind.__name__}>"

    # --- whole graphs -----------------------------------------------------------------------------

    def _header(self, graph: Graph) -> None:
        name = f" {_symbol(graph.name)}" if graph.name else ""
        params = map(self._typed, graph.params, _units(graph.param_units, graph.params))
        results = [
            self._type(result.type) + _unit(unit)
            for result, unit in zip(
                graph.results, _units(graph.result_units, graph.results), strict=True
            )
        ]
        text = _listed(f"graph{name}", params) + _listed(" -> ", results)
        if graph.states:
            text += _listed("\n  states", map(self._declared, graph.states))
        if graph.writes:
            text += _listed("\n  writes", map(self._state, graph.writes))
        if graph.consts:
            text += _listed("\n  consts", (self._typed(const.value) for const in graph.consts))
        self.lines.extend(f"{text} {{".split("\n"))

    def _body(self, graph: Graph) -> None:
        # Regions nest on a stack of our own, so that depth costs no recursion.
        stack: list[tuple[Graph, Iterator[Node], Node | None, int]] = []
        stack.append((graph, iter(graph.nodes), None, 0))
        while stack:
            region, nodes, owner, position = stack[-1]
            indent = "  " * len(stack)
            for node in nodes:
                self._node(node, indent)
                if node.regions:
                    stack.append((node.regions[0], iter(node.regions[0].nodes), node, 0))
                    break
            else:
                stack.pop()
                ending = "return" if owner is None else "yield"
                self.lines.append(f"{indent}{ending} {self._operands(region.results)}".rstrip())
                closing = indent[2:] + "}"
                if owner is not None and position + 1 < len(owner.regions):
                    following = owner.regions[position + 1]
                    closing += f" and{self._region_header(owner, following)} {{"
                    stack.append((following, iter(following.nodes), owner, position + 1))
                self.lines.append(closing)

    def _node(self, node: Node, indent: str) -> None:
        attrs, regions = dict(node.attrs), node.regions
        state = attrs.get("state")
        parts: list[str] = []
        if type(state) is StateVar:
            del attrs["state"]
            new = Effect.NEW in node.op.effects
            parts.append(self._declared(state) if new else self._state(state))
        if regions and _is_bound(node):
            if len(node.op.groups) == 2:
                attrs.pop("carries", None)
            operands = self._bindings(node)
        else:
            operands = self._operands(node.operands)
        if operands:
            parts.append(operands)
        line = f"{node.op.name} {', '.join(parts)}" if parts else node.op.name
        if attrs:
            defaults = node.op.defaults
            items = [
                f"{name}={self._attribute(value)}"
                for name, value in attrs.items()
                if name not in defaults or not _same(value, defaults[name])
            ]
            line = f"{line} {{{', '.join(items)}}}" if items else line
        if node.results:
            names = ", ".join([self._name(value, value.hint) for value in node.results])
            types = ", ".join([self._type(value.type) for value in node.results])
            line = f"{names} = {line} : {types}"
        if regions:
            line = f"{line} do{self._region_header(node, regions[0])} {{"
        line = indent + line
        if self._locations and node.loc is not None:
            line = f"{line.ljust(LOC_COLUMN - 1)} # {_place(node.loc)}"
        self.line_of[node] = len(self.lines)
        self.lines.append(line)

    def _bindings(self, node: Node) -> str:
        """Name the region parameters that operands are bound to, by group."""
        groups: list[str] = []
        start = 0
        for group, size in _group_sizes(node):
            items: list[str] = []
            for i in range(start, start + size):
                params = [r.params[i] for r in node.regions if len(r.params) == len(node.operands)]
                name = self._name(params[0], next((p.hint for p in params if p.hint), ""))
                type, operand = params[0].type, node.operands[i]
                if type != implied_type(group, operand.type):
                    name += f": {self._type(type)}"
                items.append(f"{name} = {self.operand(operand)}")
            if items:
                groups.append(f"{group}({', '.join(items)})")
            start += size
        return " ".join(groups)

    def _region_header(self, node: Node, region: Graph) -> str:
        """Return a region's name, if any, and those parameters that operands are not bound to."""
        name = f" {_symbol(region.name)}" if region.name else ""
        bound = node.regions[0].params if _is_bound(node) else ()
        if [p.type for p in region.params] != [p.type for p in bound]:
            return f"{name} ({', '.join(map(self._typed, region.params))})"
        for param, shared in zip(region.params, bound, strict=True):
            self._values[param] = self._values[shared]
        return name


def _same(value: object, default: object) -> bool:
    """Whether an attribute is a default, which is a plain scalar."""
    return type(value) is type(default) and value == default


def _is_bound(node: Node) -> bool:
    """Whether operands go straight to the parameters of the first region."""
    return len(node.regions[0].params) == len(node.operands)


def _group_sizes(node: Node) -> list[tuple[str, int]]:
    groups, size = node.op.groups, len(node.operands)
    if len(groups) != 2:
        return [(groups[0] if groups else "", size)]
    first = node.attrs.get("carries")
    first = first if type(first) is int and 0 <= first <= size else size
    return [(groups[0], first), (groups[1], size - first)]


class _Names:
    """Hands out names, each only once."""

    def __init__(self) -> None:
        self._taken: set[str] = set()
        self._next: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """Return the wish, or the wish with the first number that makes it new."""
        name = wish
        if not wish or wish in self._taken:
            number = self._next.get(wish, 1 if wish else 0)
            while (name := f"{wish}{number}") in self._taken:
                number += 1
            self._next[wish] = number + 1
        self._taken.add(name)
        return name


def _identifier(hint: str) -> str:
    """Return a hint as a word that is no number."""
    if not hint or re.fullmatch(r"[^\W\d]\w*", hint):
        return hint
    word = re.sub(r"\W+", "_", hint)
    return f"_{word}" if re.match(r"\d", word) else word


def _symbol(name: str) -> str:
    return f"@{name}" if re.fullmatch(r"[\w.]+", name) else f"@{_quoted(name)}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=not text.isprintable())


def _unit(unit: str | None) -> str:
    return "" if unit is None else f" {_quoted(unit)}"


def _units(units: Sequence[str | None], values: Sequence[Operand]) -> Sequence[str | None]:
    return units if len(units) == len(values) else (None,) * len(values)


def _listed(prefix: str, items: Iterable[str]) -> str:
    items = list(items)
    line = f"{prefix}({', '.join(items)})"
    if len(line) <= WIDTH:
        return line
    return f"{prefix}(\n    " + ",\n    ".join(items) + "\n  )"


def _place(loc: Loc) -> str:
    file = re.split(r"[/\\]", loc.file)[-1]
    scope = f"[{loc.scope}]" if loc.scope else ""
    return " ".join(f"{file}:{loc.line} {loc.function} {scope}".split())

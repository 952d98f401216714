"""Reads the text form; the inverse of `print_graph`. The grammar is in docs/grammar.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, NoReturn, TypeVar

from .graph import Graph, Node
from .lexer import ParseError, tokenize
from .op import Effect, GraphError, Op, all_ops, find_op
from .printer import implied_type
from .types import LONG_NAMES, SHORT_NAMES, Const, Literal, Operand, Scalar, StateVar, Type, Value
from .verify import infer_types

T = TypeVar("T")
Units = tuple[str | None, ...]

_WORDS: dict[str, Any] = {"none": None, "true": True, "false": False, **LONG_NAMES}
"""What bare words mean as attributes."""

_DEEPEST_TUPLE = 100


def parse(text: str, file: str = "<text>", resolve: Callable[[str], Op | None] = find_op) -> Graph:
    """Read a graph from text.

    Whatever `print_graph` wrote is read back as an equal graph, at every stage. Consts have no data
    then, and nodes no locations.

    Parameters
    ----------
    text : str
        One graph. Result types may be left out; if they are there, they must be right.
    file : str
        What error messages call the text.
    resolve : callable
        Finds the op of a name, or None; by default only ops that are defined.

    Raises
    ------
    ParseError
        If the text is not a well-formed graph; it points at the place.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> graph = parse('''
    ... graph @double(%x: f32[3] "mV") -> (f32[3] "mV") {
    ...   %y = mul %x, 2.0:f32
    ...   return %y
    ... }''')
    >>> print(graph)
    graph @double(%x: f32[3] "mV") -> (f32[3] "mV") {
      %y = mul %x, 2.0:f32 : f32[3]
      return %y
    }
    """
    return _Parser(text, file, resolve).graph()


@dataclass(slots=True)
class _Opened:
    """A node as far as its first line tells; its regions follow."""

    op: Op
    position: int
    names: list[tuple[str, int]]
    operands: list[Operand] = field(default_factory=list[Operand])
    attrs: dict[str, Any] = field(default_factory=dict[str, Any])
    bound: list[tuple[str, Type, int]] = field(default_factory=list[tuple[str, Type, int]])
    """Name, type and token of each region parameter that an operand is bound to."""
    types: list[tuple[Type, int]] | None = None
    regions: list[Graph] = field(default_factory=list[Graph])


@dataclass(slots=True)
class _Body:
    """A graph or region being read."""

    name: str
    params: tuple[Value, ...]
    owner: _Opened | None
    names: list[str]
    """What was defined here, to be forgotten at the end."""
    nodes: list[Node] = field(default_factory=list[Node])


class _Parser:
    def __init__(self, text: str, file: str, resolve: Callable[[str], Op | None]) -> None:
        self._text, self._file, self._resolve = text, file, resolve
        tokens = tokenize(text, file)
        self._kinds, self._texts, self._positions = tokens.kinds, tokens.texts, tokens.positions
        self._at = 0
        self._values: dict[str, Value] = {}
        self._states: dict[str, StateVar] = {}
        self._types: dict[str, Type] = {}
        self._literals: dict[str, Literal] = {}

    # --- tokens -----------------------------------------------------------------------------------

    def _fail(self, what: str, at: int | None = None) -> NoReturn:
        position = self._positions[self._at if at is None else at]
        raise ParseError(what, self._text, position, self._file)

    def _expect(self, kind: str, what: str = "") -> str:
        at = self._at
        if self._kinds[at] != kind:
            found = self._kinds[at]
            shown = {"newline": "the end of the line", "end": "the end of the text"}.get(
                found, repr(self._texts[at])
            )
            self._fail(f"expected {what or repr(kind)}, found {shown}")
        self._at = at + 1
        return self._texts[at]

    def _accept(self, kind: str) -> bool:
        if self._kinds[self._at] == kind:
            self._at += 1
            return True
        return False

    def _accept_word(self, word: str) -> bool:
        if self._texts[self._at] == word and self._kinds[self._at] == "word":
            self._at += 1
            return True
        return False

    def _skip_newlines(self) -> None:
        while self._kinds[self._at] == "newline":
            self._at += 1

    def _listed(self, item: Callable[[], T], opening: str = "(", closing: str = ")") -> list[T]:
        """Read items in parentheses or braces; lines may break there, a comma may end the list."""
        self._expect(opening)
        items: list[T] = []
        self._skip_newlines()
        while not self._accept(closing):
            items.append(item())
            self._skip_newlines()
            if not self._accept(","):
                self._expect(closing, f"',' or {closing!r}")
                break
            self._skip_newlines()
        return items

    # --- names, types, numbers --------------------------------------------------------------------

    def _symbol(self) -> str:
        text = self._expect("symbol", "a name such as @f")
        return self._unquoted(text[1:]) if text[1] == '"' else text[1:]

    def _unquoted(self, text: str) -> str:
        try:
            return json.loads(text)
        except ValueError as error:
            self._fail(f"not a string: {error}", self._at - 1)

    def _unit(self) -> str | None:
        return self._unquoted(self._texts[self._at - 1]) if self._accept("string") else None

    def _type(self) -> Type:
        text = self._expect("type", "a type such as f32[3]")
        type = self._types.get(text)
        if type is None:
            dtype, dims = text[:-1].split("[")
            parts = dims.split(",") if dims else []
            if not all(parts) or any(len(part) > 18 for part in parts):
                self._fail(f"{text} is not a type", self._at - 1)
            shape = tuple(map(int, parts))
            type = self._types[text] = Type(self._dtype(dtype), shape)
        return type

    def _dtype(self, name: str) -> str:
        """Return the dtype spelled so; only rare ones are spelled out."""
        if name in LONG_NAMES:
            return LONG_NAMES[name]
        if not name.startswith(("key<", "float")) or name in SHORT_NAMES:
            short = SHORT_NAMES.get(name)
            near = [short] if short else get_close_matches(name, LONG_NAMES)
            self._fail(f"{name} is not a dtype" + _did_you_mean(near), self._at - 1)
        return name

    def _number(self, text: str) -> Scalar:
        try:
            if text.endswith("j"):
                return complex(text)
            return int(text) if text.lstrip("-").isdecimal() else float(text)
        except ValueError as error:
            self._fail(f"not a number: {error}", self._at - 1)

    def _define(self, name: str, type: Type, body_names: list[str], at: int) -> Value:
        if name in self._values:
            self._fail(f"{name} is already defined", at)
        hint = name[1:]
        value = self._values[name] = Value(type, "" if hint.isdecimal() else hint)
        body_names.append(name)
        return value

    def _operand(self) -> Operand:
        at = self._at
        kind, text = self._kinds[at], self._texts[at]
        if kind == "value":
            value = self._values.get(text)
            if value is None:
                near = get_close_matches(text, self._values, 1)
                self._fail(f"{text} is not defined here" + _did_you_mean(near))
            self._at = at + 1
            return value
        literal = self._literals.get(text)
        if literal is None:
            literal = self._literals[text] = self._literal(kind, text)
        self._at = at + 1
        return literal

    def _literal(self, kind: str, text: str) -> Literal:
        if kind == "word" and text in ("true", "false"):
            return Literal(text == "true", Type("bool"))
        self._expect("number", "an operand")
        number, colon, dtype = text.partition(":")
        if not colon:
            self._fail(f"a literal needs a dtype, such as {text}:f32", self._at - 1)
        return Literal(self._number(number), Type(self._dtype(dtype)))

    # --- states and attributes --------------------------------------------------------------------

    def _declared_state(self) -> StateVar:
        at, name = self._at, self._symbol()
        if name in self._states:
            self._fail(f"state @{name} is already declared", at)
        self._expect(":")
        types = [self._type()] if self._kinds[self._at] == "type" else self._listed(self._type)
        kind = self._expect("word", "a kind of state such as hidden")
        state = self._states[name] = StateVar(name, tuple(types), kind, self._unit())
        return state

    def _state(self) -> StateVar:
        at, name = self._at, self._symbol()
        state = self._states.get(name)
        if state is None:
            near = get_close_matches(name, self._states, 1)
            self._fail(f"state @{name} is not declared" + _did_you_mean(near, "@"), at)
        return state

    def _named_attribute(self, attrs: dict[str, Any]) -> None:
        at, name = self._at, self._expect("word", "the name of an attribute")
        if name in attrs:
            self._fail(f"{name} is given twice", at)
        self._expect("=")
        attrs[name] = self._attribute()

    def _attribute(self, depth: int = 0) -> Any:
        kind, text = self._kinds[self._at], self._texts[self._at]
        if kind == "(":
            if depth == _DEEPEST_TUPLE:
                self._fail("tuples nest too deep")
            return tuple(self._listed(lambda: self._attribute(depth + 1)))
        if kind == "symbol":
            declares = self._kinds[self._at + 1] == ":"
            return self._declared_state() if declares else self._state()
        if kind == "type":
            return self._type()
        if kind == "opaque":
            self._fail(f"the text does not hold this attribute, {text}, so it cannot be read back")
        if kind == "word" and text not in _WORDS:
            self._fail(f"{text!r} means nothing here; a string needs quotes")
        if kind not in ("number", "string", "word"):
            self._fail(f"expected the value of an attribute, found {text!r}")
        self._at += 1
        if kind == "word":
            return _WORDS[text]
        return self._unquoted(text) if kind == "string" else self._number(text)

    # --- graphs -----------------------------------------------------------------------------------

    def graph(self) -> Graph:
        """Read the whole text."""
        self._skip_newlines()
        if not self._accept_word("graph"):
            self._expect("graph", "'graph'")
        name = self._symbol() if self._kinds[self._at] == "symbol" else ""
        names: list[str] = []
        params, param_units = _unzip(self._listed(lambda: self._param(names)))
        self._expect("->")
        at = self._at
        types, result_units = _unzip(self._listed(lambda: (self._type(), self._unit())))
        self._skip_newlines()
        states = self._listed(self._declared_state) if self._accept_word("states") else ()
        self._skip_newlines()
        writes = self._listed(self._state) if self._accept_word("writes") else ()
        self._skip_newlines()
        consts: Sequence[Const] = ()
        if self._accept_word("consts"):
            consts = self._listed(lambda: Const(self._param(names)[0]))
        self._skip_newlines()
        self._expect("{")
        nodes, results = self._bodies(_Body(name, params, None, names))
        if tuple(r.type for r in results) != types:
            returned = ", ".join(str(r.type) for r in results)
            self._fail(f"the graph returns ({returned}), which is not what is said here", at)
        self._skip_newlines()
        self._expect("end", "the end of the text")
        return Graph(
            name,
            params,
            nodes,
            results,
            tuple(states),
            tuple(consts),
            param_units,
            result_units,
            tuple(writes),
        )

    def _param(self, names: list[str]) -> tuple[Value, str | None]:
        at, name = self._at, self._expect("value", "a parameter such as %x")
        self._expect(":")
        return self._define(name, self._type(), names, at), self._unit()

    def _bodies(self, body: _Body) -> tuple[tuple[Node, ...], tuple[Operand, ...]]:
        """Read the nodes and results of a graph; regions are on a stack, not in the recursion."""
        stack = [body]
        while True:
            body = stack[-1]
            self._skip_newlines()
            ending = "return" if body.owner is None else "yield"
            if not self._accept_word(ending):
                opened = self._node()
                if self._accept_word("do"):
                    stack.append(self._region(opened))
                else:
                    self._end_of_statement()
                    self._close(opened, body)
                continue
            results = self._operands_until_newline()
            self._skip_newlines()
            self._expect("}")
            if body.owner is None:
                return tuple(body.nodes), tuple(results)
            for name in body.names:
                del self._values[name]
            owner = body.owner
            owner.regions.append(Graph(body.name, body.params, tuple(body.nodes), tuple(results)))
            stack.pop()
            if self._accept_word("and"):
                stack.append(self._region(owner))
            else:
                self._end_of_statement()
                self._close(owner, stack[-1])

    def _end_of_statement(self) -> None:
        if self._kinds[self._at] not in ("newline", "}", "end"):
            self._expect("newline", "the end of the line")

    def _region(self, owner: _Opened) -> _Body:
        """Read how a region begins."""
        name = self._symbol() if self._kinds[self._at] == "symbol" else ""
        names: list[str] = []
        if self._kinds[self._at] == "(":
            params = [p for p, _ in self._listed(lambda: self._param(names))]
        else:
            params = [self._define(name, type, names, at) for name, type, at in owner.bound]
        self._expect("{")
        return _Body(name, tuple(params), owner, names)

    # --- nodes ------------------------------------------------------------------------------------

    def _node(self) -> _Opened:
        """Read a node up to its regions."""
        names: list[tuple[str, int]] = []
        if self._kinds[self._at] == "value":
            names.append((self._expect("value"), self._at - 1))
            while self._accept(","):
                names.append((self._expect("value", "a name such as %x"), self._at - 1))
            self._expect("=")
        at = self._at
        opened = _Opened(self._op(self._expect("word", "an op"), at), at, names)
        self._operands(opened)
        if self._kinds[self._at] == "{":
            self._listed(lambda: self._named_attribute(opened.attrs), "{", "}")
        for name, value in opened.op.defaults.items():
            opened.attrs.setdefault(name, value)
        if self._accept(":"):
            opened.types = [(self._type(), self._at - 1)]
            while self._accept(","):
                opened.types.append((self._type(), self._at - 1))
        return opened

    def _op(self, name: str, at: int) -> Op:
        op = self._resolve(name)
        if op is None:
            if name in ("return", "yield"):
                self._fail("a region ends with 'yield', the graph with 'return'", at)
            near = get_close_matches(name, (op.name for op in all_ops()))
            self._fail(f"no op is called {name}" + _did_you_mean(near), at)
        return op

    def _operands(self, opened: _Opened) -> None:
        op = opened.op
        if self._kinds[self._at] == "symbol":
            new = Effect.NEW in op.effects
            opened.attrs["state"] = self._declared_state() if new else self._state()
            if not self._accept(","):
                return
        first = 0
        bound = False
        while self._starts_group(op):
            group = self._texts[self._at] if self._kinds[self._at] == "word" else ""
            self._at += bool(group)
            for name, type, at, operand in self._listed(lambda group=group: self._binding(group)):
                opened.operands.append(operand)
                opened.bound.append((name, type, at))
            if op.groups and group == op.groups[0]:
                first = len(opened.operands)
            bound = True
        if len(op.groups) == 2:
            opened.attrs["carries"] = first
        if not bound:
            opened.operands = self._operands_until_newline()

    def _starts_group(self, op: Op) -> bool:
        if self._kinds[self._at] == "(":
            return op.has_regions
        return self._texts[self._at] in op.groups and self._kinds[self._at + 1] == "("

    def _binding(self, group: str) -> tuple[str, Type, int, Operand]:
        at, name = self._at, self._expect("value", "a parameter such as %x")
        type = self._type() if self._accept(":") else None
        self._expect("=")
        operand = self._operand()
        return name, type or implied_type(group, operand.type), at, operand

    def _operands_until_newline(self) -> list[Operand]:
        if self._kinds[self._at] not in ("value", "number") and self._texts[self._at] not in (
            "true",
            "false",
        ):
            return []
        operands = [self._operand()]
        while self._accept(","):
            operands.append(self._operand())
        return operands

    def _close(self, opened: _Opened, body: _Body) -> None:
        """Infer the types of a node whose regions were read, and add it."""
        op, regions = opened.op, tuple(opened.regions)
        operands, attrs = tuple(opened.operands), opened.attrs
        if bool(regions) != op.has_regions:
            expected = "expects regions: do { ... }" if op.has_regions else "has no regions"
            self._fail(f"{op.name} {expected}", opened.position)
        try:
            types = infer_types(op, operands, attrs, regions)
        except GraphError as error:
            described = ", ".join(str(o.type) for o in operands)
            self._fail(f"{op.name}({described}): {error}", opened.position)
        self._check_types(opened, types)
        results = tuple(
            self._define(name, type, body.names, at)
            for (name, at), type in zip(opened.names, types, strict=True)
        )
        body.nodes.append(Node(op, operands, attrs, regions, results))

    def _check_types(self, opened: _Opened, types: tuple[Type, ...]) -> None:
        if len(opened.names) != len(types):
            counts = f"{len(types)} results, not {len(opened.names)}"
            self._fail(f"{opened.op.name} has {counts}", opened.position)
        if opened.types is None:
            return
        if len(opened.types) != len(types):
            self._fail(f"expected {len(types)} types", opened.types[0][1])
        for (said, at), type in zip(opened.types, types, strict=True):
            if said != type:
                self._fail(f"this result of {opened.op.name} is {type}, not {said}", at)


def _did_you_mean(names: Sequence[str], prefix: str = "") -> str:
    return f"; did you mean {' or '.join(prefix + name for name in names)}?" if names else ""


def _unzip(pairs: Sequence[tuple[T, str | None]]) -> tuple[tuple[T, ...], Units]:
    """Split values from units; no units at all are written as ()."""
    units = tuple(unit for _, unit in pairs)
    return tuple(value for value, _ in pairs), units if any(u is not None for u in units) else ()

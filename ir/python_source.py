"""Graphs as Python source: a function of arrays that says what the graph computes with `jax.lax`.

What an op looks like is not written down a second time: its ``lax`` rule runs on names in the place
of arrays, and on a stand-in for the `jax` module that notes what is called.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np

from .applied_views import Call
from .dtypes import numpy_dtype
from .graph import Graph, Node
from .op import Effect, GraphError
from .ops.elementwise import kind
from .ops.rules import Array
from .types import Literal, Operand, Scalar, Type, Value, at
from .views import Branches, Loop, While

SMALL = 16
"""Constants of at most so many elements are written where they are used."""

RESERVED = frozenset(
    {*keyword.kwlist, "jax", "jnp", "lax", "np", "constants", "float", "complex", "bool", "tuple"}
)

Handler = Callable[[Node, Sequence[str]], "str | None"]
"""``handler(node, operands)`` gives an expression for a node, of which the operands are texts."""

INFIX = {
    "add": ("+", "iufc"),
    "sub": ("-", "iufc"),
    "mul": ("*", "iufc"),
    "div": ("/", "fc"),
    "lt": ("<", "iuf"),
    "le": ("<=", "iuf"),
    "gt": (">", "iuf"),
    "ge": (">=", "iuf"),
    "eq": ("==", "iuf"),
    "ne": ("!=", "iuf"),
    "and": ("&", "biu"),
    "or": ("|", "biu"),
    "xor": ("^", "biu"),
}
"""Operators of Python that mean just what an op does, and for which kinds of elements."""

UNSAID = ("precision", "preferred_element_type", "fill_value")
"""Arguments that need not be said if they are None."""

IMPORTS = ("jax.extend.core.primitives", "jax.extend.random")


@dataclass(frozen=True)
class PythonSource:
    """What a graph computes, as Python.

    Attributes
    ----------
    text : str
        Imports, and a function. It takes the parameters of the graph, and returns a tuple of its
        results.
    name : str
        What the function is called.
    constants : dict
        What stands in the text as ``constants["name"]``, and is given as the keyword argument
        ``constants``: larger arrays, and operations of JAX that cannot be written. None for an
        array that the graph does not hold. If there is nothing, the function has no such argument.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @rate(%x: f32[3]) -> (f32[3]) {
    ...   %y = tanh %x
    ...   return %y
    ... }''')
    >>> source = graph.to_python()
    >>> source.name, source.constants
    ('rate', {})
    >>> source.function()(np.zeros(3, np.float32))
    (Array([0., 0., 0.], dtype=float32),)
    """

    text: str
    name: str
    constants: dict[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return self.text

    def function(self) -> Callable[..., tuple[Any, ...]]:
        """Return the function that the text defines, with its constants."""
        names: dict[str, Any] = {}
        exec(compile(self.text, f"<source of {self.name}>", "exec"), names)
        defined = names[self.name]
        if not self.constants:
            return defined
        return lambda *arrays: defined(*arrays, constants=self.constants)


def to_python(
    graph: Graph,
    *,
    name: str | None = None,
    small: int | None = SMALL,
    handlers: Mapping[str, Handler] | None = None,
) -> PythonSource:
    """Return a graph as Python source.

    Parameters
    ----------
    graph : Graph
        Without states and transformations, as it is after all passes.
    name : str, optional
        What the function is called; by default as the graph.
    small : int or None
        Constants of at most so many elements are written where they are used, all of them if None.
    handlers : mapping, optional
        For the names of ops, what writes them; see `Handler`. One that returns None leaves it to
        us.

    Raises
    ------
    GraphError
        If a state or a transformation is left.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (3,)), "x"), Builder()
    >>> twice = build("mul", x, build.full(Type("float32"), 2.0))
    >>> source = to_python(build.graph([x], [twice], "twice"))
    >>> print(source.text.split("\\n\\n")[-1].strip())
    def twice(x):
        # x: f32[3]
        t0 = x * 2.0
        return (t0,)
    >>> source.function()(np.ones(3, np.float32))
    (array([2., 2., 2.], dtype=float32),)
    """
    return _Writer(graph, name or graph.name or "graph", small, handlers or {}).source()


class _Names:
    """Gives each value a name of its own, in the whole text."""

    def __init__(self) -> None:
        self._taken = set(RESERVED)
        self._numbers: dict[str, int] = {}

    def take(self, wish: str) -> str:
        """Return the wish, made a name of Python, or with a number that makes it new."""
        wish = re.sub(r"\W", "_", wish, flags=re.ASCII)
        wish = f"_{wish}" if wish[:1].isdigit() else wish
        name, number = wish, self._numbers.get(wish, 0)
        while not name or name in self._taken:
            name = f"{wish or 't'}{number}"
            number += 1
        self._numbers[wish] = number
        self._taken.add(name)
        return name


# --- recording the rules of ops -------------------------------------------------------------------


class _Path:
    """The `jax` module, or something in it, for a rule that is recorded."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __getattr__(self, name: str) -> _Path:
        return _Path(f"{self._text}.{name}")

    def __getitem__(self, key: Any) -> _Expression:
        return _Expression(f"{_short(self._text)}[{_text(key)}]", 1)

    def __call__(self, *args: Any, **kwargs: Any) -> _Expression:
        named = {k: v for k, v in kwargs.items() if v is not None or k not in UNSAID}
        given = [*map(_text, args), *(f"{k}={_text(v)}" for k, v in named.items())]
        return _Expression(f"{_short(self._text)}({', '.join(given)})")

    def __repr__(self) -> str:
        return _short(self._text)


class _Expression:
    """What a recorded call gives; a sequence of as many results as are asked for."""

    def __init__(self, text: str, count: int | None = None) -> None:
        self.text, self.count = text, count

    def __iter__(self) -> Iterator[_Item]:
        return iter([_Item(self)])

    def __repr__(self) -> str:
        return self.text


class _Item:
    """All results of a call, where a rule makes a tuple of them."""

    def __init__(self, whole: _Expression) -> None:
        self.whole = whole


class _Array:
    """An operand, for a rule that is recorded."""

    def __init__(self, text: str, type: Type) -> None:
        self.text, self.shape, self.ndim = text, type.shape, type.rank
        self._dtype = type.dtype

    @property
    def dtype(self) -> Any:
        return numpy_dtype(self._dtype)

    def __repr__(self) -> str:
        return self.text


def _short(path: str) -> str:
    for whole, short in (("jax.lax.", "lax."), ("jax.numpy.", "jnp.")):
        if path.startswith(whole):
            return short + path.removeprefix(whole)
    return path


# --- data as text ---------------------------------------------------------------------------------


def _text(value: Any) -> str:
    """Return Python data, or what was recorded, as an expression."""
    if isinstance(value, tuple):
        return _tuple(map(_text, cast(tuple[Any, ...], value)))
    if isinstance(value, list):
        return f"[{', '.join(map(_text, cast(list[Any], value)))}]"
    if isinstance(value, np.dtype):
        return f'jnp.dtype("{cast(Any, value).name}")'
    if isinstance(value, (np.ndarray, np.generic)):
        return _array_text(np.asarray(cast(Any, value)))
    if isinstance(value, (bool, int, float, complex)):
        return _number(value)
    if isinstance(value, str):
        return f'"{value}"' if value.isidentifier() else repr(value)
    if value is None or isinstance(value, (_Path, _Expression, _Array)):
        return repr(value)
    raise GraphError(f"{value!r} cannot be written as Python source")


def _tuple(texts: Iterator[str] | Sequence[str]) -> str:
    parts = list(texts)
    return f"({', '.join(parts)}{',' if len(parts) == 1 else ''})"


def _number(value: Scalar) -> str:
    if isinstance(value, complex):
        return f"complex({_number(value.real)}, {_number(value.imag)})"
    if isinstance(value, float) and not np.isfinite(value):
        return f'float("{value}")'
    return repr(value)


def _array_text(array: Array) -> str:
    if array.ndim == 0:
        return _typed(array.item(), array.dtype.name)
    return f"np.array({_nested(array.tolist())}, {_text(array.dtype)}){_reshaped(array)}"


def _nested(items: Any) -> str:
    if not isinstance(items, list):
        return _number(items)
    return f"[{', '.join(map(_nested, cast(list[Any], items)))}]"


def _reshaped(array: Array) -> str:
    return "" if array.size else f".reshape({array.shape})"


def _typed(value: Scalar, dtype: str) -> str:
    """Return a number of just that dtype."""
    if dtype == "bool":
        return f"np.bool_({bool(value)})"
    if isinstance(getattr(np, dtype, None), type):
        return f"np.{dtype}({_number(value)})"
    return f'np.array({_number(value)}, jnp.dtype("{dtype}"))'


# --- writing --------------------------------------------------------------------------------------


class _Writer:
    """Writes one graph."""

    def __init__(
        self, graph: Graph, name: str, small: int | None, handlers: Mapping[str, Handler]
    ) -> None:
        self._graph, self._small, self._handlers = graph, small, handlers
        self._names = _Names()
        self._name = self._names.take(name)
        self._values: dict[Value, str] = {}
        self._constants: dict[str, Any] = {}
        self._lines: list[str] = []
        self._indent = 1

    def source(self) -> PythonSource:
        """Write everything."""
        graph = self._graph
        params = [self._define(value) for value in graph.params]
        self._parameters()
        for const in graph.consts:
            self._const(const.value, const.data)
        self._body(graph, "return")
        signature = [*params, *(["*", "constants"] if self._constants else [])]
        body = "\n".join([f"def {self._name}({', '.join(signature)}):", *self._lines])
        named = [f"import {module}" for module in IMPORTS if module in body]
        imports = ["import jax", *named, "import jax.numpy as jnp", "import numpy as np"]
        text = "\n".join([*imports, "from jax import lax"]) + f"\n\n\n{body}\n"
        return PythonSource(text, self._name, self._constants)

    # --- names ------------------------------------------------------------------------------------

    def _define(self, value: Value) -> str:
        name = self._values[value] = self._names.take(value.hint)
        return name

    def _targets(self, values: Sequence[Value]) -> str:
        return _tuple([self._define(value) for value in values])

    def _operand(self, operand: Operand) -> str:
        if isinstance(operand, Literal):
            return _typed(operand.value, operand.type.dtype)
        return self._values[operand]

    def _tuple(self, operands: Sequence[Operand]) -> str:
        return _tuple([self._operand(operand) for operand in operands])

    def _line(self, text: str) -> None:
        self._lines.append("    " * self._indent + text)

    # --- head -------------------------------------------------------------------------------------

    def _parameters(self) -> None:
        """Say of what type everything is, and for which states the last parameters are."""
        graph = self._graph
        units = graph.param_units or (None,) * len(graph.params)
        first = len(graph.params) - sum(len(state.types) for state in graph.states)
        owners = [state.name for state in graph.states for _ in state.types]
        for i, param in enumerate(graph.params):
            unit = f" {units[i]}" if i < len(units) and units[i] else ""
            owner = f", of the state {owners[i - first]}" if 0 <= first <= i else ""
            self._line(f"# {self._values[param]}: {param.type}{unit}{owner}")

    def _const(self, value: Value, data: object) -> None:
        name = self._define(value)
        if not value.type.is_key and data is not None:
            array: Array = np.asarray(data, numpy_dtype(value.type.dtype))
            if self._small is None or array.size <= self._small:
                self._line(f"{name} = {_array_text(array)}")
                return
        self._constants[name] = data
        self._line(f'{name} = constants["{name}"]  # {value.type}')

    # --- nodes ------------------------------------------------------------------------------------

    def _body(self, graph: Graph, ending: str) -> None:
        for node in graph.nodes:
            self._node(node)
        self._line(f"{ending} {self._tuple(graph.results)}")

    def _node(self, node: Node) -> None:
        if node.op.name in _REGIONS:
            _REGIONS[node.op.name](self, node)
            return
        touches = node.op.effects - {Effect.IO}
        if touches or node.op.has_regions:
            raise GraphError(
                f"{node.op.name} has no Python source{at(node.loc)}: write the graph after all "
                "passes, in which states are arrays and transformations are expanded"
            )
        text, several = self._expression(node)
        if not node.results:
            self._line(text)
        elif several:
            self._line(f"{self._targets(node.results)} = {text}")
        else:
            self._line(f"{self._define(node.result)} = {text}")

    def _expression(self, node: Node) -> tuple[str, bool]:
        """Return a node as an expression, and whether that is a sequence of its results."""
        texts = [self._operand(operand) for operand in node.operands]
        handler = self._handlers.get(node.op.name)
        written = handler(node, texts) if handler is not None else None
        if written is not None:
            return written, len(node.results) != 1
        if node.op.opaque:
            return self._opaque(node, texts)
        infix = self._infix(node)
        if infix is not None:
            return infix, False
        types = tuple(operand.type for operand in node.operands)
        several = not isinstance(node.op.infer(*types, **node.attrs), Type)
        text, in_tuple = self._recorded(node, texts)
        return text, several or in_tuple

    def _recorded(self, node: Node, texts: Sequence[str]) -> tuple[str, bool]:
        """Return what the rule of an op calls, and whether it makes a tuple of what that gives."""
        arrays = [_Array(t, o.type) for t, o in zip(texts, node.operands, strict=True)]
        found: Any = node.op.lax(_Path("jax"), *arrays, **node.attrs)
        if isinstance(found, tuple):
            (found,) = cast(tuple[Any], found)
        return (found.whole.text, True) if isinstance(found, _Item) else (_text(found), False)

    def _infix(self, node: Node) -> str | None:
        """Return a node as an operator of Python between arrays, or an array and a number."""
        operator, kinds = INFIX.get(node.op.name, ("", ""))
        values = [operand for operand in node.operands if isinstance(operand, Value)]
        if not values or kind(values[0].type) not in kinds:
            return None
        parts: list[str] = []
        for operand in node.operands:
            if isinstance(operand, Literal) and _is_plain(operand):
                parts.append(_number(operand.value))
            else:
                parts.append(self._operand(operand))
        return f" {operator} ".join(parts)

    def _opaque(self, node: Node, texts: Sequence[str]) -> tuple[str, bool]:
        """Write an op that only JAX knows; what has no text becomes one of the constants.

        JAX does not show all of its primitives, and some have parameters that are not plain data.
        """
        try:
            return self._recorded(node, texts)
        except (GraphError, TypeError):
            pass
        name = self._names.take(node.op.name)
        rule, attrs = node.op.lax, node.attrs

        def run(*arrays: Any) -> Any:
            return rule(None, *arrays, **attrs)

        self._constants[name] = run
        return f'constants["{name}"]({", ".join(texts)})', True

    # --- regions ----------------------------------------------------------------------------------

    def _function(self, wish: str, signature: Sequence[str], *unpack: str) -> str:
        """Begin a function inside; `_end` ends it."""
        name = self._names.take(wish)
        self._line(f"def {name}({', '.join(signature)}):")
        self._indent += 1
        for line in unpack:
            self._line(line)
        return name

    def _end(self, *results: str) -> None:
        self._line(f"return {', '.join(results)}")
        self._indent -= 1

    def _nodes(self, nodes: Sequence[Node]) -> None:
        for node in nodes:
            self._node(node)

    def _loop(self, node: Node) -> None:
        loop = Loop.of(node)
        carried = self._targets([c.param for c in loop.carries])
        slices = self._targets([s.param for s in loop.slices])
        step = self._function(
            loop.name or "step",
            ["carry", "row"],
            *([f"{carried} = carry"] if loop.carries else []),
            *([f"{slices} = row"] if loop.slices else []),
        )
        self._nodes(loop.nodes)
        self._end(
            self._tuple([c.next for c in loop.carries]), self._tuple([s.each for s in loop.stacks])
        )
        initial = self._tuple([c.initial for c in loop.carries])
        over = self._tuple([s.array for s in loop.slices])
        options = f"length={loop.length}"
        options += ", reverse=True" if loop.reverse else ""
        options += f", unroll={loop.unroll}" if loop.unroll != 1 else ""
        last = self._targets(node.results[: len(loop.carries)])
        stacks = self._targets(node.results[len(loop.carries) :])
        self._line(f"{last}, {stacks} = lax.scan({step}, {initial}, {over}, {options})")

    def _while(self, node: Node) -> None:
        loop = While.of(node)
        seen = self._targets([c.seen for c in loop.carries])
        test = self._function(loop.names[0] or "goes_on", ["carry"], f"{seen} = carry")
        self._nodes(loop.condition)
        self._end(self._operand(loop.test))
        carried = self._targets([c.param for c in loop.carries])
        step = self._function(loop.names[1] or "step", ["carry"], f"{carried} = carry")
        self._nodes(loop.nodes)
        self._end(self._tuple([c.next for c in loop.carries]))
        initial = self._tuple([c.initial for c in loop.carries])
        self._line(f"{self._targets(node.results)} = lax.while_loop({test}, {step}, {initial})")

    def _branches(self, node: Node) -> None:
        branches = Branches.of(node)
        names: list[str] = []
        for i, branch in enumerate(branches.branches):
            names.append(self._function(branch.name or f"branch_{i}", []))
            self._nodes(branch.nodes)
            self._end(self._tuple([choice.yields[i] for choice in branches.choices]))
        index = self._operand(branches.index)
        if branches.index.type.dtype == "bool":
            call = f"lax.cond({index}, {names[1]}, {names[0]})"
        else:
            call = f"lax.switch({index}, [{', '.join(names)}])"
        self._line(f"{self._targets(node.results)} = {call}")

    def _call(self, node: Node) -> None:
        call = Call.of(node)
        params = [self._define(argument.param) for argument in call.arguments]
        name = self._function(call.name or node.op.name, params)
        self._nodes(call.nodes)
        self._end(self._tuple([y.inside for y in call.yields]))
        given = ", ".join(self._operand(argument.operand) for argument in call.arguments)
        if call.attrs.get("prevent_cse") and given:
            given = f"*lax.optimization_barrier(({given},))"
        self._line(f"{self._targets(node.results)} = {name}({given})")


_REGIONS: Mapping[str, Callable[[_Writer, Node], None]] = {
    "for_loop": _Writer._loop,  # pyright: ignore[reportPrivateUsage]
    "while": _Writer._while,  # pyright: ignore[reportPrivateUsage]
    "cond": _Writer._branches,  # pyright: ignore[reportPrivateUsage]
    "call": _Writer._call,  # pyright: ignore[reportPrivateUsage]
    "kernel": _Writer._call,  # pyright: ignore[reportPrivateUsage]
    "checkpoint": _Writer._call,  # pyright: ignore[reportPrivateUsage]
}


def _is_plain(literal: Literal) -> bool:
    """Return whether a number beside an array takes its type: JAX reads integers as int32 first."""
    if kind(literal.type) not in "iuf":
        return False
    return kind(literal.type) == "f" or abs(int(literal.value.real)) < 2**31

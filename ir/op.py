"""The op record: everything the compiler knows of an operation, in one place.

An op is added by one call of `define` (or `define_region`); the text form, the command line and
the law tests find it in the registry. Every field is mandatory: what does not apply is said with
a value such as `ZERO` or `NOT_DIFFERENTIABLE("why")`, never left out.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .types import Type

if TYPE_CHECKING:
    from .derivative import Derivative
    from .element import ElementRule
    from .graph import Graph, Node
    from .wiring import Wiring


class GraphError(Exception):
    """A graph, or a node about to be added to one, is not well formed.

    Examples
    --------
    >>> from brainir.ir import Builder, GraphError, Type, Value
    >>> build = Builder()
    >>> try:
    ...     build("add", Value(Type("float32", (3,))), Value(Type("float32", (4,))))
    ... except GraphError as error:
    ...     print(str(error).split(":")[0])
    add(f32[3], f32[4]) {}
    """


class Effect(enum.Enum):
    """What an op does besides computing its results.

    Examples
    --------
    >>> from brainir.ir import Effect, all_ops
    >>> [op.name for op in all_ops() if Effect.WRITE in op.effects]
    ['state.write']
    """

    READ = "reads a state"
    WRITE = "writes a state"
    NEW = "creates a state"
    IO = "talks to the host"


Effects = frozenset[Effect]
PURE: Effects = frozenset()
"""The effects of an op that only computes."""


class Weight(enum.IntEnum):
    """How an op compares with storing and loading its result again.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value, Weight
    >>> x, build = Value(Type("float32", (3, 3))), Builder()
    >>> y = build("tanh", build("reshape", x, shape=(9,)))
    >>> [node.cost.weight.name for node in build.nodes]
    ['FREE', 'CHEAP']
    """

    FREE = 0
    """Costs nothing once compiled: reshapes, broadcasts, constants."""
    CHEAP = 1
    """Elementwise work that fuses into its consumer."""
    HEAVY = 2
    """Contractions, loops, sorts, random bits: never computed twice unasked."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Work and memory traffic of one node.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> x, build = Value(Type("float32", (1000,))), Builder()
    >>> y = build("add", x, x)
    >>> cost = build.nodes[0].cost
    >>> cost.flops, cost.bytes
    (1000, 12000)
    """

    flops: int
    bytes: int
    weight: Weight


def traffic(operands: tuple[Type, ...], results: tuple[Type, ...]) -> int:
    """Return the bytes that a node reads and writes if nothing is fused.

    Examples
    --------
    >>> from brainir.ir import Type, traffic
    >>> traffic((Type("float32", (1000,)), Type("float32")), (Type("float32", (1000,)),))
    8004
    """
    return sum(t.nbytes for t in operands) + sum(t.nbytes for t in results)


Infer = Callable[..., "Type | tuple[Type, ...]"]
CostRule = Callable[[tuple[Type, ...], tuple[Type, ...], Mapping[str, Any]], Cost]
WiringRule = Callable[["Node"], "Wiring"]


@dataclass(frozen=True, slots=True, eq=False)
class Op:
    """All rules of one operation.

    Attributes
    ----------
    name, doc : str
        The name in the text form, and one sentence of meaning.
    infer : callable
        ``infer(*types, **attrs)`` gives the result type (or a tuple of them) or raises
        `GraphError`. For a region op: ``infer(*types, regions=regions, **attrs)``.
    numpy : callable
        The meaning: ``numpy(*arrays, **attrs)``, one array or a tuple of them. A region op gets
        ``numpy(run, *arrays, regions=regions, **attrs)``, where ``run(region, *arrays)`` evaluates
        a region.
    lax : callable
        ``lax(jax, *arrays, **attrs)`` with the `jax` module, so that this layer need not import it.
        A region op gets ``lax(jax, run, *arrays, regions=regions, **attrs)``.
    batch : callable
        ``batch(builder, operands, batched, size, **attrs)`` builds the op over a new leading axis
        of length ``size`` which just the ``batched`` operands have; every result has it. One that
        is ``opaque`` is told the ``spmd_axis_name`` of the lanes, too, if these have one.
        None for a region op: the passes know how to batch a region.
    derivative : Derivative
        See `derivative`. None for a region op, likewise.
    effects : frozenset of Effect
        Of the op itself, without those of its regions.
    cost : callable
        ``cost(operand_types, result_types, attrs)``; without the cost of regions.
    element : ElementRule
        How one element of the result is made, see `element`. None for a region op.
    wiring : callable
        ``wiring(node)`` says how values enter, go round and leave the regions of a node. None for
        an op without regions.
    groups : tuple of str
        The text form's names of operand groups of a region op.
    opaque : bool
        Whether the rules were derived from a JAX primitive rather than written here.
    defaults : dict
        Attributes that a node has unless others are given, taken from the signature of ``infer``;
        the text form leaves them out.
    attributes : frozenset of str or None
        The names of all attributes, likewise: what the signature takes by name only. None if it
        takes any.

    Examples
    --------
    >>> from brainir.ir import Type, get_op
    >>> op = get_op("for_loop")
    >>> op.groups, op.has_regions, op.defaults["unroll"]
    (('carry', 'over'), True, 1)
    >>> get_op("mul").result_types((Type("float32", (3,)), Type("float32")), {}, ())
    (Type(dtype='float32', shape=(3,)),)
    """

    name: str
    doc: str
    infer: Infer
    numpy: Callable[..., Any]
    lax: Callable[..., Any]
    batch: Callable[..., Any] | None
    derivative: Derivative | None
    effects: Effects
    cost: CostRule
    element: ElementRule | None
    wiring: WiringRule | None = None
    groups: tuple[str, ...] = ()
    opaque: bool = False
    defaults: Mapping[str, Any] = field(init=False)
    attributes: frozenset[str] | None = field(init=False)

    def __post_init__(self) -> None:
        parameters = inspect.signature(self.infer).parameters.values()
        named = frozenset(p.name for p in parameters if p.kind is p.KEYWORD_ONLY)
        takes_any = any(p.kind is p.VAR_KEYWORD for p in parameters)
        object.__setattr__(self, "attributes", None if takes_any else named - {"regions"})
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        object.__setattr__(self, "defaults", defaults)

    @property
    def has_regions(self) -> bool:
        """Whether nodes of this op contain graphs."""
        return self.wiring is not None

    def result_types(
        self, types: tuple[Type, ...], attrs: Mapping[str, Any], regions: tuple[Graph, ...]
    ) -> tuple[Type, ...]:
        """Infer the types of the results, as a tuple."""
        inferred = (
            self.infer(*types, regions=regions, **attrs)
            if self.has_regions
            else self.infer(*types, **attrs)
        )
        return (inferred,) if isinstance(inferred, Type) else tuple(inferred)

    def __repr__(self) -> str:
        return f"<op {self.name}>"


_registry: dict[str, Op] = {}


def register(op: Op) -> Op:
    """Add an op to the registry; a name is taken once.

    Raises
    ------
    ValueError
        If an op of that name is there already.

    Examples
    --------
    >>> from brainir.ir import get_op, register
    >>> register(get_op("mul"))
    Traceback (most recent call last):
        ...
    ValueError: op 'mul' is already defined
    """
    if op.name in _registry:
        raise ValueError(f"op {op.name!r} is already defined")
    _registry[op.name] = op
    return op


@contextmanager
def temporary_ops() -> Generator[None]:
    """Forget, on leaving, the ops that were defined inside.

    Graphs that hold such an op go on to work; only its name is free again, and unknown to `parse`.

    Examples
    --------
    >>> from brainir.ir import PURE, ZERO, Cost, Pointwise, Weight, define, find_op, temporary_ops
    >>> with temporary_ops():
    ...     op = define(
    ...         "nothing",
    ...         "What it is given.",
    ...         infer=lambda x: x,
    ...         numpy=lambda x: x,
    ...         lax=lambda jax, x: x,
    ...         batch=lambda builder, operands, batched, size: builder("nothing", *operands),
    ...         derivative=ZERO,
    ...         effects=PURE,
    ...         cost=lambda operands, results, attrs: Cost(0, 0, Weight.FREE),
    ...         element=Pointwise(lambda e, x: x),
    ...     )
    ...     assert find_op("nothing") is op
    >>> find_op("nothing") is None
    True
    """
    before = dict(_registry)
    try:
        yield
    finally:
        _registry.clear()
        _registry.update(before)


def define(
    name: str,
    doc: str,
    *,
    infer: Infer,
    numpy: Callable[..., Any],
    lax: Callable[..., Any],
    batch: Callable[..., Any],
    derivative: Derivative,
    effects: Effects,
    cost: CostRule,
    element: ElementRule,
) -> Op:
    """Define an op without regions and register it; see `Op` for the fields.

    Raises
    ------
    ValueError
        If an op of that name is there already.

    Examples
    --------
    >>> from brainir.ir import PURE, Builder, Cost, Partials, Pointwise, Type, Value, Weight
    >>> from brainir.ir import define, temporary_ops
    >>> with temporary_ops():
    ...     cube = define(
    ...         "cube",
    ...         "x times x times x.",
    ...         infer=lambda x: x,
    ...         numpy=lambda x: x * x * x,
    ...         lax=lambda jax, x: x * x * x,
    ...         batch=lambda builder, operands, batched, size: builder("cube", *operands),
    ...         derivative=Partials(lambda builder, result, x: [builder("square", x)]),
    ...         effects=PURE,
    ...         cost=lambda operands, results, attrs: Cost(2 * results[0].size, 0, Weight.CHEAP),
    ...         element=Pointwise(lambda e, x: e("mul", e("mul", x, x), x)),
    ...     )
    ...     print(Builder()("cube", Value(Type("float32", (4,)))).type)
    f32[4]
    """
    return register(Op(name, doc, infer, numpy, lax, batch, derivative, effects, cost, element))


def define_region(
    name: str,
    doc: str,
    *,
    infer: Infer,
    numpy: Callable[..., Any],
    lax: Callable[..., Any],
    effects: Effects,
    cost: CostRule,
    wiring: WiringRule,
    groups: tuple[str, ...] = (),
) -> Op:
    """Define an op whose nodes contain graphs; passes follow values through these by `wiring`.

    Examples
    --------
    >>> from brainir.ir import PURE, Cost, Weight, Wiring, entering, leaving
    >>> from brainir.ir import define_region, temporary_ops
    >>> with temporary_ops():
    ...     once = define_region(
    ...         "once",
    ...         "Run a region once, on one operand, for one result.",
    ...         infer=lambda *types, regions: tuple(result.type for result in regions[0].results),
    ...         numpy=lambda run, *arrays, regions: run(regions[0], *arrays),
    ...         lax=lambda jax, run, *arrays, regions: run(regions[0], *arrays),
    ...         effects=PURE,
    ...         cost=lambda operands, results, attrs: Cost(0, 0, Weight.FREE),
    ...         wiring=lambda node: Wiring((*entering(1), *leaving(1))),
    ...     )
    >>> once.has_regions
    True
    """
    return register(
        Op(name, doc, infer, numpy, lax, None, None, effects, cost, None, wiring, groups)
    )


def get_op(name: str) -> Op:
    """Return the op of that name.

    Raises
    ------
    KeyError
        If no op of that name is defined.

    Examples
    --------
    >>> from brainir.ir import get_op
    >>> get_op("tanh").doc
    'Hyperbolic tangent.'
    >>> get_op("tahn")
    Traceback (most recent call last):
        ...
    KeyError: "no op is called 'tahn'; `brainir ops` lists them all"
    """
    try:
        return _registry[name]
    except KeyError:
        raise KeyError(f"no op is called {name!r}; `brainir ops` lists them all") from None


def find_op(name: str) -> Op | None:
    """Return the op of that name, or None.

    Examples
    --------
    >>> from brainir.ir import find_op
    >>> find_op("tanh"), find_op("tahn")
    (<op tanh>, None)
    """
    return _registry.get(name)


def all_ops() -> Iterator[Op]:
    """Yield every op, in order of definition.

    Examples
    --------
    >>> from brainir.ir import all_ops
    >>> [op.name for op in all_ops() if op.name.startswith("state")]
    ['state.new', 'state.read', 'state.write']
    """
    yield from tuple(_registry.values())

"""Random graphs for laws: well typed, with regions, captures and states, and with tame numbers.

    @given(st.data())
    def test_simplifying_preserves_meaning(data):
        graph = data.draw(graphs())
        inputs = data.draw(inputs_for(graph))
        before = evaluate(graph, inputs.arguments, inputs.states)
        after = evaluate(simplify(graph), inputs.arguments, inputs.states)
        assert_same_outcome(before, after)

Every op without regions has a recipe in `graph_recipes`. Graphs shrink towards few nodes, literals,
and the operands that came first.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

from ...ir import Graph, Literal, Operand, StateVar, Type, Value, get_op, key_words
from .elementwise_recipes import prepared
from .graph_draft import KEY, Draft, Options, Range, arrays, input_range, resting_range
from .graph_recipes import RECIPES, Recipe, usable
from .samples import signatures

COMMON = ("float32", "int32", "bool", "uint8")
"""Dtypes that all backends agree on closely."""

ALL = (*COMMON, "float16", "bfloat16", "complex64", "int8", "uint32", KEY)
"""Dtypes for what looks at graphs without running them, or compares with `TOLERANCE`."""

TOLERANCE = {"float16": 0.1, "bfloat16": 0.5, "complex64": 1e-3, "float32": 1e-3}
"""How far, at most, elements of two runs are apart, relative to the larger of 1 and their size."""

DEEPEST = 3
"""How many regions may lie inside each other."""

INSIDE = 5
"""How many nodes a region has at most, those of regions inside it left out."""


class Inputs(NamedTuple):
    """What a graph is run on: numpy arrays, of keys as structured elements."""

    arguments: tuple[Any, ...]
    states: dict[StateVar, tuple[Any, ...]]


@st.composite
def graphs(
    draw: st.DrawFn,
    *,
    states: bool = True,
    regions: bool = True,
    transformations: bool = False,
    differentiable: bool = False,
    dtypes: Sequence[str] = COMMON,
    nodes: int = 16,
    ops: Sequence[str] = (),
) -> Graph:
    """Draw a graph that can be run; its consts have data.

    Parameters
    ----------
    states : bool
        Whether states may be read, written and created, at any depth.
    regions : bool
        Whether for_loop, while, cond, call and checkpoint may occur, with captures.
    transformations : bool
        Whether vmap and map of stateless regions may occur.
    differentiable : bool
        Whether to leave out kinks and jumps of floating-point numbers, and `while`, so that reverse
        mode is defined and agrees with finite differences.
    dtypes : sequence of str
        Of parameters and results; `COMMON` by default, or `ALL`.
    nodes : int
        How many nodes to draw at most, those of regions included; some more tame the numbers.
    ops : sequence of str
        Ops to draw more often than others, where they may occur; also those of your own, if they
        have no regions and their attributes all have defaults.
    """
    options = Options(
        states, regions, transformations, differentiable, tuple(dtypes), nodes, tuple(ops)
    )
    draft = Draft(draw, options)
    for i in range(draft.integer(1, 3)):
        dtype = draft.choose(options.dtypes) if i else options.dtypes[0]
        value = Value(Type(dtype, draft.shape()), "p")
        draft.params.append(value)
        draft.blocks[0].values.append(value)
        draft.ranges[value] = input_range(value.type.dtype)
    if states:
        draft.states += [draw_state(draft, i) for i in range(draft.choose([0, 1, 2, 2]))]
        draft.blocks[0].states += draft.states
    draw_nodes(draft)
    results = draw_results(draft, draft.integer(1, 3))
    units = tuple(draw(st.sampled_from([None, "mV"])) for _ in draft.params)
    return draft.block.builder.graph(draft.params, results, "random").with_(
        states=tuple(draft.states),
        consts=tuple(draft.consts),
        param_units=units if any(units) else (),
    )


@st.composite
def inputs_for(draw: st.DrawFn, graph: Graph) -> Inputs:
    """Draw arguments and states for a drawn graph, in the ranges that it was drawn for."""
    return Inputs(
        tuple(draw(arrays(p.type)) for p in graph.params),
        {s: tuple(draw(arrays(t)) for t in s.types) for s in graph.states},
    )


def assert_close(given: Any, expected: Any) -> None:
    """Check that two arrays are the same: whole numbers exactly, others within `TOLERANCE`."""
    given, expected = np.asarray(given), np.asarray(expected)
    assert given.shape == expected.shape
    assert given.dtype == expected.dtype
    if given.dtype.names:
        given, expected = key_words(given), key_words(expected)
    tolerance = TOLERANCE.get(given.dtype.name)
    if tolerance is None:
        np.testing.assert_array_equal(given, expected)
        return
    wide = np.complex128 if given.dtype.kind == "c" else np.float64
    given, expected = given.astype(wide), expected.astype(wide)
    np.testing.assert_allclose(given, expected, rtol=tolerance, atol=tolerance)


Outcome = tuple[Sequence[Any], Mapping[StateVar, Sequence[Any]]]


def assert_same_outcome(given: Outcome, expected: Outcome) -> None:
    """Check results and final states, as the reference backend's `evaluate` gives them."""
    for arrays_given, arrays_expected in zip(given[0], expected[0], strict=True):
        assert_close(arrays_given, arrays_expected)
    assert given[1].keys() == expected[1].keys()
    for state, held in expected[1].items():
        for arrays_given, arrays_expected in zip(given[1][state], held, strict=True):
            assert_close(arrays_given, arrays_expected)


# --- parts ----------------------------------------------------------------------------------------


def draw_type(d: Draft) -> Type:
    """Draw the type of a parameter."""
    return Type(d.choose(d.options.dtypes), d.shape())


def draw_state(d: Draft, number: int) -> StateVar:
    """Draw a state of the graph."""
    types = tuple(draw_type(d) for _ in range(d.choose([1, 1, 2])))
    name = d.choose(["V", "cell.V", "layers[0]/w"])
    kind, unit = d.choose([("hidden", "mV"), ("short", None), ("param", "nS")])
    return StateVar(name, types, kind, unit)


def draw_nodes(d: Draft) -> None:
    """Draw nodes into the block at hand, as far as the draft may have any more."""
    most = d.options.nodes if len(d.blocks) == 1 else INSIDE
    for _ in range(d.integer(1, most)):
        if d.left <= 0:
            return
        d.left -= 1
        recipes: list[dict[str, Recipe]] = [{n: RECIPES[n] for n in usable(d)}] * 4
        if d.options.states:
            recipes += [STATE_RECIPES] * 2
        regions: dict[str, Recipe] = {}
        if d.options.regions and len(d.blocks) <= DEEPEST:
            regions = {n: r for n, r in REGIONS.items() if _fits_options(d, n)}
            recipes += [regions] * 2
        asked = [n for n in d.options.ops if n in regions or n not in REGIONS]
        if asked:
            known = {**RECIPES, **regions}
            recipes += [{n: known.get(n, _draw_any) for n in asked}] * len(recipes)
        chosen = d.choose(recipes)
        name = d.choose(list(chosen))
        chosen[name](d, name)


def _draw_any(d: Draft, op: str) -> None:
    """Draw an op of somebody's own on what its inference accepts."""
    types = d.choose(signatures(get_op(op)))
    d.emit(op, [d.operand(type) for type in types])


def _fits_options(d: Draft, region: str) -> bool:
    if region in ("vmap", "map"):
        return d.options.transformations
    return region != "while" or not d.options.differentiable


def draw_operands(d: Draft, count: int) -> list[Operand]:
    """Draw operands of any type."""
    found = [d.pick(lambda v: True) for _ in range(count)]
    return [v for v in found if v is not None]


def draw_results(d: Draft, count: int) -> list[Operand]:
    """Draw results of the block at hand from what is in scope, the newest of it first."""
    newest = [block.values[-1] for block in d.blocks if block.values][-1:]
    return [*newest, *draw_operands(d, count - 1)] if count else []


def resting(d: Draft, operand: Operand) -> Operand:
    """Return an operand, made small enough to be carried by a loop or kept in a state."""
    return prepared(d, operand, "small")


# --- states ---------------------------------------------------------------------------------------


def _visible(d: Draft) -> list[StateVar]:
    return [state for block in d.blocks for state in block.states]


def _read(d: Draft, op: str) -> None:
    if _visible(d):
        state = d.choose(_visible(d))
        d.emit("state.read", [], {"state": state}, [resting_range(t.dtype) for t in state.types])


def _write(d: Draft, op: str) -> None:
    if _visible(d) and not d.block.pure:
        state = d.choose(_visible(d))
        operands = [resting(d, d.operand(t)) for t in state.types]
        d.emit("state.write", operands, {"state": state})


def _new(d: Draft, op: str) -> None:
    if d.block.pure:
        return
    operands = [resting(d, v) for v in draw_operands(d, d.choose([1, 2]))]
    state = StateVar("tmp", tuple(o.type for o in operands), "local")
    d.emit("state.new", operands, {"state": state})
    d.block.states.append(state)


STATE_RECIPES: dict[str, Recipe] = {
    "state.read": _read,
    "state.write": _write,
    "state.new": _new,
}


# --- regions --------------------------------------------------------------------------------------


def draw_body(
    d: Draft,
    params: Sequence[Value],
    ranges: Sequence[Range],
    results: Callable[[], Sequence[Operand]],
    pure: bool = False,
    name: str = "",
) -> tuple[Graph, list[Range]]:
    """Draw a region, and say what is known of its results."""
    with d.region(params, ranges, pure) as block:
        draw_nodes(d)
        yields = results()
        return block.builder.graph(params, yields, name), [d.range_of(y) for y in yields]


def _carries(d: Draft, count: int) -> tuple[list[Operand], list[Value], list[Range]]:
    """Draw what a loop begins with, and its parameters; often several of one type."""
    operands = [resting(d, v) for v in draw_operands(d, min(count, 1))]
    for _ in range(count - 1):
        last = operands[-1].type if operands else None
        alike = last is not None and d.choose([True, False])
        found = [d.operand(last)] if alike and last is not None else draw_operands(d, 1)
        operands += [resting(d, v) for v in found]
    params = [Value(o.type, "c") for o in operands]
    return operands, params, [resting_range(o.type.dtype) for o in operands]


def _next_of(d: Draft, params: Sequence[Value]) -> list[Operand]:
    """Draw what carries become; some become the same as one before, if they can."""
    found: dict[Type, Operand] = {}
    following: list[Operand] = []
    for param in params:
        same = found.get(param.type)
        if same is None or d.choose([False, True]):
            same = resting(d, d.operand(param.type))
        found[param.type] = same
        following.append(same)
    return following


def _seen_by_steps(d: Draft, carried: Sequence[Value]) -> list[Value]:
    """Draw carries to yield as each step finds them, so that it shows what the first one finds."""
    return [value for value in carried if d.choose([False, True])]


def _slices(d: Draft, length: int, count: int) -> list[Operand]:
    """Draw arrays to iterate over."""
    fits = lambda v: v.type.shape[:1] == (length,)  # noqa: E731
    return [
        d.pick(fits) or d.leaf(Type(d.choose(d.options.dtypes), (length, *d.choose([(), (2,)]))))
        for _ in range(count)
    ]


def _lane(operand: Operand) -> Value:
    return Value(Type(operand.type.dtype, operand.type.shape[1:]), "i")


def _draw_for_loop(d: Draft, op: str) -> None:
    length = d.choose([2, 3, 2, 3, 5, 1, 0])
    carry, carried, ranges = _carries(d, d.choose([0, 1, 2, 1, 2]))
    over = _slices(d, length, d.integer(0, 2))
    slices = [_lane(o) for o in over]
    ranges += [d.range_of(o) for o in over]
    yields = d.integer(0, 2)
    body, out = draw_body(
        d,
        [*carried, *slices],
        ranges,
        lambda: [*_next_of(d, carried), *draw_results(d, yields), *_seen_by_steps(d, carried)],
    )
    attrs = {
        "carries": len(carry),
        "length": length,
        "reverse": d.choose([False, True]),
        "unroll": d.integer(1, 2),
        "base": d.choose([None, None, 2]),
    }
    n = len(carry)
    d.emit(op, [*carry, *over], attrs, [*ranges[:n], *out[n:]], [body])


def _draw_while(d: Draft, op: str) -> None:
    count, first = Type("int32"), Literal(0, Type("int32"))
    carry, carried, ranges = _carries(d, d.choose([0, 1, 2, 1, 2]))
    stop = d.choose([None, 0, 1, 2])
    if stop is not None:
        # A loop that a lane leaves, although it would not have stopped a step later.
        carry, carried = [d.operand(count), *carry], [Value(count, "s"), *carried]
        ranges = [resting_range("int32"), *ranges]
    carry, ranges = [first, *carry], [Range(8.0, 0), *ranges]
    limit = Literal(d.integer(0, 3), count)
    tested = [Value(count, "k"), *(Value(p.type, "c") for p in carried)]

    def test() -> list[Operand]:
        (more,) = d.emit("lt", [tested[0], limit])
        if stop is not None:
            (there,) = d.emit("ne", [tested[1], Literal(stop, count)])
            (more,) = d.emit("and", [more, there])
        if d.choose([False, True]):
            (more,) = d.emit("and", [more, d.operand(Type("bool"))])
        return [more]

    # A condition may read states, but not write them.
    condition, _ = draw_body(d, tested, ranges, test, pure=True)
    turned = [Value(count, "k"), *carried]

    def step() -> list[Operand]:
        rest = _next_of(d, carried)
        if stop is not None:
            rest[:1] = d.emit("add", [carried[0], Literal(1, count)])
        return [*d.emit("add", [turned[0], Literal(1, count)], ranges=[Range(8.0, 0)]), *rest]

    body, _ = draw_body(d, turned, ranges, step)
    d.emit(op, carry, {}, ranges, [condition, body])


def _draw_cond(d: Draft, op: str) -> None:
    dtype, branches = d.choose([("bool", 2), ("int32", 3), ("int32", 1)])
    index = d.operand(Type(dtype))
    yields = d.integer(1, 2)
    first, out = draw_body(d, [], [], lambda: draw_results(d, yields))
    regions, ranges = [first], [[r] for r in out]
    for _ in range(branches - 1):
        types = [r.type for r in first.results]
        region, other = draw_body(d, [], [], lambda ts=types: [d.operand(t) for t in ts])
        regions.append(region)
        for known, range_ in zip(ranges, other, strict=True):
            known.append(range_)
    d.emit(op, [index], {}, [_widest(rs) for rs in ranges], regions)


def _widest(ranges: Sequence[Range]) -> Range:
    grids = [r.grid for r in ranges if r.grid is not None]
    return Range(max(r.bound for r in ranges), max(grids) if len(grids) == len(ranges) else None)


def _draw_call(d: Draft, op: str) -> None:
    operands = draw_operands(d, d.integer(0, 2))
    params = [Value(o.type, "a") for o in operands]
    yields = d.integer(1, 2)
    ranges = [d.range_of(o) for o in operands]
    body, out = draw_body(
        d, params, ranges, lambda: draw_results(d, yields), name=d.choose(["", "f"])
    )
    attrs = {"prevent_cse": d.choose([False, True])} if op == "checkpoint" else {}
    d.emit(op, operands, attrs, out, [body])


def _draw_map(d: Draft, op: str) -> None:
    length = d.choose([2, 3, 3, 1])
    over = _slices(d, length, d.integer(1, 2))
    yields = d.integer(1, 2)
    body, out = draw_body(
        d,
        [_lane(o) for o in over],
        [d.range_of(o) for o in over],
        lambda: draw_results(d, yields),
        pure=True,
    )
    attrs = {"length": length, "batch_size": d.choose([None, 2, 2])}
    if op == "vmap":
        attrs = {"size": length, "in_axes": (0,) * len(over), "out_axes": (0,) * len(body.results)}
    d.emit(op, over, attrs, out, [body])


REGIONS: dict[str, Recipe] = {
    "call": _draw_call,
    "for_loop": _draw_for_loop,
    "cond": _draw_cond,
    "checkpoint": _draw_call,
    "while": _draw_while,
    "vmap": _draw_map,
    "map": _draw_map,
}

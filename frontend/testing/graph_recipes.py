"""How to draw a node of each op without regions: what it takes, and how large its results are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf, prod

from ...ir import Operand, Type, Value
from .elementwise_recipes import MATHS, draw_maths
from .graph_draft import KEY, Draft, Range, kind
from .sparse_recipes import draw_seeded, draw_sparse

Recipe = Callable[[Draft, str], None]
RECIPES: dict[str, Recipe] = {}
"""Draws a node of an op into a draft, or does nothing if no operand fits."""

JUMPS: set[str] = set()
"""Ops of floating-point numbers whose derivative finite differences would not agree with."""


def recipe(*names: str, smooth: bool = True) -> Callable[[Recipe], Recipe]:
    """Register how ops are drawn; those that are not ``smooth`` have kinks or jumps."""

    def add(function: Recipe) -> Recipe:
        RECIPES.update(dict.fromkeys(names, function))
        JUMPS.update(() if smooth else names)
        return function

    return add


RECIPES.update(dict.fromkeys(MATHS, draw_maths))
JUMPS.update(name for name, maths in MATHS.items() if not maths.smooth)


@recipe("integer_pow")
def _(d: Draft, op: str) -> None:
    x = d.pick_kind("iuf")
    if x is not None:
        power = d.integer(0, 3)
        if kind(x.type.dtype) == "f" and d.integer(0, 3) == 3:
            x, power = d.above(x, 0.5), -d.integer(1, 2)
        bound = d.range_of(x).bound ** power if power > 0 else 4.0
        d.emit(op, [x], {"y": power}, [Range(bound)])


@recipe("polygamma")
def _(d: Draft, op: str) -> None:
    x = d.pick_kind("f")
    if x is not None:
        d.emit(op, [d.above(x, 0.5)], {"order": d.integer(1, 2)}, [Range(17.0)])


@recipe("round", "reduce_precision", smooth=False)
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: kind(v.type.dtype) == "f" and d.is_exact(v))
    if x is not None:
        rounding = {"rounding_method": d.integer(0, 1)}
        attrs = rounding if op == "round" else {"exponent_bits": 5, "mantissa_bits": 3}
        range_ = d.range_of(x)
        d.emit(op, [x], attrs, [Range(2 * range_.bound + 1, range_.grid)])


@recipe("complex")
def _(d: Draft, op: str) -> None:
    re = d.pick(lambda v: v.type.dtype == "float32")
    if re is not None:
        im = d.operand(re.type)
        d.emit(op, [re, im], ranges=[Range(d.range_of(re).bound + d.range_of(im).bound)])


@recipe("select_n")
def _(d: Draft, op: str) -> None:
    case = d.pick(lambda v: True)
    if case is None:
        return
    dtype, count = d.choose([("bool", 2), ("int32", 3)])
    which = d.operand(Type(dtype, d.choose([case.type.shape, ()])))
    cases = [case, *(d.operand(case.type) for _ in range(count - 1))]
    d.emit(op, [which, *cases], ranges=[together(d, cases)])


def together(d: Draft, operands: Sequence[Operand]) -> Range:
    """Return the range of what can be an element of any of the operands."""
    ranges = [d.range_of(o) for o in operands]
    grids = [r.grid for r in ranges]
    grid = None if any(g is None for g in grids) else max(g for g in grids if g is not None)
    return Range(max(r.bound for r in ranges), grid)


@recipe("convert_element_type")
def _(d: Draft, op: str) -> None:
    dtype = d.choose([t for t in d.options.dtypes if t != KEY])
    target = kind(dtype)

    def fits(v: Value) -> bool:
        source, range_ = kind(v.type.dtype), d.range_of(v)
        if source in "kc" or (target == "u" and source == "f"):
            return False
        if source == "f" and (target in "iub" or Type(dtype).itemsize != v.type.itemsize):
            # Truncation jumps, and narrow floats are less precise than wide ones should be.
            return range_.grid is not None and not d.options.differentiable
        return target not in "fc" or range_.bound <= 64

    x = d.pick(fits)
    if x is not None:
        bound = inf if target in "iu" and kind(x.type.dtype) in "iu" else d.range_of(x).bound
        d.emit(op, [x], {"new_dtype": dtype}, [Range(bound, d.range_of(x).grid)])


@recipe("bitcast_convert_type", smooth=False)
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: kind(v.type.dtype) in "iu" or (v.type.is_float and d.is_exact(v)))
    if x is not None:
        # -0.0 and 0.0 are equal, but their bits are not.
        x = d.emit("abs", [x], ranges=[d.range_of(x)])[0] if x.type.is_float else x
        width = Type(x.type.dtype).itemsize * 8
        d.emit(op, [x], {"new_dtype": d.choose([f"int{width}", "uint8"])})


# --- layout ---------------------------------------------------------------------------------------


def _lay_out(d: Draft, op: str, x: Operand, attrs: dict[str, object]) -> None:
    d.emit(op, [x], attrs, [d.range_of(x)])


@recipe("broadcast_in_dim")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank < 3)
    if x is not None:
        axis = d.integer(0, x.type.rank)
        shape = list(x.type.shape)
        shape.insert(axis, d.integer(0, 3))
        dims = tuple(i for i in range(len(shape)) if i != axis)
        lengths = [d.choose([n, 2]) if n == 1 and i in dims else n for i, n in enumerate(shape)]
        _lay_out(d, op, x, {"shape": tuple(lengths), "dims": dims})


@recipe("reshape")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: True)
    if x is not None:
        size = x.type.size
        shapes = [(size,), (1, size), (size, 1), *([()] if size == 1 else ())]
        shapes += [(n, size // n) for n in (2, 3) if size % n == 0 and size]
        _lay_out(d, op, x, {"shape": d.choose(shapes)})


@recipe("squeeze")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: 1 in v.type.shape)
    if x is not None:
        ones = [i for i, n in enumerate(x.type.shape) if n == 1]
        _lay_out(d, op, x, {"dimensions": d.subset(ones)})


@recipe("expand_dims")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank < 3)
    if x is not None:
        _lay_out(d, op, x, {"dimensions": (d.integer(0, x.type.rank),)})


@recipe("transpose")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 1)
    if x is not None:
        turn = d.integer(0, x.type.rank - 1)
        order = list(range(x.type.rank))[::-1]
        _lay_out(d, op, x, {"permutation": tuple(order[turn:] + order[:turn])})


@recipe("rev")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0)
    if x is not None:
        _lay_out(d, op, x, {"dimensions": d.subset(range(x.type.rank))})


@recipe("pad")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0 and not v.type.is_key)
    if x is not None:
        filler = d.operand(Type(x.type.dtype))
        choices = [(0, 0, 0), (1, 0, 0), (0, 2, 0), (1, 1, 1), (0, -1, 0)]
        config = tuple(d.choose(choices if n > 1 else choices[:4]) for n in x.type.shape)
        d.emit(op, [x, filler], {"config": config}, [together(d, [x, filler])])


@recipe("slice")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0)
    if x is not None:
        start = tuple(d.integer(0, n) for n in x.type.shape)
        limit = tuple(d.integer(low, n) for low, n in zip(start, x.type.shape, strict=True))
        strides = tuple(d.integer(1, 2) for _ in start)
        _lay_out(d, op, x, {"start": start, "limit": limit, "strides": strides})


@recipe("tile")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: 0 < v.type.rank < 3 and v.type.size < 10)
    if x is not None:
        _lay_out(d, op, x, {"reps": tuple(d.integer(0, 2) for _ in x.type.shape)})


@recipe("concatenate", "stack")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0)
    if x is not None:
        operands = [x, *(d.operand(x.type) for _ in range(d.integer(0, 2)))]
        axis = d.integer(0, x.type.rank - 1)
        attrs = {"dimension": axis} if op == "concatenate" else {"axis": axis}
        d.emit(op, operands, attrs, [together(d, operands)])


@recipe("split", "unstack")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0 and not v.type.is_key)
    if x is not None:
        axis = d.integer(0, x.type.rank - 1)
        length = x.type.shape[axis]
        attrs: dict[str, object] = {"axis": axis}
        if op == "split":
            first = d.integer(0, length)
            attrs["sizes"] = (first, length - first)
        if op == "split" or 0 < length < 4:
            d.emit(op, [x], attrs, [d.range_of(x)] * 3)


@recipe("iota")
def _(d: Draft, op: str) -> None:
    dtype, shape = d.choose([t for t in d.options.dtypes if kind(t) in "iuf"]), d.shape()
    if shape:
        axis = d.integer(0, len(shape) - 1)
        d.emit(op, [], {"dtype": dtype, "shape": shape, "dimension": axis}, [Range(4.0, 0)])


@recipe("optimization_barrier")
def _(d: Draft, op: str) -> None:
    operands = [v for v in (d.pick(lambda v: True), d.pick(lambda v: True)) if v is not None]
    d.emit(op, operands, ranges=[d.range_of(o) for o in operands])


# --- reductions and order -------------------------------------------------------------------------


@recipe("reduce_sum", "reduce_prod", "reduce_and", "reduce_or", "reduce_xor")
@recipe("reduce_max", "reduce_min", smooth=False)
def _(d: Draft, op: str) -> None:
    extreme = op in ("reduce_max", "reduce_min")
    domain = {"reduce_sum": "iufc", "reduce_prod": "iuf"}.get(op, "biuf" if extreme else "biu")
    x = d.pick(lambda v: kind(v.type.dtype) in domain and not (extreme and v.type.size == 0))
    if x is None:
        return
    axes = d.subset(range(x.type.rank))
    count, range_ = prod(x.type.shape[a] for a in axes), d.range_of(x)
    bounds = {"reduce_sum": range_.bound * count, "reduce_prod": max(1, range_.bound) ** count}
    if kind(x.type.dtype) == "f" or extreme:
        grid = None if op == "reduce_prod" else range_.grid
        d.emit(op, [x], {"axes": axes}, [Range(bounds.get(op, range_.bound), grid)])
    else:
        d.emit(op, [x], {"axes": axes}, [Range(bounds["reduce_sum"])] if op == "reduce_sum" else ())


@recipe("cumsum", "cumprod", "cumlogsumexp")
@recipe("cummax", "cummin", smooth=False)
def _(d: Draft, op: str) -> None:
    domain = {"cumlogsumexp": "f"}.get(op, "iuf")
    x = d.pick(lambda v: kind(v.type.dtype) in domain and v.type.rank > 0)
    if x is None:
        return
    axis = d.integer(0, x.type.rank - 1)
    count, range_ = x.type.shape[axis], d.range_of(x)
    bounds = {"cumsum": range_.bound * count, "cumprod": max(1, range_.bound) ** count}
    grid = range_.grid if op not in ("cumprod", "cumlogsumexp") else None
    result = Range(bounds.get(op, range_.bound + 2), grid)
    attrs = {"axis": axis, "reverse": d.choose([False, True])}
    d.emit(op, [x], attrs, [Range(inf) if kind(x.type.dtype) == "u" else result])


@recipe("argmax", "argmin", "top_k", smooth=False)
def _(d: Draft, op: str) -> None:
    x = d.pick(
        lambda v: (
            kind(v.type.dtype) in "biuf"
            and v.type.rank > 0
            and 0 not in v.type.shape
            and d.is_exact(v)
        )
    )
    if x is not None:
        axis = d.integer(0, x.type.rank - 1)
        attrs = {"axes": (axis,), "index_dtype": "int32"}
        if op == "top_k":
            attrs = {"k": d.integer(0, x.type.shape[axis]), "axis": axis}
        d.emit(op, [x], attrs, [d.range_of(x), Range(4.0, 0)] if op == "top_k" else [Range(4.0, 0)])


@recipe("sort", smooth=False)
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: kind(v.type.dtype) in "iuf" and v.type.rank > 0 and d.is_exact(v))
    if x is not None:
        dtypes = [t for t in d.options.dtypes if t != KEY]
        along = [d.operand(Type(d.choose(dtypes), x.type.shape)) for _ in range(d.integer(0, 1))]
        attrs = {"dimension": d.integer(0, x.type.rank - 1), "num_keys": 1, "is_stable": True}
        d.emit(op, [x, *along], attrs, [d.range_of(o) for o in (x, *along)])


# --- contractions ---------------------------------------------------------------------------------


@recipe("dot_general")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: kind(v.type.dtype) in "iuf" and v.type.rank > 0)
    if x is None:
        return
    axis = d.integer(0, x.type.rank - 1)
    shape = (x.type.shape[axis], *d.choose([(), (2,), (0,)]))
    y = d.operand(Type(x.type.dtype, shape))
    batch = x.type.rank > 1 and len(shape) > 1 and d.integer(0, 1) == 1
    paired = (((), ()), ((axis,), (0,))) if batch else (((axis,), (0,)), ((), ()))
    xs, ys = d.range_of(x), d.range_of(y)
    grid = None if xs.grid is None or ys.grid is None else xs.grid + ys.grid
    result = Range(xs.bound * ys.bound * (1 if batch else shape[0]), grid)
    attrs = {"dimension_numbers": paired, "precision": None, "preferred_element_type": None}
    d.emit(op, [x, y], attrs, [result if kind(x.type.dtype) != "u" else Range(inf)])


@recipe("conv_general_dilated")
def _(d: Draft, op: str) -> None:
    dtypes = [t for t in d.options.dtypes if t in ("float32", "float64")]
    if not dtypes:
        return
    dtype = d.choose(dtypes)
    x = d.operand(Type(dtype, (1, 2, 3)))
    kernel = d.operand(Type(dtype, (2, 2, d.integer(1, 2))))
    attrs = {
        "layout": ((0, 1, 2),) * 3,
        "strides": (d.integer(1, 2),),
        "padding": ((d.integer(0, 1), 0),),
        "input_dilation": (d.integer(1, 2),),
        "kernel_dilation": (1,),
        "feature_groups": 1,
        "batch_groups": 1,
        "precision": None,
        "preferred_element_type": None,
    }
    d.emit(op, [x, kernel], attrs, [Range(d.range_of(x).bound * d.range_of(kernel).bound * 4)])


# --- indexing -------------------------------------------------------------------------------------


@recipe("dynamic_slice", "dynamic_update_slice")
def _(d: Draft, op: str) -> None:
    x = d.pick(lambda v: v.type.rank > 0 and not v.type.is_key)
    if x is None:
        return
    starts = [d.operand(Type("int32")) for _ in x.type.shape]
    sizes = tuple(d.integer(0, n) for n in x.type.shape)
    if op == "dynamic_slice":
        d.emit(op, [x, *starts], {"slice_sizes": sizes}, [d.range_of(x)])
    else:
        update = d.operand(Type(x.type.dtype, sizes))
        d.emit(op, [x, update, *starts], {}, [together(d, [x, update])])


@recipe("gather", "scatter", "scatter-add", "scatter-mul")
@recipe("scatter-min", "scatter-max", smooth=False)
def _(d: Draft, op: str) -> None:
    domain = "biufck" if op in ("gather", "scatter") else "iuf"
    x = d.pick(lambda v: v.type.rank > 0 and v.type.shape[0] > 0 and kind(v.type.dtype) in domain)
    if x is None or x.type.is_key:
        return
    # Which of several windows wins a place is not defined, so a plain scatter has only one.
    rows = d.choose([(2,), (), (3,)]) if op != "scatter" else ()
    index = d.operand(Type("int32", (*rows, 1)))
    attrs: dict[str, object] = {
        "offset_dims": tuple(range(len(rows), len(rows) + x.type.rank - 1)),
        "collapsed_dims": (0,),
        "index_map": (0,),
        "batching_dims": (),
        "index_batching": (),
        "mode": d.choose(["clip", "fill"]),
        "unique": not rows,
        "sorted": False,
    }
    if op == "gather":
        attrs = {"slice_sizes": (1, *x.type.shape[1:]), **attrs, "fill_value": 0}
        d.emit(op, [x, index], attrs, [d.range_of(x)])
        return
    updates = d.operand(Type(x.type.dtype, (*rows, *x.type.shape[1:])))
    both, other = together(d, [x, updates]), d.range_of(updates).bound
    count = prod(rows)
    bounds = {
        "scatter-add": both.bound * (count + 1),
        "scatter-mul": both.bound * max(1, other) ** count,
    }
    grid = both.grid if op != "scatter-mul" else None
    unsigned = kind(x.type.dtype) == "u"
    d.emit(
        op,
        [x, index, updates],
        attrs,
        [Range(inf if unsigned else bounds.get(op, both.bound), grid)],
    )


# --- random numbers -------------------------------------------------------------------------------


@recipe("random_split", "random_bits", "random_unwrap", "random_clone", "random_fold_in")
def _(d: Draft, op: str) -> None:
    keys = d.pick_kind("k")
    keys = keys if keys is not None and keys.type.rank < 3 else d.operand(Type(KEY))
    attrs: dict[str, object] = {}
    if op in ("random_split", "random_bits"):
        attrs["shape"] = d.choose([(2,), (), (1, 2)])
    if op == "random_bits":
        attrs["bit_width"] = d.choose([32, 8, 16])
    operands: list[Operand] = [keys]
    if op == "random_fold_in":
        operands.append(d.operand(Type("uint32", keys.type.shape)))
    d.emit(op, operands, attrs)


@recipe("random_seed", "random_wrap")
def _(d: Draft, op: str) -> None:
    type = Type("int32") if op == "random_seed" else Type("uint32", (2,))
    d.emit(op, [d.operand(type)], {"impl": "fry"})


@recipe("threefry2x32")
def _(d: Draft, op: str) -> None:
    type = Type("uint32", d.shape())
    d.emit(op, [d.operand(type) for _ in range(4)])


recipe("csr_to_columns", "csr_to_rows", "csr_to_connections")(draw_sparse)
recipe("seeded_to_columns", "seeded_to_rows")(draw_seeded)

RANDOM = {name for name in RECIPES if name.startswith(("random_", "threefry"))}


def usable(d: Draft) -> list[str]:
    """Return the ops that may be drawn."""
    names = [name for name in RECIPES if KEY in d.options.dtypes or name not in RANDOM]
    if "complex64" not in d.options.dtypes:
        names = [name for name in names if name not in ("complex", "real", "imag", "conj")]
    if d.options.differentiable:
        names = [
            name
            for name in names
            if name not in JUMPS or (name in MATHS and "exact" in MATHS[name].needs)
        ]
    return names

"""Samples of contractions, indexing, sorting and random keys, for the laws of `test_ops`."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from op_samples import Array, Random, Sample, floats, integers

from brainir.ir.dtypes import keys_of_words


def f32(values: Any) -> Any:
    """Return an array of single-precision numbers."""
    return np.asarray(values, np.float32)


def i32(values: Any) -> Any:
    """Return an array of integers."""
    return np.asarray(values, np.int32)


# --- contractions ---------------------------------------------------------------------------------


def near_one(rng: Random, *shape: int) -> Array:
    """Return positive numbers, in sums of whose products nothing cancels."""
    return floats(rng, *shape, low=0.5, high=2.0)


def dot_samples(rng: Random) -> Iterator[Sample]:
    def dot(lhs: Array, rhs: Array, dimensions: Any, *asked: Any, slopes: str = "smooth") -> Sample:
        precision, dtype = asked or (None, None)
        attrs = {
            "dimension_numbers": dimensions,
            "precision": precision,
            "preferred_element_type": dtype,
        }
        return Sample("dot_general", (lhs, rhs), attrs, slopes, rtol=1e-4)

    matrices = (((1,), (0,)), ((), ()))
    yield dot(near_one(rng, 2, 3), near_one(rng, 3, 4), matrices)
    yield dot(near_one(rng, 3), near_one(rng, 3), (((0,), (0,)), ((), ())))
    yield dot(near_one(rng, 3), near_one(rng, 2), (((), ()), ((), ())))
    yield dot(near_one(rng, 0, 3), near_one(rng, 3, 2), matrices)
    yield dot(near_one(rng, 2, 0), near_one(rng, 0, 2), matrices)
    crossed = (((3, 1), (0, 1)), ((0,), (3,)))
    yield dot(near_one(rng, 2, 3, 2, 5), near_one(rng, 5, 3, 2, 2), crossed, "HIGHEST", None)
    swapped = (((2,), (2,)), ((1, 0), (3, 1)))
    operands = near_one(rng, 2, 3, 4), near_one(rng, 2, 2, 4, 3)
    yield dot(*operands, swapped, ("HIGHEST", "DEFAULT"), None)
    small = integers(rng, 2, 3, dtype="int8"), integers(rng, 3, 2, dtype="int8")
    yield dot(*small, matrices, None, "int32")
    narrow = near_one(rng, 2, 3).astype("bfloat16"), near_one(rng, 3, 2).astype("bfloat16")
    yield dot(*narrow, matrices, slopes="none")
    yield dot(*narrow, matrices, None, "float32", slopes="none")
    turned = near_one(rng, 2, 3) * np.complex64(1j), near_one(rng, 3, 2) * np.complex64(1 + 1j)
    yield dot(*turned, matrices)


PLAIN = ((0, 1, 2, 3), (0, 1, 2, 3), (0, 1, 2, 3))
CHANNELS_LAST = ((0, 3, 1, 2), (3, 2, 0, 1), (0, 3, 1, 2))


def convolution_samples(rng: Random) -> Iterator[Sample]:
    def conv(
        lhs: tuple[int, ...],
        rhs: tuple[int, ...],
        layout: Any,
        *options: Any,
        groups: tuple[int, int] = (1, 1),
        slopes: str = "smooth",
    ) -> Sample:
        space = len(lhs) - 2
        ones = (1,) * space
        strides, padding, input_dilation, kernel_dilation = options or (
            ones,
            ((0, 0),) * space,
            ones,
            ones,
        )
        attrs = {
            "layout": layout,
            "strides": strides,
            "padding": padding,
            "input_dilation": input_dilation,
            "kernel_dilation": kernel_dilation,
            "feature_groups": groups[0],
            "batch_groups": groups[1],
            "precision": None,
            "preferred_element_type": None,
        }
        operands = near_one(rng, *lhs), near_one(rng, *rhs)
        return Sample("conv_general_dilated", operands, attrs, slopes, rtol=1e-4)

    uneven = (2, 3), ((1, 0), (1, 2)), (1, 2), (2, 1)
    cut = (2, 1), ((1, 0), (-1, 2)), (1, 2), (2, 1)
    yield conv((2, 3, 4, 3), (2, 3, 2, 3), PLAIN)
    yield conv((1, 5, 4, 2), (2, 2, 2, 3), CHANNELS_LAST, *cut)
    yield conv((1, 5, 4, 4), (2, 3, 2, 2), CHANNELS_LAST, *uneven, groups=(2, 1))
    yield conv((4, 5, 4, 2), (2, 3, 2, 2), CHANNELS_LAST, *uneven, groups=(1, 2))
    yield conv((1, 2, 5), (2, 2, 3), ((0, 1, 2),) * 3, slopes="kinks")
    yield conv((1, 2, 2), (2, 2, 3), ((0, 1, 2),) * 3, slopes="none")
    yield conv((2, 3), (4, 3), ((0, 1),) * 3)


# --- indexing -------------------------------------------------------------------------------------


def keys(rng: Random, *shape: int) -> Array:
    """Return random keys."""
    return keys_of_words(rng.integers(0, 2**32, (*shape, 2), np.uint32), "key<fry>")


def windows(
    offset_dims: Any,
    collapsed_dims: Any,
    index_map: Any,
    batching: Any = ((), ()),
    mode: str = "fill",
    unique: bool = False,
) -> dict[str, Any]:
    return {
        "offset_dims": offset_dims,
        "collapsed_dims": collapsed_dims,
        "index_map": index_map,
        "batching_dims": batching[0],
        "index_batching": batching[1],
        "mode": mode,
        "unique": unique,
        "sorted": False,
    }


def box_samples(rng: Random) -> Iterator[Sample]:
    """Boxes whose corner is inside or outside, on either side."""
    for make in (floats, integers, keys):
        starts = integers(rng), integers(rng)
        x, y = make(rng, 3, 4), make(rng, 2, 3)
        yield Sample("dynamic_slice", (x, *starts), {"slice_sizes": (2, 3)})
        yield Sample("dynamic_update_slice", (x, y, *starts))
    yield Sample("dynamic_slice", (floats(rng),), {"slice_sizes": ()})
    yield Sample("dynamic_update_slice", (floats(rng), floats(rng)))
    for width in (0, 4):
        start = integers(rng, dtype="uint8", low=0)
        yield Sample("dynamic_slice", (floats(rng, 4), start), {"slice_sizes": (width,)})


def gather_samples(rng: Random) -> Iterator[Sample]:
    rows, points = ((1,), (0,), (0,)), ((), (0,), (0,))
    for mode, fill in (("clip", None), ("fill", None), ("fill", 1.5)):
        # JAX and numpy agree about nan, but no slope does.
        slopes = "none" if (mode, fill) == ("fill", None) else "smooth"

        def gather(
            array: Array,
            index: Array,
            slice_sizes: Any,
            *where: Any,
            mode: str = mode,
            fill: Any = fill,
            slopes: str = slopes,
        ) -> Sample:
            attrs = {"slice_sizes": slice_sizes, **windows(*where, mode=mode), "fill_value": fill}
            return Sample("gather", (array, index), attrs, slopes)

        yield gather(floats(rng, 3, 4), integers(rng, 5, 1, low=-1, high=3), (1, 4), *rows)
        index = integers(rng, 2, 3, 2, low=-2, high=5)
        yield gather(floats(rng, 3, 4, 5), index, (2, 1, 3), (0, 2), (1,), (2, 0))
        index, batching = integers(rng, 4, 2, 3, 1, low=-1, high=3), ((1,), (0,))
        yield gather(floats(rng, 3, 4, 5), index, (1, 1, 2), (3,), (0,), (0,), batching)
        yield gather(floats(rng, 4), integers(rng, 1, low=-1, high=4), (1,), *points)
        whole = np.zeros((2, 0), np.int32)
        yield gather(floats(rng, 2, 3), whole, (2, 3), (0, 2), (), ())
        if fill is None:
            index = integers(rng, 4, 1, low=-1, high=4, dtype="int8")
            for dtype in ("int8", "uint32", "bool", "complex64", "bfloat16"):
                array = (
                    floats(rng, 4).astype(dtype)
                    if dtype != "uint32"
                    else np.arange(1, 5, dtype=np.uint32)
                )
                yield gather(array, index, (1,), *points, slopes="none")
            yield gather(keys(rng, 4), index, (1,), *points)
    attrs = {"slice_sizes": (1, 4), **windows(*rows, mode="promise"), "fill_value": None}
    yield Sample("gather", (floats(rng, 3, 4), integers(rng, 5, 1, low=0, high=2)), attrs)


def scatter_samples(rng: Random) -> Iterator[Sample]:
    rows, points = ((1,), (0,), (0,)), ((), (0,), (0,))
    for name in ("scatter", "scatter-add", "scatter-mul", "scatter-min", "scatter-max"):
        # Where places are clipped to one, JAX counts the equal ones of an extremum wrongly.
        clipped = "ours" if name in ("scatter-min", "scatter-max") else "smooth"
        for mode, slopes in (("fill", "smooth"), ("clip", clipped)):
            x, index = floats(rng, 3, 4), rng.permutation(5)[:3, None].astype(np.int32) - 1
            if mode == "clip":  # no two of them may be clipped to one place
                index = rng.permutation(3)[:, None].astype(np.int32)
            where = windows(*rows, mode=mode, unique=True)
            yield Sample(name, (x, index, floats(rng, 3, 4)), where, slopes)
            corner = integers(rng, 1, 2, low=-1, high=2)
            operands = floats(rng, 3, 2, 4), corner, floats(rng, 2, 1, 3)
            yield Sample(name, operands, windows((0, 2), (1,), (0, 1), mode=mode), slopes)
            lanes = rng.permutation(4)[None, :3, None].repeat(2, 0).astype(np.int32)
            where = windows((), (1,), (1,), ((0,), (0,)), mode=mode, unique=True)
            yield Sample(name, (floats(rng, 2, 4), lanes, floats(rng, 2, 3)), where, slopes)
            point = floats(rng, 4), integers(rng, 1, low=0, high=3), floats(rng)
            yield Sample(name, point, windows(*points, mode=mode))
            whole = integers(rng, 4), np.array([[2], [9], [0]], np.int32), integers(rng, 3)
            yield Sample(name, whole, windows(*points, mode=mode))
    yield Sample("scatter", (keys(rng, 4), i32([[1], [9]]), keys(rng, 2)), windows(*points))
    yield from overlapping_samples(rng)


def overlapping_samples(rng: Random) -> Iterator[Sample]:
    """Windows some of which fall on the same elements."""
    points, places = windows((), (0,), (0,)), i32([[0], [2], [2], [0], [7]])
    for name in ("scatter", "scatter-add", "scatter-min", "scatter-max"):
        yield Sample(name, (floats(rng, 3), places, floats(rng, 5)), points)
    # JAX has no derivative of a product of updates that overlap.
    yield Sample("scatter-mul", (floats(rng, 3), places, floats(rng, 5)), points, "ours")
    ties = f32([1, 2, 3]), i32([[0], [0], [1], [2]]), f32([1, 1, 2, 0])
    for name in ("scatter-min", "scatter-max"):
        yield Sample(name, ties, points, "kinks")


# --- sorting --------------------------------------------------------------------------------------

UNUSUAL = f32([1, np.nan, -0.0, 0.0, 3, -0.0, -np.inf, np.inf, np.nan])


def sorting_samples(rng: Random) -> Iterator[Sample]:
    def sort(*operands: Array, by: int = 1, axis: int = 0, slopes: str = "smooth") -> Sample:
        attrs = {"dimension": axis, "num_keys": by, "is_stable": True}
        return Sample("sort", operands, attrs, slopes)

    yield sort(floats(rng, 5))
    yield sort(floats(rng, 2, 5), floats(rng, 2, 5), axis=1)
    coarse = integers(rng, 5, 2, low=0, high=1).astype(np.float32)
    yield sort(coarse, floats(rng, 5, 2), integers(rng, 5, 2), by=2, slopes="none")
    yield sort(UNUSUAL, np.arange(9, dtype=np.int32), slopes="none")
    yield sort(floats(rng, 4).astype("bfloat16"), floats(rng, 4), slopes="none")
    yield sort(rng.random(5) < 0.5, np.arange(5, dtype=np.uint8))
    for k, axis in ((2, 0), (3, 1), (5, 1)):
        yield Sample("top_k", (floats(rng, 2, 5),), {"k": k, "axis": axis})
    yield Sample("top_k", (floats(rng, 3),), {"k": 0, "axis": 0}, "none")
    yield Sample("top_k", (UNUSUAL,), {"k": 9, "axis": 0}, "none")
    for dtype in ("int32", "uint8"):
        yield Sample("top_k", (integers(rng, 7, low=0, dtype=dtype),), {"k": 4, "axis": 0})


# --- random keys ----------------------------------------------------------------------------------


def words(rng: Random, *shape: int) -> Array:
    """Return any 32-bit words."""
    return np.asarray(rng.integers(0, 2**32, shape, np.uint32))


def random_samples(rng: Random) -> Iterator[Sample]:
    for shape in ((), (3,), (1, 2)):
        for name in ("random_unwrap", "random_clone"):
            yield Sample(name, (keys(rng, *shape),))
        for drawn in ((), (2, 3)):
            yield Sample("random_split", (keys(rng, *shape),), {"shape": drawn})
            attrs = {"shape": drawn, "bit_width": 32}
            yield Sample("random_bits", (keys(rng, *shape),), attrs)
        yield Sample("random_wrap", (words(rng, *shape, 2),), {"impl": "fry"})
        for dtype in ("int32", "uint8", "int16"):
            seeds = integers(rng, *shape, low=0 if dtype[0] == "u" else -9, dtype=dtype)
            yield Sample("random_seed", (seeds,), {"impl": "fry"})
    for bits, drawn in ((8, (3,)), (16, (3,)), (32, (0,))):
        yield Sample("random_bits", (keys(rng, 2),), {"shape": drawn, "bit_width": bits})
    for first, second in (((), ()), ((3,), ()), ((), (3,)), ((3,), (3,)), ((2, 1), (1, 3))):
        yield Sample("random_fold_in", (keys(rng, *first), words(rng, *second)))
        operands = words(rng, *first), words(rng, *first), words(rng, *second), words(rng, *second)
        yield Sample("threefry2x32", operands)


# --- sparse matrices ------------------------------------------------------------------------------


def connections(rng: Random, columns: int, *counts: int) -> tuple[Array, Array, Array]:
    """Return connections of rows that have so many: some are double, and some lead nowhere."""
    indices = rng.integers(-1, columns, sum(counts), endpoint=True)
    rows = np.repeat(np.arange(len(counts)), counts)
    return i32(indices), i32([0, *np.cumsum(counts)]), i32(rows)


def sparse_samples(rng: Random) -> Iterator[Sample]:
    for counts in ((2, 0, 3, 1), (), (0, 0)):
        where, n, height = connections(rng, 5, *counts), sum(counts), len(counts)
        for weights in (floats(rng, n), floats(rng)):
            yield Sample("csr_to_columns", (floats(rng, height), weights, *where), {"columns": 5})
            yield Sample("csr_to_rows", (floats(rng, 3, 5), weights, *where))
        yield Sample("csr_to_connections", (floats(rng, height), floats(rng, 5), *where))
    many = connections(rng, 7, *(5, 30, 0, 40) * 2)
    few = np.where(np.arange(16).reshape(2, 8) == 3 * rng.integers(0, 4), np.float32(0.5), 0)
    yield Sample("csr_to_columns", (few.astype("f4"), floats(rng, 150), *many), {"columns": 7})
    yield Sample("csr_to_connections", (few.astype("f4"), floats(rng, 2, 7), *many))
    whole = integers(rng, 8), integers(rng, 150), *many
    yield Sample("csr_to_columns", whole, {"columns": 7})


def seeded_samples(rng: Random) -> Iterator[Sample]:
    for chance in (0.3, 1.0, 1e-4):
        seed, attrs = i32(11), {"probability": chance}
        yield Sample("seeded_to_columns", (floats(rng, 2, 9), seed), {"columns": 20, **attrs})
        yield Sample("seeded_to_rows", (floats(rng, 20), seed), {"rows": 9, **attrs})
    few = np.where(np.arange(100) % 40 == 7, f32(0.5), f32(0))
    yield Sample("seeded_to_columns", (few, i32(-3)), {"columns": 50, "probability": 0.2})
    yield Sample("seeded_to_columns", (floats(rng, 0), i32(2)), {"columns": 3, "probability": 0.2})
    yield Sample("seeded_to_rows", (integers(rng, 70), i32(2)), {"rows": 1, "probability": 0.2})


def structured_samples(seed: int) -> list[Sample]:
    """Return the samples of all families here; the seed decides nothing but their elements."""
    rng = np.random.default_rng(seed)
    families = (
        dot_samples,
        convolution_samples,
        box_samples,
        gather_samples,
        scatter_samples,
        sorting_samples,
        random_samples,
        sparse_samples,
        seeded_samples,
    )
    return [sample for family in families for sample in family(rng)]

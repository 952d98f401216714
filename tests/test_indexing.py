"""What indexing means in corners that the laws of `test_ops` do not reach."""

from typing import Any

import numpy as np
import pytest

from brainir.backends import reference
from brainir.ir import Builder, GraphError, Type, Value, get_op
from brainir.ir.dtypes import type_of_array


def f32(values: Any) -> Any:
    """Return an array of single-precision numbers."""
    return np.asarray(values, np.float32)


def i32(values: Any) -> Any:
    """Return an array of integers."""
    return np.asarray(values, np.int32)


POINTS = {
    "offset_dims": (),
    "collapsed_dims": (0,),
    "index_map": (0,),
    "batching_dims": (),
    "index_batching": (),
    "mode": "fill",
    "unique": False,
    "sorted": False,
}
"""Attributes of a gather or scatter of single elements of a vector."""


def cotangents(name: str, operands: list[Any], cotangent: Any, **attrs: Any) -> list[Any]:
    """Return the cotangents of the differentiable operands of an op."""
    builder, params = Builder(), [Value(type_of_array(o)) for o in operands]
    (result,) = builder.emit(name, params, attrs)
    incoming, derivative = Value(result.type), get_op(name).derivative
    assert derivative is not None
    found = derivative.vjp(builder, builder.nodes[-1], (incoming,))
    graph = builder.graph([*params, incoming], [c for c in found if c is not None])
    return [array.tolist() for array in reference.run(graph, *operands, cotangent)]


@pytest.mark.parametrize(
    ("updates", "factors"),
    [
        ([2.0, 3.0, 5.0], [30.0, 20.0, 12.0]),
        ([2.0, 0.0, 5.0], [0.0, 20.0, 0.0]),
        ([0.0, 0.0, 5.0], [0.0, 0.0, 0.0]),
    ],
)
def test_a_product_of_overlapping_updates_may_contain_zeros(
    updates: list[float], factors: list[float]
) -> None:
    array, index = f32([7, 2]), i32([[1], [1], [1]])
    by_array, by_updates = cotangents(
        "scatter-mul", [array, index, f32(updates)], f32([1, 1]), **POINTS
    )
    assert by_array == [1, np.prod(updates)]
    assert by_updates == factors


def test_only_the_update_that_stays_has_a_derivative() -> None:
    operands = [f32([1, 2]), i32([[0], [0], [9]]), f32([5, 6, 7])]
    written = get_op("scatter").numpy(*operands, **POINTS)
    by_array, by_updates = cotangents("scatter", operands, f32([3, 4]), **POINTS)
    assert by_array == [0, 4]
    assert by_updates == ([3, 0, 0] if written[0] == 5 else [0, 3, 0])


def test_what_is_filled_in_has_no_derivative() -> None:
    operands = [f32([1, 2]), i32([[0], [5]])]
    attrs = {**POINTS, "slice_sizes": (1,), "fill_value": 8.0}
    assert get_op("gather").numpy(*operands, **attrs).tolist() == [1, 8]
    assert cotangents("gather", operands, f32([3, 4]), **attrs) == [[3, 0]]


@pytest.mark.parametrize(
    ("name", "types", "attrs", "message"),
    [
        ("gather", ["float32 3", "int32 2 1"], {"mode": "wrap"}, "mode is one of"),
        ("gather", ["float32 3", "float32 2 1"], {}, "made of integers"),
        ("gather", ["float32 3", "int32 2 2"], {}, "names 1 axes for vectors of 2"),
        ("gather", ["float32 3", "int32 2 1"], {"slice_sizes": (4,)}, "do not fit"),
        ("scatter", ["float32 3", "int32 2 1", "float32 3"], {}, "do not fit"),
        ("scatter", ["float32 3", "int32 2 1", "int32 2"], {}, "one dtype"),
        ("dynamic_slice", ["float32 3", "int32"], {"slice_sizes": (4,)}, "does not fit"),
        ("dynamic_slice", ["float32 3", "float32"], {"slice_sizes": (1,)}, "integers"),
        ("sort", ["key<fry> 3"], {"dimension": 0, "num_keys": 1, "is_stable": True}, "keys"),
        ("top_k", ["float32 3"], {"k": 4, "axis": 0}, "has no 4 elements"),
        ("random_bits", ["uint32 2"], {"shape": (), "bit_width": 32}, "expected random keys"),
        ("random_bits", ["key<fry>"], {"shape": (), "bit_width": 24}, "not of 24"),
        ("random_bits", ["key<rbg>"], {"shape": (), "bit_width": 32}, "expected random keys"),
        ("random_seed", ["float32"], {"impl": "fry"}, "made of integers"),
    ],
)
def test_inference_refuses(
    name: str, types: list[str], attrs: dict[str, Any], message: str
) -> None:
    if name in ("gather", "scatter"):
        shape = {"slice_sizes": (1,), "fill_value": None} if name == "gather" else {}
        attrs = {**POINTS, **shape, **attrs}
    operands = [Value(Type(t.split()[0], tuple(map(int, t.split()[1:])))) for t in types]
    with pytest.raises(GraphError, match=message):
        Builder().emit(name, operands, attrs)


def test_contractions_refuse_what_does_not_fit() -> None:
    lhs, rhs = Value(Type("float32", (2, 3))), Value(Type("float32", (2, 3)))
    asked = {"precision": None, "preferred_element_type": None}
    with pytest.raises(GraphError, match="differ in length"):
        Builder().emit(
            "dot_general", [lhs, rhs], {"dimension_numbers": (((1,), (0,)), ((), ())), **asked}
        )
    layout = ((0, 1), (0, 1), (0, 1))
    flat: dict[str, Any] = dict.fromkeys(
        ("strides", "padding", "input_dilation", "kernel_dilation"), ()
    )
    groups = {"feature_groups": 2, "batch_groups": 1}
    with pytest.raises(GraphError, match="takes 3 features of each of 2 groups"):
        Builder().emit(
            "conv_general_dilated", [lhs, rhs], {"layout": layout, **flat, **groups, **asked}
        )

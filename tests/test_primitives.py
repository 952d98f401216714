"""From JAX's primitives to ops of the same name, which nobody has to write down."""

import jax
import jax.extend.core
import numpy as np
import pytest

import brainir
from brainir.frontend.capture.translations import TRANSLATE
from brainir.ir import (
    NO_ELEMENT,
    PURE,
    ZERO,
    Cost,
    GraphError,
    Weight,
    all_ops,
    define,
    temporary_ops,
)


@pytest.fixture
def shifted():
    """A primitive of JAX, and an op of its name with one of its parameters."""
    primitive = jax.extend.core.Primitive("shifted_twice")
    primitive.def_abstract_eval(lambda x, **_: x)
    primitive.def_impl(lambda x, *, by, why: x + 2 * by)

    def infer(x, *, by):
        if x.dtype != "float32":
            raise GraphError("floats are shifted")
        return x

    with temporary_ops():
        define(
            "shifted_twice",
            "Add a number twice.",
            infer=infer,
            numpy=lambda x, by: x + 2 * np.float32(by),
            lax=lambda jax, x, by: primitive.bind(x, by=by, why=None),
            batch=lambda builder, operands, batched, size, by: builder(
                "shifted_twice", *operands, by=by
            ),
            derivative=ZERO,
            effects=PURE,
            cost=lambda operands, results, attrs: Cost(0, 0, Weight.CHEAP),
            element=NO_ELEMENT("a test"),
        )
        yield primitive
    assert "shifted_twice" not in TRANSLATE


def captured(primitive, x, **params):
    function = brainir.transform.jit(lambda x: primitive.bind(x, **params))
    (node,) = function.trace(x).graph("capture").nodes
    return node


def test_a_primitive_becomes_the_op_of_its_name(shifted):
    node = captured(shifted, np.ones(3, np.float32), by=1.5, why=None)
    assert node.op.name == "shifted_twice"
    assert node.attrs == {"by": 1.5}
    function = brainir.transform.vmap(lambda x: shifted.bind(x, by=1.5, why=None))
    graph = brainir.transform.jit(function).trace(np.ones((2, 3), np.float32)).graph("purify")
    assert [node.op.name for node in graph.nodes] == ["shifted_twice"]


@pytest.mark.parametrize(
    ("dtype", "params"),
    [
        ("float32", {"by": 1.5, "why": "a word"}),  # it has no attribute for that
        ("float32", {"why": None}),  # an attribute is missing
        ("float32", {"by": object(), "why": None}),
        ("int32", {"by": 1.5, "why": None}),  # it does not take integers
    ],
)
def test_what_the_op_does_not_model_stays_opaque(shifted, dtype, params):
    assert captured(shifted, np.ones(3, dtype), **params).op.opaque


def test_ops_that_are_no_function_of_arrays_are_no_primitives():
    names = {op.name for op in all_ops() if op.has_regions or op.effects or op.opaque}
    assert "for_loop" in names
    assert names.isdisjoint(TRANSLATE)
    assert len(TRANSLATE) == len(list(TRANSLATE)) == len(set(TRANSLATE))

"""What the backends share: arrays and types as numpy and as JAX have them."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ..ir import Literal, Node, Type, dtype_name, key_words, keys_of_words, numpy_dtype

GENERATORS = {"fry": "threefry2x32", "rbg": "rbg", "urbg": "unsafe_rbg"}
"""JAX's names of the random generators whose keys it tags so."""


def to_numpy(array: Any) -> np.ndarray[Any, Any]:
    """Return an array as numpy; JAX keys become the structured elements of `numpy_dtype`.

    Examples
    --------
    >>> import jax
    >>> from brainir.backends import to_jax, to_numpy
    >>> keys = to_numpy(jax.random.split(jax.random.key(0), 3))
    >>> keys.shape, keys.dtype.names
    ((3,), ('fry',))
    >>> bool((to_jax(keys) == jax.random.split(jax.random.key(0), 3)).all())
    True
    """
    if isinstance(array, jax.Array) and jax.numpy.issubdtype(array.dtype, jax.dtypes.prng_key):
        return keys_of_words(np.asarray(jax.random.key_data(array)), str(array.dtype))
    return np.asarray(array)


def to_jax(array: np.ndarray[Any, Any]) -> jax.Array:
    """Return a numpy array as JAX; the inverse of `to_numpy`.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.backends import to_jax
    >>> to_jax(np.ones(3, np.float32))
    Array([1., 1., 1.], dtype=float32)
    """
    if array.dtype.names:
        (generator,) = array.dtype.names
        return jax.random.wrap_key_data(
            jax.numpy.asarray(key_words(array)), impl=GENERATORS[generator]
        )
    return jax.numpy.asarray(array)


def jax_dtype(name: str) -> Any:
    """Return the dtype that JAX has for a dtype named as in `Type`.

    Raises
    ------
    KeyError
        If the keys are of a generator that we do not know.

    Examples
    --------
    >>> from brainir.backends import jax_dtype
    >>> jax_dtype("float32"), jax_dtype("key<fry>")
    (dtype('float32'), key<fry>)
    """
    if not name.startswith("key<"):
        return numpy_dtype(name)
    impl = GENERATORS[name[len("key<") : -1]]
    return jax.eval_shape(lambda: jax.random.key(0, impl=impl)).dtype


def shape_struct(type: Type) -> jax.ShapeDtypeStruct:
    """Return the abstract array that JAX has for a type.

    Examples
    --------
    >>> from brainir.backends import shape_struct
    >>> from brainir.ir import Type
    >>> trace = shape_struct(Type("float32", (500, 4)))
    >>> trace.shape, trace.dtype
    ((500, 4), dtype('float32'))
    """
    return jax.ShapeDtypeStruct(type.shape, jax_dtype(type.dtype))


def type_of(array: Any) -> Type:
    """Return the type of a numpy or JAX array, of a tracer or of an abstract array.

    What JAX has for the tangent of an integer, which holds nothing, is an array of booleans here.

    Examples
    --------
    >>> import jax
    >>> import numpy as np
    >>> from brainir.backends import type_of
    >>> str(type_of(np.zeros((500, 4), np.float32))), str(type_of(jax.random.key(0)))
    ('f32[500,4]', 'key<fry>[]')
    """
    if array.dtype == jax.dtypes.float0:
        return Type("bool", array.shape)
    return Type(name_of_dtype(array.dtype), array.shape)


def name_of_dtype(dtype: Any) -> str:
    """Return the name that `Type` has for a dtype of numpy or JAX."""
    return dtype_name(dtype) if isinstance(dtype, np.dtype) else str(dtype)


def literal_array(literal: Literal) -> np.ndarray[Any, Any]:
    """Return a literal as a rank-0 array of just its dtype.

    Examples
    --------
    >>> from brainir.backends import literal_array
    >>> from brainir.ir import Literal, Type
    >>> literal_array(Literal(0.5, Type("float32")))
    array(0.5, dtype=float32)
    """
    return np.array(literal.value, numpy_dtype(literal.type.dtype))


def describe(node: Node) -> str:
    """Return one line that tells a node from others, for error messages.

    Examples
    --------
    >>> from brainir.backends import describe
    >>> from brainir.ir import parse
    >>> graph = parse('''graph @total(%x: f32[3]) -> (f32[]) {
    ...   %y = reduce_sum %x {axes=(0,)}
    ...   return %y
    ... }''')
    >>> describe(graph.nodes[0])
    'reduce_sum(f32[3]) {axes=(0,)} : f32[]'
    """
    types = ", ".join(str(operand.type) for operand in node.operands)
    results = ", ".join(str(value.type) for value in node.results)
    attrs = ", ".join(f"{name}={value!r}" for name, value in node.attrs.items())
    where = f", from {node.loc}" if node.loc else ""
    return f"{node.op.name}({types}) {{{attrs}}} : {results}{where}"

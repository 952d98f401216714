"""Ops on random keys, with Threefry as their meaning.

Keys of JAX's default generator have the dtype ``key<fry>``; keys of others reach a graph only
through opaque ops. Bits are laid out as JAX does by default, with ``jax_threefry_partitionable``.

The generator is Threefry-2x32 with 20 rounds: J. Salmon et al., *Parallel random numbers: as easy
as 1, 2, 3*, SC 2011.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np

from ..builder import Builder
from ..derivative import ZERO, spread
from ..dtypes import key_words, keys_of_words, numpy_dtype
from ..element import WHOLE, ElementRule, Elements, Pointwise
from ..op import PURE, Cost, GraphError, Weight, define, traffic
from ..types import Operand, Type, Value
from .rules import (
    Array,
    Types,
    batch_elementwise,
    batch_unary,
    common_shape,
    free,
    lane_shape,
    with_lanes,
)

Pair = tuple[Array, Array]

KEY = "key<fry>"
_ROTATIONS = ((13, 15, 26, 6), (17, 29, 16, 24))
_PARITY = np.uint32(0x1BD11BDA)
_BITS = (8, 16, 32, 64)


# --- the generator -------------------------------------------------------------------------------


def threefry(key: Pair, count: Pair) -> Pair:
    """Return the two words that Threefry-2x32 makes of a count under a key, elementwise."""
    keys = (*key, key[0] ^ key[1] ^ _PARITY)
    x, y = count[0] + keys[0], count[1] + keys[1]
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = x + y
            y = (y << np.uint32(rotation)) | (y >> np.uint32(32 - rotation))
            y = y ^ x
        x = x + keys[(group + 1) % 3]
        y = y + keys[(group + 2) % 3] + np.uint32(group + 1)
    return x, y


def _hashed(keys: Array, shape: tuple[int, ...]) -> Pair:
    """Return two words for each key and each index of a shape: the key's hash of the flat index."""
    words = key_words(keys).reshape((*keys.shape, *(1,) * len(shape), 2))
    index = np.arange(prod(shape), dtype=np.uint64).reshape(shape)
    count = ((index >> np.uint64(32)).astype(np.uint32), index.astype(np.uint32))
    return threefry((words[..., 0], words[..., 1]), count)


def _keys(words: Pair) -> Array:
    return keys_of_words(np.stack(np.broadcast_arrays(*words), axis=-1), KEY)


def _seed_words(seeds: Array) -> Pair:
    """Return the high and the low word of integers; the high word of a narrow one is zero."""
    low = seeds.astype(np.uint32)
    wide = seeds.dtype.itemsize == 8
    return (seeds.astype(np.uint64) >> np.uint64(32)).astype(np.uint32) if wide else low * 0, low


# --- types ---------------------------------------------------------------------------------------


def _expect_keys(keys: Type) -> None:
    if keys.dtype != KEY:
        raise GraphError(f"expected random keys of type {KEY}, not {keys}")


def _infer_seed(seeds: Type, *, impl: str) -> Type:
    if impl != "fry" or not seeds.is_integer:
        raise GraphError(f"cannot make {impl!r} keys of {seeds}; 'fry' keys are made of integers")
    return seeds.with_dtype(KEY)


def _infer_wrap(words: Type, *, impl: str) -> Type:
    if impl != "fry" or words.dtype != "uint32" or words.shape[-1:] != (2,):
        raise GraphError(f"cannot make {impl!r} keys of {words}; 'fry' has u32[...,2]")
    return Type(KEY, words.shape[:-1])


def _infer_unwrap(keys: Type) -> Type:
    _expect_keys(keys)
    return Type("uint32", (*keys.shape, 2))


def _infer_split(keys: Type, *, shape: tuple[int, ...]) -> Type:
    _expect_keys(keys)
    return Type(KEY, (*keys.shape, *shape))


def _infer_fold_in(keys: Type, data: Type) -> Type:
    _expect_keys(keys)
    if data.dtype != "uint32":
        raise GraphError(f"data folded into a key is u32, not {data}")
    return Type(KEY, common_shape((keys, data)))


def _infer_bits(keys: Type, *, bit_width: int, shape: tuple[int, ...]) -> Type:
    _expect_keys(keys)
    if bit_width not in _BITS:
        raise GraphError(f"random bits come in integers of {_BITS} bits, not of {bit_width}")
    return Type(f"uint{bit_width}", (*keys.shape, *shape))


def _infer_clone(keys: Type) -> Type:
    _expect_keys(keys)
    return keys


def _infer_threefry(*words: Type) -> tuple[Type, Type]:
    if len(words) != 4 or any(w.dtype != "uint32" for w in words):
        raise GraphError("expected two u32 words of a key and two of a count")
    result = Type("uint32", common_shape(words))
    return result, result


# --- meaning -------------------------------------------------------------------------------------


def _numpy_seed(seeds: Array, *, impl: str) -> Array:
    return _keys(_seed_words(seeds))


def _numpy_wrap(words: Array, *, impl: str) -> Array:
    return keys_of_words(words, KEY)


def _numpy_clone(keys: Array) -> Array:
    return keys


def _numpy_split(keys: Array, *, shape: tuple[int, ...]) -> Array:
    return _keys(_hashed(keys, shape))


def _numpy_bits(keys: Array, *, bit_width: int, shape: tuple[int, ...]) -> Array:
    high, low = _hashed(keys, shape)
    if bit_width == 64:
        return (high.astype(np.uint64) << np.uint64(32)) | low.astype(np.uint64)
    return (high ^ low).astype(numpy_dtype(f"uint{bit_width}"))


def _numpy_fold_in(keys: Array, data: Array) -> Array:
    words = key_words(keys)
    return _keys(threefry((words[..., 0], words[..., 1]), _seed_words(data)))


def _numpy_threefry(*words: Array) -> Pair:
    first, second = threefry((words[0], words[1]), (words[2], words[3]))
    return first, second


def _element_of_threefry(e: Elements, *words: Any) -> tuple[Any, Any]:
    """Hash as `threefry` does."""
    key, (x, y) = words[:2], words[2:]
    parity = e("xor", e("xor", *key), e.constant(int(_PARITY), "uint32"))
    keys = (*key, parity)
    x, y = e("add", x, keys[0]), e("add", y, keys[1])
    for group in range(5):
        for rotation in _ROTATIONS[group % 2]:
            x = e("add", x, y)
            left, right = (e.constant(n, "uint32") for n in (rotation, 32 - rotation))
            y = e("xor", e("or", e("shl", y, left), e("lshr", y, right)), x)
        x = e("add", x, keys[(group + 1) % 3])
        y = e("add", e("add", y, keys[(group + 2) % 3]), e.constant(group + 1, "uint32"))
    return x, y


# --- emission ------------------------------------------------------------------------------------


def _lax_seed(jax: Any, seeds: Any, *, impl: str) -> Any:
    return jax.extend.random.random_seed(seeds, impl=jax.extend.random.threefry_prng_impl)


def _lax_wrap(jax: Any, words: Any, *, impl: str) -> Any:
    return jax.random.wrap_key_data(words, impl="threefry2x32")


def _lax_unwrap(jax: Any, keys: Any) -> Any:
    return jax.random.key_data(keys)


def _lax_clone(jax: Any, keys: Any) -> Any:
    return jax.random.clone(keys)


def _lax_threefry(jax: Any, *words: Any) -> tuple[Any, ...]:
    return tuple(jax.extend.random.threefry2x32_p.bind(*words))


def _lax_primitive(name: str) -> Callable[..., Any]:
    def lax(jax: Any, *arrays: Any, **attrs: Any) -> Any:
        return getattr(jax.extend.core.primitives, name).bind(*arrays, **attrs)

    return lax


# --- batching ------------------------------------------------------------------------------------


def _batch_threefry(
    builder: Builder, operands: Sequence[Operand], batched: Sequence[bool], size: int
) -> tuple[Value, ...]:
    pairs = list(zip(operands, batched, strict=True))
    shape = (size, *common_shape([Type("", lane_shape(*pair)) for pair in pairs]))
    words = [
        builder("broadcast_in_dim", word, shape=shape, dims=tuple(range(word.type.rank)))
        if has
        else with_lanes(builder, spread(builder, word, Type("", shape[1:])), False, size)
        for word, has in pairs
    ]
    return builder.emit("threefry2x32", words)


# --- definitions ---------------------------------------------------------------------------------


def _hashing(operands: Types, results: Types, attrs: Mapping[str, Any]) -> Cost:
    """Cost of Threefry: about a hundred integer operations for each result."""
    return Cost(100 * sum(t.size for t in results), traffic(operands, results), Weight.HEAVY)


def _define(
    name: str,
    doc: str,
    infer: Any,
    numpy: Any,
    lax: Any,
    cost: Any,
    batch: Any,
    element: ElementRule = WHOLE,
) -> None:
    define(
        name,
        doc,
        infer=infer,
        numpy=numpy,
        lax=lax,
        batch=batch,
        derivative=ZERO,
        effects=PURE,
        cost=cost,
        element=element,
    )


def _define_unary(name: str, doc: str, infer: Any, numpy: Any, lax: Any, cost: Any) -> None:
    _define(name, doc, infer, numpy, lax, cost, batch_unary(name))


_define_unary(
    "random_seed",
    "Make a key of each integer.",
    _infer_seed,
    _numpy_seed,
    _lax_seed,
    free,
)
_define_unary(
    "random_wrap",
    "Make keys of the words on the last axis.",
    _infer_wrap,
    _numpy_wrap,
    _lax_wrap,
    free,
)
_define_unary(
    "random_unwrap",
    "Lay the words of keys out on a new last axis.",
    _infer_unwrap,
    key_words,
    _lax_unwrap,
    free,
)
_define_unary(
    "random_clone",
    "The same keys, for somebody who means to use them again.",
    _infer_clone,
    _numpy_clone,
    _lax_clone,
    free,
)
_define_unary(
    "random_split",
    "Make an array of new keys of each key.",
    _infer_split,
    _numpy_split,
    _lax_primitive("random_split_p"),
    _hashing,
)
_define_unary(
    "random_bits",
    "Make an array of uniformly random unsigned integers of each key.",
    _infer_bits,
    _numpy_bits,
    _lax_primitive("random_bits_p"),
    _hashing,
)
_define(
    "random_fold_in",
    "Make a new key of each key and an integer.",
    _infer_fold_in,
    _numpy_fold_in,
    _lax_primitive("random_fold_in_p"),
    _hashing,
    batch_elementwise("random_fold_in"),
)
_define(
    "threefry2x32",
    "Hash each count (two words) under a key (two words); the two words of the hash.",
    _infer_threefry,
    _numpy_threefry,
    _lax_threefry,
    _hashing,
    _batch_threefry,
    Pointwise(_element_of_threefry),
)

"""From JAX's primitives to our ops: the names are the same, the parameters nearly so.

A primitive that is not in `TRANSLATE`, or whose parameters say something that our op does not
model, becomes an opaque op.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..ir import GraphError, Type, get_op

Attrs = dict[str, Any]
Translation = Callable[[Mapping[str, Any], tuple[Any, ...]], "tuple[str, Attrs] | None"]

IGNORED = frozenset({"weak_type", "input_dtype"})
"""Parameters that change nothing once the types of the operands are known."""


class Untranslatable(Exception):
    """A parameter says something that our op has no attribute for."""


def plain(value: Any) -> Any:
    """Return a parameter as plain data: dtypes as their names, enumerations as their numbers.

    Raises
    ------
    Untranslatable
        If it is anything else than numbers, strings, None, and tuples of them.
    """
    if isinstance(value, enum.Enum):
        return plain(value.value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    raise Untranslatable(value)


def translation(op: str, **names: str) -> Translation:
    """Return a translation to ``op``, given how it calls the parameters that it has.

    Parameters that are not named must be None (nothing asked for) or among `IGNORED`.
    """

    def translate(params: Mapping[str, Any], avals: tuple[Any, ...]) -> tuple[str, Attrs] | None:
        attrs: Attrs = {}
        try:
            for name, value in params.items():
                if name in names:
                    attrs[names[name]] = plain(value)
                elif value is not None and name not in IGNORED:
                    return None
            get_op(op).infer(*(Type(str(a.dtype), tuple(a.shape)) for a in avals), **attrs)
        except (Untranslatable, GraphError):
            return None
        return op, attrs

    return translate


def _table(names: str, **params: str) -> dict[str, Translation]:
    return {name: translation(name, **params) for name in names.split()}


def _slice(params: Mapping[str, Any], avals: tuple[Any, ...]) -> tuple[str, Attrs] | None:
    (aval,) = avals
    params = {**params, "strides": params["strides"] or (1,) * len(aval.shape)}
    return _strided(params, avals)


_strided = translation("slice", start_indices="start", limit_indices="limit", strides="strides")


def _device_put(params: Mapping[str, Any], avals: tuple[Any, ...]) -> tuple[str, Attrs] | None:
    """Where nobody says which device, putting an array there is to copy it."""
    anywhere = params["devices"] == params["srcs"] == (None,)
    return ("copy", {}) if anywhere and len(avals) == 1 else None


TRANSLATE: dict[str, Translation] = {
    # Elementwise, without parameters of their own.
    **_table("exp exp2 log log1p expm1 sin cos tan asin acos atan sinh cosh tanh"),
    **_table("asinh acosh atanh logistic sqrt rsqrt cbrt square abs neg sign floor ceil"),
    **_table("is_finite erf erfc erf_inv lgamma digamma bessel_i0e bessel_i1e"),
    **_table("add sub mul div rem max min pow atan2 nextafter clamp select_n"),
    **_table("eq ne lt le gt ge not and or xor population_count clz"),
    **_table("shift_left shift_right_logical shift_right_arithmetic"),
    **_table("real imag complex conj copy stop_gradient optimization_barrier"),
    "add_any": translation("add"),
    "copy_p": translation("copy"),
    "device_put": _device_put,
    # Elementwise, with parameters.
    **_table("integer_pow", y="y"),
    **_table("round", rounding_method="rounding_method"),
    **_table("convert_element_type bitcast_convert_type", new_dtype="new_dtype"),
    **_table("reduce_precision", exponent_bits="exponent_bits", mantissa_bits="mantissa_bits"),
    # Shape.
    "broadcast_in_dim": translation("broadcast_in_dim", shape="shape", broadcast_dimensions="dims"),
    "reshape": translation("reshape", new_sizes="shape"),
    "pad": translation("pad", padding_config="config"),
    "slice": _slice,
    **_table("transpose", permutation="permutation"),
    **_table("squeeze rev", dimensions="dimensions"),
    **_table("concatenate", dimension="dimension"),
    **_table("stack unstack", axis="axis"),
    **_table("split", sizes="sizes", axis="axis"),
    **_table("tile", reps="reps"),
    **_table("iota", dtype="dtype", shape="shape", dimension="dimension"),
    # Reductions.
    **_table("reduce_sum reduce_prod reduce_max reduce_min", axes="axes"),
    **_table("reduce_and reduce_or reduce_xor", axes="axes"),
    **_table("argmax argmin", axes="axes", index_dtype="index_dtype"),
    **_table("cumsum cumprod cummax cummin cumlogsumexp", axis="axis", reverse="reverse"),
}
"""``TRANSLATE[primitive](params, avals)`` gives the name and attributes of our op, or None."""

"""From JAX's primitives to our ops: the names are the same, the parameters nearly so.

A primitive that is not in `TRANSLATE`, or whose parameters say something that our op does not
model, becomes an opaque op.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from ...ir import default_fill, dtype_name

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
        return dtype_name(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (tuple, list)):
        return tuple(map(plain, value))
    raise Untranslatable(value)


def translation(op: str, **names: str) -> Translation:
    """Return a translation to ``op``, given how it calls the parameters that it has.

    Parameters that are not named must be None (nothing asked for) or among `IGNORED`.
    """

    def attrs_of(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
        attrs: Attrs = {}
        for name, value in params.items():
            if name in names:
                attrs[names[name]] = plain(value)
            elif value is not None and name not in IGNORED:
                raise Untranslatable(value)
        return attrs

    return converted(op, attrs_of)


def converted(
    op: str, attrs_of: Callable[[Mapping[str, Any], tuple[Any, ...]], Attrs]
) -> Translation:
    """Return a translation to ``op`` from a function that makes its attributes of the parameters.

    There is none where the function raises `Untranslatable`.
    """

    def translate(params: Mapping[str, Any], avals: tuple[Any, ...]) -> tuple[str, Attrs] | None:
        try:
            return op, attrs_of(params, avals)
        except Untranslatable:
            return None

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


_REDUCTIONS = ("add", "mul", "min", "max")


def _precision(value: Any) -> str | tuple[str, str] | None:
    """Return the precision of a product: its name, or those of both operands if they differ."""
    if value is None:
        return None
    if not isinstance(value, tuple) or not all(isinstance(p, jax.lax.Precision) for p in value):
        raise Untranslatable(value)
    first, second = (p.name for p in value)
    return first if first == second else (first, second)


def _preferred(params: Mapping[str, Any], avals: tuple[Any, ...]) -> str | None:
    """Return the dtype asked for, unless it is that of both operands anyway."""
    dtype = plain(params["preferred_element_type"])
    return None if {str(a.dtype) for a in avals} == {dtype} else dtype


def _dot(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    if params["out_sharding"] is not None:
        raise Untranslatable(params["out_sharding"])
    return {
        "dimension_numbers": plain(params["dimension_numbers"]),
        "precision": _precision(params["precision"]),
        "preferred_element_type": _preferred(params, avals),
    }


def _convolution(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    return {
        "layout": plain(params["dimension_numbers"]),
        "strides": plain(params["window_strides"]),
        "padding": plain(params["padding"]),
        "input_dilation": plain(params["lhs_dilation"]),
        "kernel_dilation": plain(params["rhs_dilation"]),
        "feature_groups": params["feature_group_count"],
        "batch_groups": params["batch_group_count"],
        "precision": _precision(params["precision"]),
        "preferred_element_type": _preferred(params, avals),
    }


MODES = {"CLIP": "clip", "FILL_OR_DROP": "fill", "PROMISE_IN_BOUNDS": "promise"}


def _windows(params: Mapping[str, Any], names: str) -> Attrs:
    """Return what a gather and a scatter have in common, given JAX's names of the dimensions."""
    if params["mode"].name not in MODES:
        raise Untranslatable(params["mode"])
    numbers = params["dimension_numbers"]
    ours = ("offset_dims", "collapsed_dims", "index_map", "batching_dims", "index_batching")
    return {
        **{
            our: plain(getattr(numbers, name))
            for our, name in zip(ours, names.split(), strict=True)
        },
        "mode": MODES[params["mode"].name],
        "unique": params["unique_indices"],
        "sorted": params["indices_are_sorted"],
    }


def _gather(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    fill, default = plain(params["fill_value"]), default_fill(str(avals[0].dtype))
    is_default = fill == default or (fill != fill and default != default)
    return {
        "slice_sizes": plain(params["slice_sizes"]),
        **_windows(
            params,
            "offset_dims collapsed_slice_dims start_index_map operand_batching_dims "
            "start_indices_batching_dims",
        ),
        "fill_value": None if is_default else fill,
    }


def _scatter(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    return _windows(
        params,
        "update_window_dims inserted_window_dims scatter_dims_to_operand_dims "
        "operand_batching_dims scatter_indices_batching_dims",
    )


def _replace(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    if params["update_jaxpr"] is not None:  # a function of one's own, by `jax.lax.scatter_apply`
        raise Untranslatable(params["update_jaxpr"])
    return _scatter(params, avals)


def _impl(params: Mapping[str, Any], avals: tuple[Any, ...]) -> Attrs:
    return {"impl": params["impl"].tag}


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
    # Contractions.
    "dot_general": converted("dot_general", _dot),
    "conv_general_dilated": converted("conv_general_dilated", _convolution),
    # Indexing.
    **_table("dynamic_slice", slice_sizes="slice_sizes"),
    **_table("dynamic_update_slice"),
    "gather": converted("gather", _gather),
    "scatter": converted("scatter", _replace),
    **{f"scatter-{how}": converted(f"scatter-{how}", _scatter) for how in _REDUCTIONS},
    # Sorting.
    **_table("sort", dimension="dimension", num_keys="num_keys", is_stable="is_stable"),
    "top_k": converted("top_k", lambda params, _: {"k": params["k"], "axis": params["axis"]}),
    # Random keys.
    **{name: converted(name, _impl) for name in ("random_seed", "random_wrap")},
    **_table("random_unwrap random_clone random_fold_in threefry2x32"),
    **_table("random_split", shape="shape"),
    **_table("random_bits", bit_width="bit_width", shape="shape"),
}
"""``TRANSLATE[primitive](params, avals)`` gives the name and attributes of our op, or None."""

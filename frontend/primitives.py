"""From JAX's primitives to our ops: the names are the same, the parameters nearly so.

Where both are the same, nothing has to be said: the op is the one of that name. What differs is in
`TRANSLATE`. A primitive without an op of its name, or whose parameters say something that our op
does not model, becomes an opaque op.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from typing import Any

import jax
import numpy as np

from ..ir import all_ops, default_fill, dtype_name, find_op

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


_ROWS: dict[str, Translation] = {
    # Called otherwise.
    "add_any": translation("add"),
    "copy_p": translation("copy"),
    # Parameters that are called otherwise.
    "broadcast_in_dim": translation("broadcast_in_dim", shape="shape", broadcast_dimensions="dims"),
    "reshape": translation("reshape", new_sizes="shape"),
    "pad": translation("pad", padding_config="config"),
    # Attributes that the op shares with others, so that its inference does not name them.
    "integer_pow": translation("integer_pow", y="y"),
    "round": translation("round", rounding_method="rounding_method"),
    # Parameters that say it in another way, or more than our op can.
    "device_put": _device_put,
    "slice": _slice,
    "dot_general": converted("dot_general", _dot),
    "conv_general_dilated": converted("conv_general_dilated", _convolution),
    "gather": converted("gather", _gather),
    "scatter": converted("scatter", _replace),
    **{f"scatter-{how}": converted(f"scatter-{how}", _scatter) for how in _REDUCTIONS},
    "top_k": converted("top_k", lambda params, _: {"k": params["k"], "axis": params["axis"]}),
    **{name: converted(name, _impl) for name in ("random_seed", "random_wrap")},
}


@cache
def _same(name: str, attributes: frozenset[str]) -> Translation:
    return translation(name, **{attribute: attribute for attribute in attributes})


class _Translations(Mapping[str, Translation]):
    """The rows, and for every other op without regions the primitive of its name."""

    def __getitem__(self, name: str) -> Translation:
        if name in _ROWS:
            return _ROWS[name]
        op = find_op(name)
        if op is None or op.has_regions or op.opaque or op.effects or op.attributes is None:
            raise KeyError(name)
        return _same(name, op.attributes)

    def __iter__(self) -> Iterator[str]:
        others = (op.name for op in all_ops() if op.name not in _ROWS)
        return iter([*_ROWS, *(name for name in others if name in self)])

    def __len__(self) -> int:
        return sum(1 for _ in self)


TRANSLATE: Mapping[str, Translation] = _Translations()
"""``TRANSLATE[primitive](params, avals)`` gives the name and attributes of our op, or None."""

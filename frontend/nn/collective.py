"""Calls of one method on every module of a model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, TypeVar

from ..filter import Filter, to_predicate
from ..state import tree
from .module import Module

__all__ = [
    "assign_state_values",
    "call_all_fns",
    "call_order",
    "init_all_states",
    "reset_all_states",
]

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

LEVELS = 10


def call_order(level: int = 0) -> Callable[[F], F]:
    """Mark a method to be called late by :func:`call_all_fns` and the functions built on it.

    First come all methods without a mark, then the marked ones by ascending `level`.

    Parameters
    ----------
    level : int
        From 0 to 9.

    Raises
    ------
    ValueError
        If `level` is out of that range.

    Examples
    --------
    >>> import brainir
    >>> class Synapse(brainir.nn.Module):
    ...     @brainir.nn.call_order(1)
    ...     def init_state(self):
    ...         print("synapse")
    >>> class Cell(brainir.nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.synapse = Synapse()
    ...     def init_state(self):
    ...         print("cell")
    >>> _ = brainir.nn.init_all_states(Cell())
    cell
    synapse
    """
    if isinstance(level, bool) or not isinstance(level, int) or not 0 <= level < LEVELS:
        raise ValueError(f"level must be an integer from 0 to {LEVELS - 1}, not {level!r}")

    def mark(method: F) -> F:
        method.call_order = level  # pyright: ignore[reportFunctionMemberAccess]
        return method

    return mark


def call_all_fns(
    target: T,
    fn_name: str,
    args: Any = (),
    kwargs: Mapping[str, Any] | None = None,
    node_to_exclude: Filter = None,
    fn_if_not_exist: Literal["raise", "pass", "none", "warn"] = "raise",
) -> T:
    """Call a method on every module of `target`, parts before the modules that hold them.

    Parameters
    ----------
    target : Module, or list, tuple or dict of modules
        Where to look for modules; each is called once.
    fn_name : str
        The name of the method.
    args, kwargs
        What to call it with; `args` that are not a list or tuple are one argument.
    node_to_exclude
        A filter: the modules that it chooses are not called, though their parts are.
    fn_if_not_exist : {"raise", "pass", "none", "warn"}
        What to do about a module without the method: raise ``AttributeError``, pass over it
        ("pass" and "none"), or pass over it with a warning.

    Returns
    -------
    The target.

    Raises
    ------
    AttributeError
        If a module lacks the method and `fn_if_not_exist` is "raise".
    TypeError
        If `fn_name` is not a string, `kwargs` is not a mapping, or the attribute is not callable.
    ValueError
        If `fn_if_not_exist` is none of the words above.

    Examples
    --------
    >>> import brainir
    >>> class Layer(brainir.nn.Module):
    ...     def describe(self, prefix):
    ...         print(prefix, self.name)
    >>> layers = [Layer("first"), Layer("second")]
    >>> _ = brainir.nn.call_all_fns(layers, "describe", "layer")
    layer first
    layer second
    """
    if not isinstance(fn_name, str):
        raise TypeError(f"fn_name must be a string, not {type(fn_name).__name__}: {fn_name!r}")
    if kwargs is not None and not isinstance(kwargs, Mapping):
        raise TypeError(f"kwargs must be a mapping, not {type(kwargs).__name__}: {kwargs!r}")
    args = args if isinstance(args, list | tuple) else (args,)
    for method in _in_call_order(_methods(target, fn_name, node_to_exclude, fn_if_not_exist)):
        method(*args, **(kwargs or {}))
    return target


def _methods(
    target: object, fn_name: str, node_to_exclude: Filter, fn_if_not_exist: str
) -> list[Callable[..., Any]]:
    if fn_if_not_exist not in ("raise", "pass", "none", "warn"):
        raise ValueError(
            f"fn_if_not_exist must be 'raise', 'pass', 'none' or 'warn', not {fn_if_not_exist!r}"
        )
    excluded = to_predicate(node_to_exclude)
    methods = []
    for path, module in tree.nodes(target).items():
        if excluded(path, module) or not isinstance(module, Module):
            continue
        method = getattr(module, fn_name, None)
        if callable(method):
            methods.append(method)
            continue
        where = f"{type(module).__name__} at path {path}"
        if method is not None:
            raise TypeError(f"{fn_name!r} of {where} is not callable: {method!r}")
        if fn_if_not_exist == "raise":
            raise AttributeError(f"{where} has no method {fn_name!r}")
        if fn_if_not_exist == "warn":
            warnings.warn(f"{where} has no method {fn_name!r}; passed over", stacklevel=3)
    return methods


def _in_call_order(methods: list[Callable[..., Any]]) -> list[Callable[..., Any]]:
    return sorted(methods, key=lambda method: getattr(method, "call_order", -1))


def init_all_states(
    target: T, *init_args: Any, node_to_exclude: Filter = None, **init_kwargs: Any
) -> T:
    """Call ``init_state`` on every module of `target` and return `target`.

    ``init_state`` usually creates new states in place of the old ones; compiled functions notice
    and trace again. To start a run afresh, :func:`reset_all_states` is cheaper.

    Parameters
    ----------
    target : Module, or list, tuple or dict of modules
        The model; parts are initialised before the modules that hold them (see `call_order`).
    *init_args, **init_kwargs
        What to pass to every ``init_state``, such as a batch size.
    node_to_exclude
        A filter: the modules that it chooses are left alone, though their parts are not.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.init_all_states(brainir.nn.LIF(3), 2)
    >>> neuron.V.value.shape
    (2, 3)
    """
    return call_all_fns(target, "init_state", init_args, init_kwargs, node_to_exclude)


def reset_all_states(
    target: T, *reset_args: Any, node_to_exclude: Filter = None, **reset_kwargs: Any
) -> T:
    """Call ``reset_state`` on every module of `target` and return `target`.

    The parameters are those of :func:`init_all_states`.

    Examples
    --------
    >>> import brainir
    >>> neuron = brainir.nn.init_all_states(brainir.nn.LIF(3))
    >>> neuron.V.value = neuron.V.value + neuron.V_th
    >>> print(brainir.nn.reset_all_states(neuron).V.value)
    [0. 0. 0.] mV
    """
    return call_all_fns(target, "reset_state", reset_args, reset_kwargs, node_to_exclude)


def assign_state_values(
    target: object, *values_by_path: Mapping[Any, Any]
) -> tuple[list[Any], list[tuple[Hashable, ...]]]:
    """Assign values to the states of `target` by path.

    Parameters
    ----------
    target : Module, or list, tuple or dict of modules
        The model.
    *values_by_path : mapping
        Values by path tuple, ``("layers", 0, "V")``, or by dotted path, ``"layers.0.V"``; where
        several have the same path, the last counts.

    Returns
    -------
    unexpected : list
        The given paths at which there is no state, as they were given.
    missing : list of tuple
        The paths of the states that got no value.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> linear = brainir.nn.Linear(1, 1)
    >>> new = {"weight": jnp.ones((1, 1)), "bias": jnp.ones(1)}
    >>> brainir.nn.assign_state_values(linear, {"weight": new, "scale": 2.0})
    (['scale'], [])
    """
    states = tree.states(target)
    by_dotted_path = {".".join(map(str, path)): path for path in states}
    unexpected, assigned = [], {}
    for given, value in [item for values in values_by_path for item in values.items()]:
        path = by_dotted_path.get(given) if isinstance(given, str) else given
        if path in states:
            assigned[path] = value
        else:
            unexpected.append(given)
    states.assign_dict_values(assigned)
    return unexpected, [path for path in states if path not in assigned]

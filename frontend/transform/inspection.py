"""What a function would do, without doing it: shapes, and which States it touches."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import jax

from ..capture import Frame, name_of, new_frame, reject_states, trace_within
from ..filter import to_predicate
from ..program import argument_aval
from ..state import State, is_node
from .binding import check_callable
from .stateful_function import StatefulFunction


def eval_shape(
    f: Callable[..., Any], *args: Any, return_state_shapes: bool = False, **kwargs: Any
) -> Any:
    """Return the shapes and dtypes of what a function would return; no State is modified.

    A module that the function makes is returned itself: its States then hold shapes and dtypes,
    and what is made of it can be looked at in the same way.

    Parameters
    ----------
    f : callable
        A function that may read, write and create States.
    *args, **kwargs
        Arrays, shapes and dtypes (``jax.ShapeDtypeStruct``), modules, or containers of them.
    return_state_shapes : bool
        Whether to return also what the States that are touched would hold.

    Returns
    -------
    pytree of jax.ShapeDtypeStruct
        Or ``(states, result)``, where ``states`` has an entry for each State that is touched.

    Raises
    ------
    ValueError
        If an argument or the result is a State.
    TypeError
        If an argument is neither an array nor a module, or ``f`` is not callable.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.eval_shape(lambda x: x.sum(0), jnp.ones((3, 2))).shape
    (2,)
    >>> layer = brainir.transform.eval_shape(lambda: brainir.nn.Linear(1000, 2000))
    >>> layer.weight.value["weight"].shape
    (1000, 2000)
    """
    check_callable("the function given to eval_shape", f)
    name = name_of(f)
    reject_states(f"an argument of {name}", (args, kwargs))
    given = _Parts((args, kwargs))
    avals = tuple(argument_aval(name, leaf) for leaf in given.arrays)
    returned: list[_Parts] = []

    def function(*arrays: Any) -> list[Any]:
        positional, named = given.whole(arrays)
        out = f(*positional, **named)
        reject_states(f"the result of {name}", out)
        returned.append(_Parts(out))
        return returned[-1].arrays

    function.__name__ = name
    with jax.disable_jit(False), new_frame() as frame:
        traced = trace_within(frame, function, avals)
        touched = {h.state: _held(frame, h) for h in frame.touched_outside()}
        created = [(h.state, _held(frame, h)) for h in frame.created if h.alive]
    for state, value in created:
        state.accept(value)
    result = returned[-1].whole(traced.out_avals)
    return (touched, result) if return_state_shapes else result


def _held(frame: Frame, handle: Any) -> Any:
    view = frame.view(handle)
    return jax.tree.unflatten(view.tree, view.avals)


class _Parts:
    """A pytree of arrays and modules, taken apart."""

    def __init__(self, tree: Any) -> None:
        self._leaves, self._tree = jax.tree.flatten(tree)
        self.arrays = [leaf for leaf in self._leaves if not is_node(leaf)]

    def whole(self, arrays: Sequence[Any]) -> Any:
        """Put other arrays in the places of the arrays."""
        rest = iter(arrays)
        leaves = [leaf if is_node(leaf) else next(rest) for leaf in self._leaves]
        return jax.tree.unflatten(self._tree, leaves)


USAGES = ("all", "read", "write", "both")
CONTAINERS = {"list": list[Any], "tuple": tuple[Any, ...]}


class StateFinder:
    """Finds the States that a function touches, without running it.

    Parameters
    ----------
    fn : callable
        What is looked at.
    filter : filter, optional
        Which States are wanted, as for `brainir.nn.Module.states`; all by default.
    usage : str
        ``"all"`` that are touched, those that are only ``"read"``, those that are ``"write"``
        (written), or ``"both"``: a dictionary of the latter two.
    return_type : str
        ``"dict"``, ``"list"`` or ``"tuple"``.
    key_fn : callable, optional
        ``key_fn(i, state)`` gives the key of a State in a dictionary, by default ``i``. Where it
        gives None, or a key for the second time, the name of the State stands instead, or
        ``state_i``, with a number if that is taken.

    Raises
    ------
    ValueError
        If there is no such usage or return type.
    TypeError
        If ``fn`` or ``key_fn`` is not callable.

    Examples
    --------
    >>> import brainir
    >>> a, b = brainir.State(1.0), brainir.State(2.0)
    >>> def step(x):
    ...     b.value = a.value + x
    >>> finder = brainir.transform.StateFinder(step, usage="both", return_type="list")
    >>> finder(1.0) == {"read": [a], "write": [b]}
    True
    """

    def __init__(
        self,
        fn: Callable[..., Any],
        filter: Any = None,
        *,
        usage: str = "all",
        return_type: str = "dict",
        key_fn: Callable[[int, State[Any]], Hashable] | None = None,
    ) -> None:
        check_callable("the function given to StateFinder", fn)
        if key_fn is not None:
            check_callable("key_fn", key_fn)
        if usage not in USAGES:
            raise ValueError(f"usage is one of {', '.join(USAGES)}, not {usage!r}")
        if return_type not in ("dict", *CONTAINERS):
            raise ValueError(f"return_type is dict, list or tuple, not {return_type!r}")
        self.fn, self.usage, self.return_type, self.key_fn = fn, usage, return_type, key_fn
        self._wanted = to_predicate(... if filter is None else filter)
        self._pure = StatefulFunction(fn)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return the States that the function touches when it is called like this."""
        trace = self._pure.get_state_trace(*args, **kwargs)
        read, written = trace.get_read_states(), trace.get_write_states()
        if self.usage == "both":
            return {"read": self._chosen(read), "write": self._chosen(written)}
        return self._chosen({"all": trace.states, "read": read, "write": written}[self.usage])

    find = __call__

    def _chosen(self, states: Sequence[State[Any]]) -> Any:
        wanted = [state for state in states if self._wanted((), state)]
        if self.return_type != "dict":
            return CONTAINERS[self.return_type](wanted)
        found: dict[Hashable, State[Any]] = {}
        for i, state in enumerate(wanted):
            key = i if self.key_fn is None else self.key_fn(i, state)
            key = key if isinstance(key, Hashable) else str(key)
            if key is None or key in found:
                key = _unused(state.name or f"state_{i}", found)
            found[key] = state
        return found


def _unused(name: str, taken: dict[Hashable, Any]) -> str:
    candidate, n = name, 0
    while candidate in taken:
        n += 1
        candidate = f"{name}_{n}"
    return candidate

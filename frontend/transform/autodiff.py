"""Reverse-mode differentiation: `grad` and `vector_grad`."""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import brainunit
import jax
import jax.numpy as jnp

from ..capture import (
    Region,
    Traced,
    aval_of,
    bind_region,
    describe_tree,
    leave,
    name_of,
    state_ref,
    trace,
)
from ..program import in_capture
from ..state import State
from ..typing import Missing
from . import plain
from .binding import check_callable, frame_here, strong


def grad(
    fun: Any = Missing,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    holomorphic: bool = False,
    allow_int: bool = False,
    has_aux: bool | None = None,
    return_value: bool = False,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """Return a function that computes the gradient of a scalar loss.

    Parameters
    ----------
    fun : callable
        Returns the loss, or ``(loss, aux)`` with ``has_aux``. Left out, ``grad`` returns a
        decorator.
    grad_states : State or pytree of States, optional
        What to differentiate by; the gradient has the same structure. It is taken at the value that
        a State has when the function is entered.
    argnums : int or sequence of int, optional
        Which arguments to differentiate by: one gradient for an int, a tuple for a sequence. The
        first one if neither this nor ``grad_states`` is given.
    holomorphic : bool
        Whether a complex function is promised to be holomorphic.
    allow_int : bool
        Whether to return zeros for integers rather than refuse them.
    has_aux : bool, optional
        Whether ``fun`` returns ``(loss, aux)``.
    return_value : bool
        Whether to return the loss too.
    unit_aware : bool
        Whether gradients carry the unit of the loss over that of what it is differentiated by.
        Otherwise the loss must have no unit, and gradients carry that of the input.
    check_states : bool
        Whether a State that ``fun`` does not touch is an error; its gradient is zero.

    Returns
    -------
    GradientTransform
        Called like ``fun``. It returns the gradients ``g``; with ``return_value`` ``(g, loss)``,
        with ``has_aux`` ``(g, aux)``, with both ``(g, loss, aux)``. With both ``grad_states`` and
        ``argnums``, ``g`` is ``(state gradients, argument gradients)``.

    Raises
    ------
    TypeError
        If the loss is not one real number without a unit, or something that is not a State or not
        of a floating dtype is differentiated by.
    ValueError
        If ``argnums`` is invalid, or a State is not touched.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> def loss(x):
    ...     return jnp.sum(w.value * x) ** 2
    >>> brainir.transform.grad(loss, grad_states=[w], return_value=True)(3.0)
    ([Array([54., 54.], dtype=float32)], Array(81., dtype=float32))
    """
    options = {
        "grad_states": grad_states,
        "argnums": argnums,
        "holomorphic": holomorphic,
        "allow_int": allow_int,
        "has_aux": has_aux,
        "return_value": return_value,
        "unit_aware": unit_aware,
        "check_states": check_states,
    }
    if fun is Missing:
        return functools.partial(grad, **options)
    return GradientTransform(fun, vector=False, **options)


def vector_grad(
    func: Any = Missing,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = None,
    return_value: bool = False,
    has_aux: bool | None = None,
    unit_aware: bool = False,
    check_states: bool = True,
) -> Any:
    """Return a function that computes the gradient of the sum of an array that a function returns.

    For a function that works elementwise this is its derivative at each element.

    Parameters
    ----------
    func : callable
        Returns an array or a pytree of them, of any shape.
    grad_states, argnums, return_value, has_aux, unit_aware, check_states
        As for `grad`; a unit of the result is dropped unless ``unit_aware``.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.vector_grad(lambda x: x ** 3)(jnp.array([1.0, 2.0]))
    Array([ 3., 12.], dtype=float32)
    """
    options = {
        "grad_states": grad_states,
        "argnums": argnums,
        "has_aux": has_aux,
        "return_value": return_value,
        "unit_aware": unit_aware,
        "check_states": check_states,
    }
    if func is Missing:
        return functools.partial(vector_grad, **options)
    return GradientTransform(func, vector=True, **options)


class GradientTransform:
    """A function that computes gradients of another one; see `grad` and `vector_grad`."""

    def __init__(
        self,
        fun: Callable[..., Any],
        *,
        vector: bool,
        grad_states: Any,
        argnums: Any,
        has_aux: bool | None,
        return_value: bool,
        unit_aware: bool,
        check_states: bool,
        holomorphic: bool = False,
        allow_int: bool = False,
    ) -> None:
        check_callable("the function to differentiate", fun)
        self.fun, self.vector = fun, vector
        self.states, self._states_tree = _flatten_states(grad_states)
        self.argnums = _check_argnums(argnums)
        if not self.states and self.argnums is None:
            self.argnums = 0
        self.has_aux, self.return_value = bool(has_aux), return_value
        self.unit_aware, self.check_states = unit_aware, check_states
        self.holomorphic, self.allow_int = holomorphic, allow_int
        self._with_states = bool(self.states)
        functools.update_wrapper(self, fun, updated=())

    def __repr__(self) -> str:
        by = [*(s.describe() for s in self.states)]
        if self.argnums is not None:
            by.append(f"argnums={self.argnums}")
        kind = "vector_grad" if self.vector else "grad"
        return f"{kind}({name_of(self.fun)}, {', '.join(by)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self._check_range(args)
        if plain.jit_is_disabled():
            return self._plain(args, kwargs)
        return in_capture(self._bind, args, kwargs, name=name_of(self.fun))

    def _check_range(self, args: tuple[Any, ...]) -> None:
        for i in self._chosen():
            if i >= len(args):
                raise ValueError(
                    f"argnums={self.argnums} of grad asks for argument {i}, but "
                    f"{name_of(self.fun)} was called with {len(args)} positional arguments"
                )

    def _chosen(self) -> tuple[int, ...]:
        if self.argnums is None:
            return ()
        return (self.argnums,) if isinstance(self.argnums, int) else self.argnums

    # --- what the function returns ----------------------------------------------------------------

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Call the function and return what is differentiated, and the rest."""
        out = self.fun(*args, **kwargs)
        if not self.has_aux:
            return out, None
        if not isinstance(out, tuple | list):
            raise TypeError(
                f"with has_aux, {name_of(self.fun)} must return (loss, aux), not {out!r}"
            )
        if len(out) != 2:
            raise ValueError(
                f"with has_aux, {name_of(self.fun)} must return (loss, aux), not {len(out)} things"
            )
        return tuple(out)

    def _check_loss(self, loss: Any) -> None:
        name = name_of(self.fun)
        leaves, tree = jax.tree.flatten(loss)
        if not self.vector:
            if len(leaves) != 1 or leaves[0].shape != ():
                raise TypeError(
                    f"grad needs a scalar loss, but {name} returned "
                    f"{describe_tree(tree, leaves)}; sum or average it, or use vector_grad"
                )
            unit = _unit(loss)
            if not self.unit_aware and unit is not None and not unit.is_unitless:
                raise TypeError(
                    f"the loss that {name} returned has the unit {unit}; divide it by one, or "
                    "ask for gradients with units: grad(..., unit_aware=True)"
                )
        for leaf in leaves:
            if _is_complex(leaf) and not self.holomorphic:
                raise TypeError(
                    f"{name} returned a complex number; take a real one, or promise "
                    "holomorphic=True"
                )
            if self.holomorphic and not _is_complex(leaf):
                raise TypeError(
                    f"{name} returned {leaf.dtype}, but with holomorphic=True it must return a "
                    "complex number; leave the promise out for a real one"
                )
            if not jnp.issubdtype(leaf.dtype, jnp.inexact):
                raise TypeError(
                    f"{name} returned {leaf.dtype}, which has no gradient; the loss must be of a "
                    "floating dtype"
                )

    def _check_input(self, what: str, avals: Sequence[Any]) -> None:
        for aval in avals:
            if jnp.issubdtype(aval.dtype, jax.dtypes.prng_key):
                raise TypeError(
                    f"grad cannot differentiate by {what}, which holds a random key; leave it out"
                )
            if not jnp.issubdtype(aval.dtype, jnp.inexact) and not self.allow_int:
                raise TypeError(
                    f"grad cannot differentiate by {what}, which holds {aval.dtype}; make it of a "
                    "floating dtype, or pass allow_int=True for zeros"
                )
            if self.holomorphic and not _is_complex(aval):
                raise TypeError(
                    f"holomorphic=True promises a function of complex numbers, but {what} holds "
                    f"{aval.dtype}; make it complex, or leave the promise out"
                )

    def _result(self, state_grads: Any, arg_grads: Any, loss: Any, aux: Any) -> Any:
        if self._with_states and self.argnums is not None:
            found: Any = (state_grads, arg_grads)
        else:
            found = state_grads if self._with_states else arg_grads
        if not self.return_value and not self.has_aux:
            return found
        return (found, *([loss] if self.return_value else []), *([aux] if self.has_aux else []))

    def _pack(self, state_grads: list[Any], arg_grads: list[Any], loss: Any, aux: Any) -> Any:
        """Put gradients into the structure that was asked for."""
        states = self._states_tree(state_grads) if self._with_states else None
        chosen = arg_grads[0] if isinstance(self.argnums, int) and arg_grads else tuple(arg_grads)
        return self._result(states, chosen, loss, aux)

    # --- as a region ------------------------------------------------------------------------------

    def _bind(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        frame = frame_here()
        leaves, tree = jax.tree.flatten((args, kwargs))
        avals = [aval_of(x) for x in leaves]

        @functools.wraps(self.fun, updated=())
        def run(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
            return self._run(args, kwargs)

        body = trace(run, jax.tree.unflatten(tree, avals), names=["args", "kwargs"])
        loss, aux = jax.tree.unflatten(body.out_tree, body.out_avals)
        self._check_loss(loss)
        wrt, groups = self._positions(args, kwargs, avals)
        held = [(frame.resolve(s.handle), s) for s in self.states]
        touched = [h for h, s in held if self._is_touched(body, h, s)]
        views = {h: frame.view(h) for h, _ in held}
        for handle, state in held:
            self._check_input(state.describe(), views[handle].avals)
        unique = list(dict.fromkeys(touched))
        refs = tuple(state_ref(h, views[h]) for h in unique)
        outs = (
            *(strong(a) for h in unique for a in views[h].avals),
            *(strong(avals[i]) for i in wrt),
            *body.out_avals,
        )
        count = len(jax.tree.leaves(loss))
        attrs: dict[str, Any] = {"wrt": wrt, "states": refs, "losses": count}
        operands = [jnp.asarray(x, a.dtype) for x, a in zip(leaves, avals, strict=True)]
        spec = Region("grad", attrs, (body,), len(operands), outs, name_of(self.fun))
        results = iter(bind_region(spec, operands))
        leave(body, frame)
        by_state = {
            h: jax.tree.unflatten(views[h].tree, [next(results) for _ in views[h].avals])
            for h in unique
        }
        state_grads = [
            by_state[h] if h in by_state else _zeros(views[h].tree, views[h].avals) for h, _ in held
        ]
        arg_grads = [jax.tree.unflatten(t, [next(results) for _ in range(n)]) for t, n in groups]
        loss, aux = jax.tree.unflatten(body.out_tree, list(results))
        label = functools.partial(self._label, loss=loss)
        return self._pack([*map(label, state_grads)], [*map(label, arg_grads)], loss, aux)

    def _positions(
        self, args: tuple[Any, ...], kwargs: Mapping[str, Any], avals: Sequence[Any]
    ) -> tuple[tuple[int, ...], list[tuple[Any, int]]]:
        """Return which leaves are differentiated by, and the structure of each chosen argument."""
        starts = [0]
        for arg in args:
            starts.append(starts[-1] + len(jax.tree.leaves(arg)))
        wrt: list[int] = []
        groups: list[tuple[Any, int]] = []
        for i in self._chosen():
            span = range(starts[i], starts[i + 1])
            self._check_input(f"argument {i}", [avals[j] for j in span])
            wrt.extend(span)
            groups.append((jax.tree.structure(args[i]), len(span)))
        return tuple(wrt), groups

    def _is_touched(self, body: Traced, handle: Any, state: State[Any]) -> bool:
        if handle in body.frame.touched:
            return True
        if self.check_states:
            raise ValueError(self._untouched(state))
        return False

    def _untouched(self, state: State[Any]) -> str:
        return (
            f"{state.describe()} is among grad_states, but {name_of(self.fun)} does not use it; "
            "take it out, or pass check_states=False for a zero gradient"
        )

    def _label(self, gradient: Any, loss: Any) -> Any:
        """Give gradients their unit: that of the loss over that of the input."""
        if not self.unit_aware:
            return _stripped(gradient) if self.vector else gradient
        unit: Any = _unit(loss) or brainunit.UNITLESS

        def label(x: Any) -> Any:
            if isinstance(x, brainunit.Quantity):
                return brainunit.maybe_decimal(brainunit.Quantity(x.mantissa, unit=unit / x.unit))
            return brainunit.maybe_decimal(brainunit.Quantity(x, unit=unit))

        return jax.tree.map(label, gradient, is_leaf=_is_quantity)

    # --- as plain Python --------------------------------------------------------------------------

    def _plain(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        chosen = self._chosen()
        for i in chosen:
            self._check_input(f"argument {i}", [aval_of(x) for x in jax.tree.leaves(args[i])])
        for state in self.states:
            self._check_input(state.describe(), [aval_of(x) for x in jax.tree.leaves(state.value)])

        def function(values: Sequence[Any]) -> tuple[Any, Any]:
            full = list(args)
            for i, value in zip(chosen, values, strict=True):
                full[i] = value
            loss, aux = self._run(tuple(full), kwargs)
            self._check_loss(jax.tree.map(aval_of, loss))
            return loss, aux

        unique = list(dict.fromkeys(self.states))
        values = [jax.tree.map(jnp.asarray, args[i]) for i in chosen]
        loss, aux, touched, pull = plain.value_and_vjp(function, values, unique)
        for state in unique:
            if state not in touched and self.check_states:
                raise ValueError(self._untouched(state))
        arg_grads, held = pull(jax.tree.map(jnp.ones_like, loss))
        by_state = dict(zip(unique, held, strict=True))
        label = functools.partial(self._label, loss=loss)
        state_grads = [label(by_state[s]) for s in self.states]
        return self._pack(state_grads, [*map(label, arg_grads)], loss, aux)


def _flatten_states(tree: Any) -> tuple[list[State[Any]], Callable[[list[Any]], Any]]:
    """Return the States of a pytree, and how to put something in their places.

    Raises
    ------
    TypeError
        If a leaf is not a State.
    """
    if isinstance(tree, Mapping):
        tree = dict(tree)
    leaves, structure = jax.tree.flatten(tree, is_leaf=lambda x: isinstance(x, State))
    for leaf in leaves:
        if not isinstance(leaf, State):
            raise TypeError(f"grad_states holds {leaf!r}, which is not a State")
    return leaves, lambda values: jax.tree.unflatten(structure, values)


def _check_argnums(argnums: Any) -> int | tuple[int, ...] | None:
    """Return argument numbers as Python ints.

    Raises
    ------
    ValueError
        If one is negative, not an integer, or there twice.
    """
    if argnums is None or (isinstance(argnums, list | tuple) and not argnums):
        return None
    several = isinstance(argnums, list | tuple)
    numbers: list[int] = []
    for number in argnums if several else [argnums]:
        if isinstance(number, bool) or not hasattr(number, "__index__"):
            raise ValueError(f"argnums of grad are integers, not {number!r}")
        if operator.index(number) < 0:
            raise ValueError(f"argnums of grad count from 0, but one is {number}")
        numbers.append(operator.index(number))
    if len(set(numbers)) < len(numbers):
        raise ValueError(f"argnums of grad names an argument twice: {argnums}")
    return tuple(numbers) if several else numbers[0]


def _zeros(tree: Any, avals: Sequence[Any]) -> Any:
    return jax.tree.unflatten(tree, [jnp.zeros(a.shape, a.dtype) for a in avals])


def _is_complex(aval: Any) -> bool:
    return jnp.issubdtype(aval.dtype, jnp.complexfloating)


def _is_quantity(x: Any) -> bool:
    return isinstance(x, brainunit.Quantity)


def _unit(tree: Any) -> Any:
    leaves = jax.tree.leaves(tree, is_leaf=_is_quantity)
    return leaves[0].unit if len(leaves) == 1 and _is_quantity(leaves[0]) else None


def _stripped(tree: Any) -> Any:
    return jax.tree.map(lambda x: x.mantissa if _is_quantity(x) else x, tree, is_leaf=_is_quantity)

"""`GradientTransform`: a function that computes derivatives of another one, of any kind."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self, cast

import jax
import jax.numpy as jnp

from ...capture import aval_of, describe_tree, has_bad, name_of
from ...program import in_capture
from ...state import State
from ...typing import Missing
from .. import plain
from ..binding import check_callable, frame_here
from ..debugging import debug_nan_if
from ..stateful_function import StatefulFunction
from .kinds import Kind, is_kind, kind_of, no_kind
from .linear_maps import Captured, Function, Plain
from .nonfinite import all_finite
from .units import is_quantity, items_of, unit_of, with_ratio, with_unit_of_source
from .wanted import Source, Wanted, check_input, is_complex


class GradientTransform:
    """A function that computes derivatives of another one.

    Parameters
    ----------
    target : callable
        The function, which may read and write States.
    transform : str or callable
        The kind of derivative: the name of one of the doors of this family (`grad`, `vector_grad`,
        `fwd_grad`, `jacrev`, `jacfwd`, `hessian`), the door itself, or JAX's function of that name.
        Or an engine of one's own: called as ``jax.grad`` is, with a function of arrays that returns
        a pair, with ``argnums``, ``has_aux=True`` and `transform_params`, it returns a function
        that takes the same and returns a pair as well: what it found, and the second of the other.
    grad_states, argnums, return_value, has_aux, check_states, debug_nan
        As for `grad`.
    transform_params : mapping, optional
        What the door takes beside these, such as ``holomorphic`` or ``unit_aware``.

    Raises
    ------
    TypeError
        If ``target`` is not callable, there is no such kind, or it has no such parameter.
    ValueError
        If ``argnums`` is invalid.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> transform = brainir.transform.GradientTransform
    >>> transform(lambda x: w.value * x, "jacrev", grad_states={"w": w})(3.0)
    {'w': Array([[3., 0.],
           [0., 3.]], dtype=float32)}
    """

    def __new__(cls, target: Any, transform: Any = "grad", *_: Any, **__: Any) -> Self:
        """Return an object that asks an engine, if one is given."""
        is_engine = callable(transform) and not is_kind(transform)
        return object.__new__(cast(Any, _ByEngine) if is_engine else cls)

    def __init__(
        self,
        target: Callable[..., Any],
        transform: Any = "grad",
        grad_states: Any = None,
        argnums: Any = None,
        return_value: bool = False,
        has_aux: bool | None = False,
        transform_params: Mapping[str, Any] | None = None,
        check_states: bool = True,
        debug_nan: bool = False,
    ) -> None:
        check_callable("the function to differentiate", target)
        self.target, self.return_value, self.has_aux = target, return_value, bool(has_aux)
        self.check_states, self.debug_nan = check_states, debug_nan
        self._pair = as_pair(target, self.has_aux)
        self.name = self._choose(transform, transform_params or {})
        self.wanted = Wanted(grad_states, argnums, self.name)
        self._inner: GradientTransform | None = None
        if self._inner_kind is not None:
            self._inner = GradientTransform(
                target,
                self._inner_kind,
                grad_states,
                argnums,
                return_value=True,
                has_aux=self.has_aux,
                transform_params=transform_params,
                check_states=check_states,
            )
        functools.update_wrapper(self, target, updated=())

    def _choose(self, transform: Any, params: Mapping[str, Any]) -> str:
        """Note what is to be computed, and return its name."""
        self.kind = kind_of(transform)
        self.settings, self._inner_kind = self.kind.settings(params), self.kind.inner
        return self.kind.name

    def __repr__(self) -> str:
        return f"{self.name}({name_of(self.target)}, {self.wanted.describe()})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.wanted.check_range(self.target, args, self.name)
        if plain.jit_is_disabled():
            return self._plain(args, kwargs)
        return in_capture(self._captured, args, kwargs, name=name_of(self.target))

    # --- what is called ---------------------------------------------------------------------------

    def _run(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, Any]:
        """Call the function, or its first derivative; return what is differentiated, and the rest.

        The rest is the aux, if there is one, after the value of a function that was differentiated.
        """
        if self._inner is None:
            return self._pair(args, kwargs)
        found = self._inner(*args, **kwargs)
        return found[0], found[1:]

    def _captured(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        frame = frame_here()
        views = [frame.view(frame.resolve(state.handle)) for state in self.wanted.states]
        self._check_sources([jax.tree.unflatten(v.tree, v.avals) for v in views], args)
        run = functools.wraps(self.target, updated=())(lambda args, kwargs: self._run(args, kwargs))
        name = name_of(self.target)
        return self._derive(
            Captured(run, args, kwargs, self.wanted, self._check_results, name, self.debug_nan)
        )

    def _plain(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        self._check_sources([state.value for state in self.wanted.states], args)
        forward = self.kind.forward
        call = Plain(self._run, args, kwargs, self.wanted, self._check_results, forward)
        found = self._derive(call)
        if self.debug_nan and plain.is_concrete(found) and not all_finite(found):
            with jax.disable_jit(False):
                self(*args, **kwargs)  # the program can tell where it went wrong, and raises
        call.commit()
        return found

    def _derive(self, call: Captured | Plain) -> Any:
        if self.check_states:
            advice = ", or pass check_states=False for a zero gradient"
            refuse_untouched(self.target, call.by_states, self.wanted.states, advice)
        leaves, tree = jax.tree.flatten(self.kind.rows(call, self.settings))
        rows = jax.tree.unflatten(tree, call.checked(leaves))
        losses, rest = call.outcome
        return self._returned(self._packed(call, losses, rows), losses, rest)

    # --- what is returned -------------------------------------------------------------------------

    def _returned(self, found: Any, losses: Any, rest: Sequence[Any]) -> Any:
        if not self.return_value and not self.has_aux:
            return found
        value, *aux = (losses, *rest) if self._inner is None else rest
        return (found, *([value] if self.return_value else []), *aux)

    def _packed(self, call: Captured | Plain, losses: Any, rows: Sequence[Sequence[Any]]) -> Any:
        """Put derivatives into the structure that was asked for."""
        items = items_of(losses)

        def by(sources: Sequence[Source], build: Callable[[Sequence[Any]], Any]) -> Any:
            def of(result: Any, row: Sequence[Any]) -> Any:
                return build([self._filled(source, result, row) for source in sources])

            if not self.kind.jacobian:
                return of(items[0] if items else None, rows[0])
            tree = jax.tree.structure(losses, is_leaf=is_quantity)
            return jax.tree.unflatten(tree, [*map(of, items, rows)])

        if not self.wanted.states:
            return by(call.by_arguments, self.wanted.by_argument)
        by_states = by(call.by_states, self.wanted.by_state)
        if not self.wanted.has_both:
            return by_states
        both = by_states, by(call.by_arguments, self.wanted.by_argument)
        # Of a second derivative, rows come first: those of States, then those of arguments.
        return both if self._inner is None else tuple(zip(*both, strict=True))

    def _filled(self, source: Source, result: Any, row: Sequence[Any]) -> Any:
        """Return the derivatives of one result by one source, in its structure."""

        def label(array: Any, old: Any) -> Any:
            if self.settings.unit_aware:
                return with_ratio(array, result, old)
            return with_unit_of_source(array, old) if self.kind.keeps_units else array

        shape = jnp.shape(getattr(result, "mantissa", result)) if self.kind.jacobian else ()
        return source.filled(row, shape, label)

    # --- what is refused --------------------------------------------------------------------------

    def _check_sources(self, states: Sequence[Any], args: Sequence[Any]) -> None:
        named = [
            *zip((s.describe() for s in self.wanted.states), states, strict=True),
            *((f"argument {i}", args[i]) for i in self.wanted.chosen),
        ]
        for what, value in named:
            check_input(
                what,
                [aval_of(x) for x in jax.tree.leaves(value)],
                self.kind.name,
                holomorphic=self.settings.holomorphic,
                allow_int=self.settings.allow_int,
                forward=self.kind.forward,
            )

    def _check_results(self, losses: Any) -> None:
        name, items = name_of(self.target), items_of(losses)
        leaves, tree = jax.tree.flatten(losses)
        if self.kind.scalar and (len(leaves) != 1 or leaves[0].shape != ()):
            raise self.kind.scalar(
                f"{self.kind.name} needs a scalar loss, but {name} returned "
                f"{describe_tree(tree, leaves)}; sum or average it, or use vector_grad or jacrev"
            )
        if self.kind.scalar and not self.settings.unit_aware and not unit_of(items[0]).is_unitless:
            raise TypeError(
                f"the loss that {name} returned has the unit {unit_of(items[0])}; divide it by "
                f"one, or ask for gradients with units: {self.kind.name}(..., unit_aware=True)"
            )
        if not self.kind.jacobian and self.settings.unit_aware:
            _check_one_unit(name, items)
        for leaf in leaves:
            _check_result(name, leaf, self.settings.holomorphic, self.kind)


class _ByEngine(GradientTransform):
    """What an engine of somebody else's computes in place of derivatives."""

    def _choose(self, transform: Any, params: Mapping[str, Any]) -> str:
        self._engine, self._inner_kind = functools.partial(transform, **params), None
        _check_engine(transform, self._engine)
        pair = functools.wraps(self.target)(lambda *args, **kwargs: self._pair(args, kwargs))
        self._function = StatefulFunction(pair)
        return name_of(transform)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.wanted.check_range(self.target, args, self.name)
        states, chosen = self._function.get_states(*args, **kwargs), self.wanted.unique
        for state in chosen if self.check_states else ():
            if state not in states:
                raise _untouched(self.target, state, ", or pass check_states=False")
        others = [state for state in states if state not in chosen]

        def pure(by: Sequence[Any], rest: Sequence[Any], *args: Any, **kwargs: Any) -> Any:
            held = dict(zip((*chosen, *others), (*by, *rest), strict=True))
            left, (value, aux) = self._function.jaxpr_call(
                [held[state] for state in states], *args, **kwargs
            )
            return value, (left, value, aux)

        run = self._engine(pure, argnums=self._argnums(), has_aux=True)
        values = [[state.value for state in group] for group in (chosen, others)]
        found, (left, value, aux) = run(*values, *args, **kwargs)
        if self.debug_nan:
            bad = has_bad(jax.tree.leaves(found))
            debug_nan_if(bad, lambda: run(*values, *args, **kwargs)[0], phase=self.name)
        written = self._function.get_write_states(*args, **kwargs)
        for state, new in zip(states, left, strict=True):
            if state in written:
                state.value = new
        return self._returned(self._arranged(found), value, aux)

    def _argnums(self) -> int | tuple[int, ...]:
        """Return which arguments of the pure function are wanted: States come first, in a list."""
        numbers = tuple(n + 2 for n in self.wanted.chosen)
        if not self.wanted.states:
            return numbers[0] if isinstance(self.wanted.argnums, int) else numbers
        return (0, *numbers) if numbers else 0

    def _arranged(self, found: Any) -> Any:
        """Put what was found into the structure that was asked for."""
        if not self.wanted.states:
            return found
        by_states, *by_arguments = found if self.wanted.has_both else (found,)
        each = dict(zip(self.wanted.unique, by_states, strict=True))
        packed = self.wanted.by_state([each[state] for state in self.wanted.states])
        return (packed, self.wanted.by_argument(by_arguments)) if by_arguments else packed


def door(kind: str, function: Any, params: Mapping[str, Any], **options: Any) -> Any:
    """Return a `GradientTransform` of a function; without one, a decorator that makes it."""
    make = functools.partial(GradientTransform, transform=kind, transform_params=params, **options)
    return make if function is Missing else make(function)


def as_pair(function: Callable[..., Any], has_aux: bool) -> Function:
    """Return a function that calls another one, and returns its result apart from the aux.

    Raises
    ------
    TypeError, ValueError
        When called, if there is to be an aux but the result is not a pair.
    """
    name = name_of(function)

    @functools.wraps(function, updated=())
    def run(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[Any, tuple[Any, ...]]:
        out = function(*args, **kwargs)
        if not has_aux:
            return out, ()
        if not isinstance(out, tuple | list):
            raise TypeError(f"with has_aux, {name} must return (loss, aux), not {out!r}")
        if len(out) != 2:
            raise ValueError(f"with has_aux, {name} must return (loss, aux), not {len(out)} things")
        return out[0], (out[1],)

    return run


def refuse_untouched(
    function: Any, sources: Sequence[Source], states: Sequence[State[Any]], advice: str = ""
) -> None:
    """Raise if a function does not use a State that it is differentiated by.

    Raises
    ------
    ValueError
        Naming the State.
    """
    for source, state in zip(sources, states, strict=True):
        if source.leaves is None:
            raise _untouched(function, state, advice)


def _check_engine(transform: Any, engine: Any) -> None:
    """Refuse what cannot be called as an engine is."""
    try:
        signature = inspect.signature(engine)
    except ValueError:
        return  # it does not say what it takes
    try:
        signature.bind(None, argnums=0, has_aux=True)
    except TypeError as error:
        raise TypeError(
            f"{no_kind(transform)}; nor is it an engine like jax.grad: {error}"
        ) from None


def _untouched(function: Any, state: State[Any], advice: str) -> ValueError:
    return ValueError(
        f"{state.describe()} is among grad_states, but {name_of(function)} does not use it; take "
        f"it out{advice}"
    )


def _check_one_unit(name: str, items: Sequence[Any]) -> None:
    units = list(dict.fromkeys(map(unit_of, items)))
    if len(units) > 1:
        raise TypeError(
            f"{name} returned numbers with the units {', '.join(map(str, units))}, whose sum has "
            "none; ask for the derivative of each with jacrev"
        )


def _check_result(name: str, leaf: Any, holomorphic: bool, kind: Kind) -> None:
    if is_complex(leaf) and not holomorphic and not kind.forward:
        raise TypeError(
            f"{name} returned a complex number; take a real one, or promise holomorphic=True"
        )
    if holomorphic and not is_complex(leaf):
        raise TypeError(
            f"{name} returned {leaf.dtype}, but with holomorphic=True it must return a complex "
            "number; leave the promise out for a real one"
        )
    if not jnp.issubdtype(leaf.dtype, jnp.inexact):
        raise TypeError(
            f"{name} returned {leaf.dtype}, which has no gradient; what is differentiated must be "
            "of a floating dtype"
        )

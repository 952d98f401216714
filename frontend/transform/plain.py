"""Transformations as plain Python: what they mean under ``jax.disable_jit()``, and at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from ..capture import aval_of, current_frame, merge, trace
from ..errors import BatchAxisError
from ..state import Recorder, State, catching_nothing, recorders


def jit_is_disabled() -> bool:
    """Whether ``jax.disable_jit()`` is in force."""
    return jax.config.jax_disable_jit  # pyright: ignore[reportAttributeAccessIssue]


def is_concrete(*trees: Any) -> bool:
    """Whether no leaf is being traced by anybody."""
    return not any(isinstance(x, Tracer) for x in jax.tree.leaves(trees))


def check_pair(pair: Any) -> Any:
    """Return the pair that a scan body returns.

    Raises
    ------
    ValueError
        If it is not one.
    """
    if not isinstance(pair, tuple | list) or len(pair) != 2:
        raise ValueError(f"the body of scan returns a pair (carry, y), not {pair!r}")
    return tuple(pair)


def _row(tree: Any, i: int) -> Any:
    return jax.tree.map(lambda x: x[i], tree)


def _stack(what: str, rows: Sequence[Any]) -> Any:
    if not rows:
        raise ValueError(f"{what} ran no step, so plain Python cannot tell what it would return")
    return jax.tree.map(lambda *leaves: jnp.stack([jnp.asarray(x) for x in leaves]), *rows)


def for_loop(
    f: Callable[..., Any], xs: tuple[Any, ...], length: int, reverse: bool, bar: Any
) -> Any:
    """Run a loop step by step; see `loops.for_loop`."""
    return scan(lambda _, x: (None, f(*x)), None, xs, length, reverse, bar)[1]


def scan(
    f: Callable[[Any, Any], Any], carry: Any, xs: Any, length: int, reverse: bool, bar: Any
) -> tuple[Any, Any]:
    """Run a scan step by step; see `loops.scan`."""
    rows: list[Any] = []
    order = range(length - 1, -1, -1) if reverse else range(length)
    with _progress(bar, length) as tick:
        for done, i in enumerate(order, 1):
            carry, y = check_pair(f(carry, _row(xs, i)))
            rows.append(jax.tree.map(lambda leaf: leaf, y))  # later steps may change its containers
            tick(done, carry, y)
    if reverse:
        rows.reverse()
    return carry, _stack("the loop", rows)


@contextmanager
def _progress(bar: Any, length: int) -> Iterator[Callable[[int, Any, Any], None]]:
    if bar is None:
        yield lambda done, carry, y: None
        return
    with bar.open(length) as tick:
        yield tick


def while_loop(
    cond_fun: Callable[[Any], Any], body_fun: Callable[[Any], Any], val: Any, goes_on: Any
) -> Any:
    """Run a while loop step by step, of which the condition was asked once; see `loops`."""
    if not goes_on:
        pass_by(body_fun, val)
    while goes_on:
        val = body_fun(val)
        goes_on = cond_fun(val)
    return val


def pass_by(function: Callable[..., Any], *operands: Any) -> None:
    """Tell of the States in a function that is not run, where that makes a difference.

    A lane splits a random key if its code mentions the generator, whether it comes to draw or not:
    else what one lane draws would depend on what other lanes do. So inside `vmap` a branch that is
    not taken is traced, for what it mentions. What cannot be traced cannot be compiled either, and
    then there is nothing to agree with.
    """
    if not any(recorder.needs_mentions for recorder in recorders()) or current_frame() is not None:
        return
    try:
        with jax.disable_jit(False), catching_nothing():
            avals = jax.tree.map(aval_of, operands)
            touched = trace(function, avals).frame.touched_outside()
    except Exception:  # whatever the user's function raises on values that it would never get
        return
    for handle in touched:
        for recorder in recorders():
            recorder.touch(cast(State[Any], handle.state), written=False)


# --- vmap -----------------------------------------------------------------------------------------


class LanesMeet(BaseException):
    """Raised in a lane that asks for what others have: one after the other, lanes cannot tell."""


def meet() -> None:
    """Tell a mapping that runs lanes one after the other, if there is any, that they meet."""
    if any(recorder.needs_mentions for recorder in recorders()):
        raise LanesMeet


class _Lanes:
    """What lanes that run one after the other make of the States that they touch."""

    def __init__(
        self, size: int, in_states: Mapping[State[Any], int], out_states: Mapping[State[Any], int]
    ) -> None:
        self.size, self.in_states, self.out_states = size, in_states, out_states
        self.keys: dict[State[Any], tuple[Any, Any]] = {}
        self.written: dict[State[Any], dict[int, Any]] = {}
        self.assigned: set[State[Any]] = set()

    def enter(self, lane: int) -> Recorder:
        """Return a recorder that gives declared and random States their value of one lane."""

        def on_touch(state: State[Any]) -> None:
            if state in self.in_states:
                state.accept(self._entering(state, lane))
            elif state.kind == "rng" and state not in self.out_states:
                if state not in self.keys:
                    keys = jax.random.split(state.peek(), self.size + 1)
                    self.keys[state] = keys[1:], jax.random.split(keys[0], 2)[1]
                state.accept(self.keys[state][0][lane])

        recorder = Recorder(on_touch)
        recorder.needs_mentions = True
        return recorder

    def _entering(self, state: State[Any], lane: int) -> Any:
        """Return what a declared State holds as a lane begins."""
        axis = self.in_states.get(state)
        if axis is None:
            return state.peek()
        return jax.tree.map(lambda x: jnp.take(x, lane, axis), state.peek())

    def leave(self, lane: int, recorder: Recorder) -> None:
        """Keep what one lane wrote."""
        for state in recorder.written:
            if state not in self.keys:
                self.written.setdefault(state, {})[lane] = state.peek()
                if not recorder.keeps(state):
                    self.assigned.add(state)

    def finish(self) -> None:
        """Give States what they hold after all lanes.

        Raises
        ------
        BatchAxisError
            If lanes left an undeclared State with different values.
        """
        pending: list[tuple[State[Any], Any]] = [(s, final) for s, (_, final) in self.keys.items()]
        for state, values in self.written.items():
            axis = self.out_states.get(state)
            if axis is not None:
                rows = [
                    values[i] if i in values else self._entering(state, i) for i in range(self.size)
                ]
                pending.append((state, stack_lanes(rows, axis)))
            elif len(values) == self.size and all(_equal(values[0], v) for v in values.values()):
                pending.append((state, values[0]))
            else:
                raise BatchAxisError(undeclared_write(state.describe()))
        for state, value in pending:
            accept(state, value, in_place=state not in self.assigned)


def accept(state: State[Any], value: Any, in_place: bool) -> None:
    """Give a State what it holds after a transformation, which may have kept its container."""
    state.settle(merge(state.value, value) if in_place else value)


def undeclared_write(what: str) -> str:
    """Return the message for a lane-dependent write to a State that nobody declared."""
    return (
        f"{what} is written inside vmap with a value that differs from lane to lane, so it would "
        "need a batch axis. Declare it in out_states (and in_states), or create it inside the "
        "mapped function."
    )


def stack_lanes(rows: Sequence[Any], axis: int) -> Any:
    """Stack pytrees along a new axis."""
    return jax.tree.map(lambda *xs: jnp.stack([jnp.asarray(x) for x in xs], axis), *rows)


def _equal(a: Any, b: Any) -> bool:
    pairs = zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
    return all(bool(jnp.array_equal(x, y)) for x, y in pairs)


def vmap(
    f: Callable[..., Any],
    lanes: Sequence[tuple[Any, ...]],
    in_states: Mapping[State[Any], int],
    out_states: Mapping[State[Any], int],
) -> list[Any]:
    """Run lanes one after the other from the same States; return what each returns."""
    states = _Lanes(len(lanes), in_states, out_states)
    results: list[Any] = []
    for i, args in enumerate(lanes):
        with states.enter(i) as recorder:
            results.append(f(*args))
            states.leave(i, recorder)
    states.finish()
    return results


# --- derivatives ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Linearised:
    """A function that ran once, with its derivative there, which is JAX's own.

    Attributes
    ----------
    out, aux : pytree
        What the function returned.
    touched : set of State
        Those of the States that are differentiated by which it touched.
    """

    out: Any
    aux: Any
    touched: set[State[Any]]
    _apply: Callable[..., Any]
    _sources: Any
    _left: Sequence[tuple[State[Any], Any, bool]]

    def pull(self, seeds: Sequence[Any]) -> list[Any]:
        """Return the gradients of all leaves of States, and then of arguments, for cotangents."""
        outs, tree = jax.tree.flatten(self.out)
        pairs = zip(seeds, outs, strict=True)
        given = jax.tree.unflatten(tree, [_as_tangent(seed, out) for seed, out in pairs])
        wrt, held = self._apply(given)
        pairs = zip(jax.tree.leaves((held, wrt)), jax.tree.leaves(self._sources), strict=True)
        return [_as_array(found, source) for found, source in pairs]

    def push(self, tangents: Sequence[Any]) -> list[Any]:
        """Return the tangents of what was returned, for those of States and arguments."""
        leaves, tree = jax.tree.flatten(self._sources)
        pairs = zip(tangents, leaves, strict=True)
        held, wrt = jax.tree.unflatten(tree, [_as_tangent(t, leaf) for t, leaf in pairs])
        found = jax.tree.leaves(self._apply(wrt, held))
        pairs = zip(found, jax.tree.leaves(self.out), strict=True)
        return [_as_array(tangent, out) for tangent, out in pairs]

    def commit(self) -> None:
        """Give States what the function left in them."""
        for state, value, in_place in self._left:
            accept(state, value, in_place)


def linearise(
    f: Callable[[Any], tuple[Any, Any]], wrt: Any, states: Sequence[State[Any]], forward: bool
) -> Linearised:
    """Run ``f(wrt) -> (out, aux)``, for derivatives by ``wrt`` and the entry values of ``states``.

    No State changes before `Linearised.commit`.
    """
    touched: set[State[Any]] = set()
    changed: list[State[Any]] = []
    kept: set[State[Any]] = set()

    def pure(wrt: Any, held: Sequence[Any]) -> tuple[Any, Any]:
        with Recorder() as recorder:
            for state, value in zip(states, held, strict=True):
                recorder.replace(state, value)
            reads = _Touches(states)
            with reads:
                out, aux = f(wrt)
            touched.update(reads.touched)
            changed[:] = recorder.written
            kept.update(filter(recorder.keeps, changed))
            return out, (aux, [state.peek() for state in recorder.written])

    held = [jax.tree.map(jnp.asarray, state.value) for state in states]
    derive = jax.linearize if forward else jax.vjp
    out, apply, (aux, values) = derive(pure, wrt, held, has_aux=True)
    left = [(state, value, state in kept) for state, value in zip(changed, values, strict=True)]
    return Linearised(out, aux, touched, apply, (held, wrt), left)


def _as_array(derivative: Any, primal: Any) -> Any:
    """Return a derivative as an array; that of an integer, which JAX has no type for, is zeros."""
    if derivative.dtype == jax.dtypes.float0:
        shape = (*derivative.shape[: derivative.ndim - jnp.ndim(primal)], *jnp.shape(primal))
        return jnp.zeros(shape, jnp.asarray(primal).dtype)
    return derivative


def _as_tangent(tangent: Any, primal: Any) -> Any:
    """Return a tangent as JAX wants it: that of an integer is of a type without numbers."""
    if jnp.issubdtype(jnp.result_type(primal), jnp.inexact):
        return tangent
    return np.zeros(jnp.shape(primal), jax.dtypes.float0)


class _Touches(Recorder):
    """Notes which of some States are touched, and undoes nothing."""

    def __init__(self, states: Sequence[State[Any]]) -> None:
        super().__init__()
        self._states = set(states)
        self.touched: set[State[Any]] = set()

    def touch(self, state: State[Any], written: bool) -> None:
        """Note that a State is read or written."""
        if state in self._states:
            self.touched.add(state)

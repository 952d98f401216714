"""`vjp`: a function, and what takes cotangents of its result back to its arguments and States.

The function is captured, and passes write out its reverse. What depends on no cotangent becomes
part of the program at hand. The rest is a graph of its own, which waits until it is called.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax

from ....ir import Graph
from ...capture import aval_of, name_of
from ...program import in_capture, is_sharded, run_graph
from .. import plain
from ..binding import check_callable
from .gradient_transform import as_pair, refuse_untouched
from .linear_maps import Captured, Function, Plain, smooth_ones
from .pushforwards import direction_like
from .units import is_quantity, with_unit_of_source
from .wanted import Source, Wanted, check_argnums

Apply = Callable[[Sequence[Any], Sequence[Any]], Sequence[Any]]
"""Takes what was kept, and cotangents of all results, to gradients by all sources."""


def vjp(
    fun: Callable[..., Any],
    *primals: Any,
    grad_states: Any = None,
    argnums: int | Sequence[int] | None = 0,
    has_aux: bool = False,
) -> tuple[Any, ...]:
    """Call a function, and return what takes cotangents of its result to those of what it is of.

    Parameters
    ----------
    fun : callable
        Returns arrays, or ``(arrays, aux)`` with ``has_aux``. States that it writes are written
        once, now.
    *primals : pytrees of arrays
        Its arguments.
    grad_states : State or pytree of States, optional
        What to differentiate by, at the value that States have now.
    argnums : int, sequence of int, or None
        Which arguments to differentiate by; negative ones count from the end. The first one by
        default, if there is one.
    has_aux : bool
        Whether ``fun`` returns ``(arrays, aux)``.

    Returns
    -------
    tuple
        ``(result, vjp_fn)`` or ``(result, vjp_fn, aux)``. ``vjp_fn`` takes a cotangent of the
        structure and shapes of the result, and returns cotangents: of the argument, or a tuple of
        them if ``argnums`` is a sequence; of the States in the structure of ``grad_states``; or, of
        both, ``(of States, of arguments)``. It may be called as often as one likes, and is a JAX
        pytree of what it has kept, so that it may leave a compiled function or enter one.

    Raises
    ------
    TypeError
        If ``fun`` is not callable, or ``grad_states`` holds something else than States.
    ValueError
        If there is nothing to differentiate by, ``argnums`` is invalid, ``fun`` does not use one of
        the States, or the result depends on something by a ``while_loop``; and by ``vjp_fn`` if a
        cotangent has another structure or shape than the result.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> w = brainir.ParamState(jnp.array([1.0, 2.0]))
    >>> y, pull = brainir.transform.vjp(lambda x: w.value * x, 3.0, grad_states=[w])
    >>> pull(jnp.array([1.0, 0.0]))
    ([Array([3., 0.], dtype=float32)], Array(1., dtype=float32))
    """
    check_callable("the function given to vjp", fun)
    numbers = check_argnums(argnums, "vjp", len(primals)) if primals else None
    wanted = Wanted(grad_states, numbers, "vjp")
    if not wanted.states and numbers is None:
        raise ValueError("vjp has nothing to differentiate by: give it arguments or grad_states")

    run = as_pair(fun, has_aux)

    call = _plain_call if plain.jit_is_disabled() else _captured_call
    (out, aux), pull = call(run, primals, wanted, fun)
    return (out, pull, *aux)


def _captured_call(
    run: Function, primals: tuple[Any, ...], wanted: Wanted, fun: Any
) -> tuple[Any, Pullback]:
    if is_sharded():
        raise NotImplementedError(
            "vjp does not work inside jax.shard_map, where derivatives are left to JAX: use "
            "brainir.transform.grad or jvp there"
        )
    fixed: list[Any] = []

    def bind(*args: Any) -> tuple[Any, list[Any]]:
        call = Captured(run, args, {}, wanted, _accept, name_of(fun))
        refuse_untouched(fun, call.by_states, wanted.states)
        graph, kept = call.keep()
        fixed.extend(
            (_Reversed(graph, tuple(smooth_ones(call.results))), _Packing(call, wanted, fun))
        )
        return call.outcome, kept

    outcome, kept = in_capture(bind, *primals, name=name_of(fun))
    return outcome, Pullback(kept, *fixed)


def _plain_call(
    run: Function, primals: tuple[Any, ...], wanted: Wanted, fun: Any
) -> tuple[Any, Pullback]:
    call = Plain(run, primals, {}, wanted, _accept, forward=False)
    refuse_untouched(fun, call.by_states, wanted.states)
    call.commit()
    return call.outcome, Pullback(
        (), lambda _, seeds: call.pull(seeds), _Packing(call, wanted, fun)
    )


def _accept(_: Any) -> None:
    """Find nothing wrong: any result may be differentiated."""


@dataclass(frozen=True, slots=True, eq=False)
class _Reversed:
    """What takes back cotangents of those results that can be differentiated, as a graph."""

    graph: Graph
    smooth: tuple[int, ...]

    def __call__(self, kept: Sequence[Any], seeds: Sequence[Any]) -> Sequence[Any]:
        run = functools.partial(run_graph, self.graph)
        given = [seeds[i] for i in self.smooth]
        if plain.jit_is_disabled():
            return run(*kept, *given)
        return in_capture(lambda *xs: list(run(*xs)), *kept, *given, name=self.graph.name)


class _Packing:
    """What cotangents of a result look like, and the structure of those that they become."""

    def __init__(self, call: Captured | Plain, wanted: Wanted, fun: Any) -> None:
        self.name, self._wanted = name_of(fun), wanted
        self._by_states, self._by_arguments = call.by_states, call.by_arguments
        self._result = jax.tree.map(aval_of, call.outcome[0])

    def describe(self) -> str:
        """Return how messages call what takes cotangents back."""
        return f"vjp_fn({self.name}, {self._wanted.describe()})"

    def seeds(self, cotangent: Any) -> list[Any]:
        """Return the leaves of a cotangent, as arrays of the types of the result.

        Raises
        ------
        TypeError, ValueError
            If they do not look like the result. Units may be there, or left out.
        """
        ours, theirs = map(_without_units, (self._result, cotangent))
        if jax.tree.structure(ours) != jax.tree.structure(theirs):
            raise ValueError(
                f"a cotangent for {self.name} has the structure of its result, which is "
                f"{jax.tree.structure(self._result)}, not {jax.tree.structure(cotangent)}"
            )
        pairs = zip(jax.tree.leaves(theirs), jax.tree.leaves(ours), strict=True)
        return [direction_like(f"a cotangent for {self.name}", x, result) for x, result in pairs]

    def packed(self, leaves: Sequence[Any]) -> Any:
        """Return cotangents of States and arguments in the structure that was asked for."""

        def filled(sources: Sequence[Source]) -> list[Any]:
            return [source.filled(leaves, (), with_unit_of_source) for source in sources]

        if not self._wanted.states:
            return self._wanted.by_argument(filled(self._by_arguments))
        states = self._wanted.by_state(filled(self._by_states))
        if not self._wanted.has_both:
            return states
        return states, self._wanted.by_argument(filled(self._by_arguments))


def _without_units(tree: Any) -> Any:
    return jax.tree.map(lambda x: getattr(x, "mantissa", x), tree, is_leaf=is_quantity)


@jax.tree_util.register_pytree_node_class
class Pullback:
    """What `vjp` returns to take cotangents back; its leaves are the arrays that it kept."""

    def __init__(self, kept: Sequence[Any], apply: Apply, packing: _Packing) -> None:
        self._kept, self._apply, self._packing = kept, apply, packing

    def tree_flatten(self) -> tuple[Sequence[Any], Any]:
        """Return what was kept, and what is fixed."""
        return tuple(self._kept), (self._apply, self._packing)

    @classmethod
    def tree_unflatten(cls, fixed: Any, kept: Sequence[Any]) -> Pullback:
        """Return one that kept something else."""
        return cls(kept, *fixed)

    def __repr__(self) -> str:
        return self._packing.describe()

    def __call__(self, cotangent: Any) -> Any:
        """Return cotangents of what the function was differentiated by."""
        seeds = self._packing.seeds(cotangent)
        return self._packing.packed(self._apply(self._kept, seeds))

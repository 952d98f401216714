"""A function and its States as pure functions: jaxprs, shapes, and which States are touched."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any

import jax

from ...passes import Options
from ..capture import name_of
from ..options import combined, in_force
from ..state import epoch
from .arguments import Arguments
from .binding import check_callable
from .jit import Jitted
from .kept_programs import PROGRAMS, KeptPrograms, Key
from .pure_programs import PureProgram, leaving_out
from .signatures import Signatures
from .watch import Watch


def _doors(what: str, piece: Callable[[PureProgram], Any]) -> tuple[Any, Any]:
    """Return two methods that give a piece of what was captured: by arguments, and by its key."""

    def by_arguments(
        self: StatefulFunction, *args: Any, compile_if_miss: bool = True, **kwargs: Any
    ) -> Any:
        return piece(self.find(args, kwargs, compile_if_miss))

    def by_key(self: StatefulFunction, cache_key: Hashable) -> Any:
        return piece(self.find_by(cache_key))

    by_arguments.__doc__ = f"Return {what}."
    by_key.__doc__ = f"{by_arguments.__doc__} It is that of a key of `get_arg_cache_key`."
    return by_arguments, by_key


class StatefulFunction:
    """A function that touches States, seen as a pure one: its jaxpr, its shapes, its States.

    What was captured is kept for each signature, as `jit` does, and is captured again when a State
    looks different, is replaced, or the environment has changed. No State is modified but by a
    call.

    Parameters
    ----------
    fun : callable
        A function, method or Module.
    static_argnums, static_argnames : int, str, or iterables of them
        Arguments that are Python values rather than arrays; they must be hashable.
    axis_env : sequence of (name, size), optional
        Axes over which the function may use collectives such as ``jax.lax.psum``.
    name : str, optional
        What graphs and messages call it.
    return_only_write : bool
        Whether only States that are written come out; otherwise all that are touched.
    ir_optimizations : str or sequence of str, optional
        What the jaxpr is simplified by: ``"constant_fold"``, ``"algebraic_simplification"``,
        ``"copy_propagation"``, ``"cse"``, ``"dce"``, or ``"all"``. By default it is as written.

    Raises
    ------
    ValueError
        If an argument number is out of range, or there is no such optimization.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> v = brainir.State(jnp.zeros(2))
    >>> def step(x):
    ...     v.value = v.value + x
    ...     return v.value.sum()
    >>> pure = brainir.transform.StatefulFunction(step)
    >>> pure.get_states(1.0) == (v,), pure.get_out_shapes(1.0)[0].shape
    (True, ())
    >>> (new,), out = pure.jaxpr_call([jnp.ones(2)], 1.0)
    >>> out, v.value.sum()
    (Array(4., dtype=float32), Array(0., dtype=float32))
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        static_argnums: int | Iterable[int] = (),
        static_argnames: str | Iterable[str] = (),
        axis_env: Sequence[tuple[Hashable, int]] | None = None,
        name: str | None = None,
        return_only_write: bool = True,
        ir_optimizations: str | Sequence[str] | None = None,
    ) -> None:
        check_callable("the function given to StatefulFunction", fun)
        self.fun, self.name = fun, name
        self.return_only_write, self.ir_optimizations = return_only_write, ir_optimizations
        self.axis_env = None if axis_env is None else tuple(axis_env)
        self.arguments = Arguments(fun, static_argnums, static_argnames, ())
        self._asked = leaving_out(ir_optimizations)
        called = name or name_of(fun)
        self._signatures = Signatures(fun, self.arguments, called)
        self._jitted = Jitted(fun, self.arguments, called)
        self._lock = threading.RLock()
        self._kept: KeptPrograms[PureProgram] = KeptPrograms(weakref.WeakMethod(self._forget))
        self._hits = self._misses = 0

    def __repr__(self) -> str:
        return f"StatefulFunction({self.name or name_of(self.fun)})"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function on its States, as `jit` of it does."""
        return self._jitted(*args, **kwargs)

    jaxpr_call_auto = __call__

    # --- pieces, by arguments or by what `get_arg_cache_key` returns ------------------------------

    def make_jaxpr(self, *args: Any, **kwargs: Any) -> StatefulFunction:
        """Capture the function for such arguments, which may be shapes and dtypes."""
        self.find(args, kwargs)
        return self

    get_jaxpr, get_jaxpr_by_cache = _doors(
        "the jaxpr: from the leaves of the arguments, of those that are given by name, and of the "
        "States in the order of the first touch; to those of the result and of the States",
        lambda program: program.jaxpr,
    )
    get_out_shapes, get_out_shapes_by_cache = _doors(
        "``(result, states)`` as shapes and dtypes, with None for States that are left out",
        PureProgram.shapes,
    )
    get_out_treedef, get_out_treedef_by_cache = _doors(
        "the structure of what `get_out_shapes` returns",
        lambda program: jax.tree.structure(program.shapes()),
    )
    get_state_trace, get_state_trace_by_cache = _doors(
        "which States are touched, and how", lambda program: program.trace
    )
    get_states, get_states_by_cache = _doors(
        "the States that are touched, in the order of the first touch",
        lambda program: program.states,
    )
    get_read_states, get_read_states_by_cache = _doors(
        "the States that are read and not written",
        lambda program: program.trace.get_read_states(),
    )
    get_write_states, get_write_states_by_cache = _doors(
        "the States that are written", lambda program: program.trace.get_write_states()
    )

    # --- calls ------------------------------------------------------------------------------------

    def jaxpr_call(
        self, state_vals: Sequence[Any], *args: Any, **kwargs: Any
    ) -> tuple[tuple[Any, ...], Any]:
        """Compute the new values of the States, and the result, from given values of the States.

        This is a function of arrays, for JAX to transform. With ``return_only_write``, there is
        None for a State that is only read.

        Parameters
        ----------
        state_vals : sequence of pytrees
            A value for each of `get_states`.
        *args, **kwargs
            As for the function.

        Raises
        ------
        ValueError
            If there are more or fewer values than States, or one has another structure.
        """
        found = self.find(args, kwargs)
        views = list(found.order.values())
        if len(state_vals) != len(views):
            raise ValueError(
                f"{self!r} touches {len(views)} States, but {len(state_vals)} values were given"
            )
        held: list[Any] = []
        for state, view, value in zip(found.states, views, state_vals, strict=True):
            leaves, tree = jax.tree.flatten(value)
            if tree != view.tree:
                raise ValueError(
                    f"{state.describe()} holds {view}, but a value of the structure {tree} is given"
                )
            held.extend(leaves)
        positional, named = self.arguments.dynamic(args, kwargs)
        flat = jax.tree.leaves((*positional, *(named[key] for key in sorted(named))))
        return found.run(held, flat)

    # --- what is kept -----------------------------------------------------------------------------

    def get_arg_cache_key(
        self, *args: Any, compile_if_miss: bool = False, **kwargs: Any
    ) -> Hashable:
        """Return what a capture for such arguments is found by."""
        key = self._key(args, kwargs)
        if compile_if_miss:
            self.find(args, kwargs)
        return key

    def clear_cache(self) -> None:
        """Forget everything that was captured."""
        with self._lock:
            self._kept.clear()
            self._jitted.clear_cache()
            self._hits = self._misses = 0

    def get_cache_stats(self) -> dict[str, dict[str, float]]:
        """Return how many captures are kept, and how often one was found or had to be made."""
        asked = self._hits + self._misses
        return {
            "compilation_cache": {
                "size": len(self._kept),
                "maxsize": PROGRAMS,
                "hits": self._hits,
                "misses": self._misses,
                "hit_rate": 100.0 * self._hits / asked if asked else 0.0,
            }
        }

    def validate_states(self, cache_key: Hashable) -> bool:
        """Check that all States of a capture are as it expects them.

        Raises
        ------
        ValueError
            If nothing, or nothing that still holds, was captured for the key.
        """
        self.find_by(cache_key)
        return True

    def validate_all_states(self) -> dict[Hashable, bool | str]:
        """Return of each capture whether its States are as it expects them, or what is not so."""
        found: dict[Hashable, bool | str] = {}
        for key in self._kept.known():
            try:
                found[key] = self.validate_states(key)
            except ValueError as error:
                found[key] = str(error)
        return found

    def find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], capture: bool = True
    ) -> PureProgram:
        """Return what is kept for such arguments, or capture the function anew."""
        key = self._key(args, kwargs)
        if not capture:
            return self.find_by(key)
        with self._lock:
            found = self._kept.find(key)
            if found is not None:
                self._hits += 1
                return found
            self._misses += 1
            made = self._capture(args, kwargs)
            if made.usable():
                self._kept.add(key, made)
            return made

    def find_by(self, cache_key: Hashable) -> PureProgram:
        """Return what is kept for a key.

        Raises
        ------
        ValueError
            If there is none.
        """
        with self._lock:
            known = isinstance(cache_key, tuple) and len(cache_key) == 2
            found = self._kept.find(cache_key) if known else None  # pyright: ignore
            if found is None:
                raise ValueError(
                    f"{self!r} was not captured for the key {cache_key!r}, or something that it "
                    "depends on has changed since; call make_jaxpr with such arguments first"
                )
            self._hits += 1
            return found

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Key:
        return self._options(), self._signatures.key(args, kwargs)

    def _options(self) -> Options:
        return combined(in_force.options, self._asked)

    def _capture(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> PureProgram:
        born = epoch.count
        made: list[PureProgram] = []

        def make() -> None:
            program = self._signatures.capture(args, kwargs, self._options(), foreign=True)
            found = PureProgram(program, Watch(self.fun, born), not self.return_only_write)
            if self.axis_env:
                found.jaxpr  # only here do its axes have a size  # noqa: B018
            made.append(found)

        with jax.disable_jit(False):
            if self.axis_env:
                jax.make_jaxpr(make, axis_env=self.axis_env)()
            else:
                make()
        return made[0]

    def _forget(self, program: PureProgram) -> None:
        """Nothing else refers to a program that is no longer kept."""


def make_jaxpr(
    fun: Callable[..., Any],
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    axis_env: Sequence[tuple[Hashable, int]] | None = None,
    return_shape: bool = False,
    return_only_write: bool = False,
) -> Callable[..., Any]:
    """Return a function that gives the jaxpr of a function that touches States, and these.

    Parameters
    ----------
    fun, static_argnums, static_argnames, axis_env, return_only_write
        As for `StatefulFunction`.
    return_shape : bool
        Whether to return the shapes and dtypes of the result as well.

    Returns
    -------
    callable
        ``(*args, **kwargs) -> (jaxpr, states)``, or ``(jaxpr, states, shapes)``. The inputs of the
        jaxpr are the leaves of the arguments and then of the States; results are those of the
        function and then of the States. No State is modified.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> v = brainir.State(jnp.ones(2))
    >>> jaxpr, states = brainir.transform.make_jaxpr(lambda x: v.value * x)(2.0)
    >>> states == (v,), [aval.shape for aval in jaxpr.in_avals]
    (True, [(), (2,)])
    """
    pure = StatefulFunction(
        fun, static_argnums, static_argnames, axis_env, return_only_write=return_only_write
    )

    @functools.wraps(fun)
    def made(*args: Any, **kwargs: Any) -> Any:
        found = pure.find(args, kwargs)
        parts = found.jaxpr, found.states
        return (*parts, found.shapes()[0]) if return_shape else parts

    made.__name__ = f"make_jaxpr({name_of(fun)})"
    return made

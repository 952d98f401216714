"""`jit`: compile a function once, and call it with hardly more overhead than ``jax.jit`` itself."""

from __future__ import annotations

import functools
import threading
import weakref
from collections.abc import Callable, Iterable
from types import FunctionType
from typing import TYPE_CHECKING, Any

import jax

from ...passes import DEFAULTS, Options
from ..capture import (
    current_frame,
    frames,
    name_of,
    reject_states,
)
from ..options import combined, in_force
from ..program import Program
from ..state import COMPILED_METHODS, epoch
from ..typing import Missing
from . import plain
from .arguments import Arguments
from .binding import bind_call, check_callable
from .entries import Entry, Mismatch
from .kept_programs import KeptPrograms
from .placement import Placement
from .signatures import Signatures
from .stages import Stages
from .watch import Watch

if TYPE_CHECKING:
    from .stateful_function import StatefulFunction


def jit(
    fun: Any = Missing,
    in_shardings: Any = None,
    out_shardings: Any = None,
    static_argnums: int | Iterable[int] | None = None,
    donate_argnums: int | Iterable[int] | None = None,
    static_argnames: str | Iterable[str] | None = None,
    donate_argnames: str | Iterable[str] | None = None,
    keep_unused: bool = False,
    device: Any = None,
    backend: str | None = None,
    inline: bool = False,
    name: str | None = None,
    *,
    options: Options | None = None,
) -> Any:
    """Return a compiled version of a function that may read and write States.

    It is traced once for each signature: structure, shapes, dtypes and units of arguments, values
    of static ones. It is traced again, never silently wrong, when a State changes its shape, dtype
    or unit, when a module replaces a State object by another, or when a value of `environ` that it
    has read is different. What was compiled before is kept for when all is as it was: training and
    evaluating in turns compiles twice in all. 128 programs are kept, those that were not used for
    the longest time go first, and so do those whose States no longer exist.

    Parameters
    ----------
    fun : callable
        A function, method or Module. Left out, ``jit`` returns a decorator.
    in_shardings, out_shardings : Sharding, or pytrees of them, optional
        Where arguments are brought before a call, and results after it: one for all, or for
        arguments a tuple with one for each that is not static.
    static_argnums, static_argnames : int, str, or iterables of them, optional
        Arguments that are Python values rather than arrays; they must be hashable.
    donate_argnums, donate_argnames : int, str, or iterables of them, optional
        Arguments whose memory the results may take over.
    keep_unused, inline : bool
        Known from `jax.jit`, and without a meaning here: arguments that are not used are never
        copied, and a compiled function that is called in another one becomes a part of it.
    device : jax.Device, optional
        Where arguments are brought before a call.
    backend : str, optional
        The platform, such as ``"cpu"``, whose first device that is.
    name : str, optional
        What the graph is called.
    options : Options, optional
        What is asked of the compiler for this function, over what `brainir.options` asks for where
        it is called: passes, their options, the backend. They do not count inside another
        compiled function, which is compiled as a whole.

    Returns
    -------
    Jitted
        Called like ``fun``, with ``trace``, ``lower``, ``compile``, ``eval_shape`` and
        ``clear_cache``; ``origin_fun`` is ``fun``, and ``stateful_fun`` a `StatefulFunction` of it.

    Raises
    ------
    ValueError
        If an argument or result is a State, a static argument is not hashable, an argument number
        is invalid, or there is no such backend.
    TypeError
        If ``options`` are something else, a dynamic argument or a result is not an array.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> v = brainir.HiddenState(jnp.zeros(2))
    >>> @brainir.transform.jit
    ... def step(x):
    ...     v.value = 0.5 * v.value + x
    ...     return v.value.sum()
    >>> step(1.0), step(1.0)
    (Array(2., dtype=float32), Array(3., dtype=float32))
    """
    if fun is Missing:
        given = {key: value for key, value in locals().items() if key != "fun"}
        return functools.partial(jit, **given)
    combined(DEFAULTS, options)  # if it has mistakes, here is the place to say so
    check_callable("the function given to jit", fun)
    arguments = Arguments(fun, static_argnums, static_argnames, donate_argnums, donate_argnames)
    placement = Placement.asked(in_shardings, out_shardings, device, backend)
    return Jitted(fun, arguments, name, options, placement)


class Jitted:
    """A compiled function; see `jit`.

    Attributes
    ----------
    origin_fun : callable
        The function that was compiled.
    arguments : Arguments
        Which of its arguments are static, and which are donated.
    options : brainir.Options or None
        What is asked of the compiler over what is in force where it is called.
    placement : Placement or None
        On which devices arguments and results are to be.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> V = brainir.HiddenState(jnp.zeros(2), name="V")
    >>> @brainir.transform.jit
    ... def step(x):
    ...     V.value = 0.5 * V.value + x
    ...     return V.value.sum()
    >>> step
    jit(step)
    >>> states, result = step.eval_shape(jnp.ones(2))
    >>> states[0].shape, result.shape
    ((2,), ())
    >>> step.trace(jnp.ones(2)).graph("capture").states[0].name
    'V'
    """

    def __init__(
        self,
        fun: Callable[..., Any],
        arguments: Arguments,
        name: str | None,
        options: Options | None = None,
        placement: Placement | None = None,
    ) -> None:
        self.origin_fun, self.options, self.placement = fun, options, placement
        self._name = name or name_of(fun)
        self.arguments = arguments
        self._signatures = Signatures(fun, arguments, self._name)
        self._lock = threading.RLock()
        self._only: Entry | None = None
        self._kept: KeptPrograms[Entry] = KeptPrograms(weakref.WeakMethod(self._forget))
        functools.update_wrapper(self, fun, updated=())

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle it as what it stands for: a function as itself, all else by its parts."""
        if isinstance(self.origin_fun, FunctionType):
            return self.origin_fun.__qualname__
        parts = self.arguments, self._name, self.options, self.placement
        return Jitted, (self.origin_fun, *parts)

    def __repr__(self) -> str:
        return f"jit({self._name})"

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        """Compile methods: a decorated function in a class body binds like any other."""
        if instance is None:
            return self
        methods = vars(instance).get(COMPILED_METHODS)
        if methods is None or methods.owner() is not instance:  # a copy has its original's
            methods = _Methods(instance)
            object.__setattr__(instance, COMPILED_METHODS, methods)
        if self not in methods:
            method = self.origin_fun.__get__(instance, owner)
            arguments = self.arguments.of_method(method)
            options = self.options, self.placement
            methods[self] = Jitted(method, arguments, self._name, *options)
        return methods[self]

    @functools.cached_property
    def stateful_fun(self) -> StatefulFunction:
        """The same function as a pure one, which tells which States it touches."""
        from .stateful_function import StatefulFunction  # which is made of this

        static = tuple(self.arguments.static), tuple(self.arguments.names)
        return StatefulFunction(self.origin_fun, *static, name=self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        entry = self._only
        context = in_force.options
        if entry is not None and entry.context is context and frames.top is None:
            if not entry.usable():
                entry = self._only = self._kept.find_any(combined(context, self.options))
                if entry is not None:
                    entry.context = context
            if entry is not None:
                try:
                    return entry.run(args, kwargs)
                except (Mismatch, TypeError, AttributeError):
                    pass  # a new signature, or an argument that the careful way describes
        return self._call_carefully(args, kwargs)

    def _call_carefully(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if plain.jit_is_disabled():
            return self.origin_fun(*args, **kwargs)
        if self.placement is None:
            return self._call(*args, **kwargs)
        static = self.arguments.static, self.arguments.names
        return self.placement.call(self._call, args, kwargs, *static)

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        if current_frame() is not None:
            return self._bind(args, kwargs)
        dynamic = self.arguments.dynamic(args, kwargs)
        entry = self._find(args, kwargs)
        try:
            return entry.run(*dynamic)
        except Mismatch:
            # A State looks different now: its shape, dtype or unit.
            return self._find(args, kwargs, unlike=entry).run(*dynamic)

    # --- what was compiled ------------------------------------------------------------------------

    def _asked(self) -> Options:
        return combined(in_force.options, self.options)

    def _find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], unlike: Entry | None = None
    ) -> Entry:
        context, asked = in_force.options, self._asked()
        key = asked, self._signatures.key(args, kwargs)
        with self._lock:
            entry = self._kept.find(key, unlike)
            if entry is None:
                entry = self._compile(args, kwargs)
                if not entry.usable():  # tracing has changed what it depends on
                    return entry
                self._kept.add(key, entry)
            special = self.arguments or self.placement is not None
            alone = self._kept.signatures(asked) == 1 and not special
            entry.context = context
            self._only = entry if alone else None
            return entry

    def _compile(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Entry:
        born = epoch.count
        program = self._program(args, kwargs)
        names = self.arguments.dynamic(args, kwargs)[1]
        donate = self.arguments.donated(len(args), names)
        watch = Watch(self.origin_fun, born)
        return Entry(program, list(names), donate, watch, in_force.options)

    def _forget(self, entry: Entry) -> None:
        """Let go of a program that is no longer kept."""
        if self._only is entry:
            self._only = None

    def _program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        return self._signatures.capture(args, kwargs, self._asked())

    # --- inside another capture -------------------------------------------------------------------

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        reject_states(f"an argument of {self._name}", (args, kwargs))
        self.arguments.static_values(args, kwargs)  # refuses what cannot be static
        closed = self.arguments.closed(args, kwargs)
        given, named = self.arguments.dynamic(args, kwargs)
        return bind_call("call", {"name": self._name}, closed, given, named, self._name)

    # --- to look at it ----------------------------------------------------------------------------

    def trace(self, *args: Any, **kwargs: Any) -> Stages:
        """Trace without running: see the graph at every stage. No State changes.

        Stages are those of the options that are in force here.
        """
        return Stages(
            self._program(args, kwargs),
            sorted(self.arguments.dynamic(args, kwargs)[1]),
        )

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Return what `jax.jit` calls lowered: its text, and ``compile()`` for cost and memory.

        Raises
        ------
        NotImplementedError
            If the backend that is asked for does not lower graphs.
        """
        return self.trace(*args, **kwargs).lower()

    def compile(self, *args: Any, **kwargs: Any) -> jax.stages.Compiled:
        """Compile ahead of the first call. No State changes."""
        return self.lower(*args, **kwargs).compile()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``(states, result)`` as shapes and dtypes, without running. No State changes."""
        program = self._program(args, kwargs)
        states = tuple(
            jax.tree.unflatten(slot.after.tree, slot.after.avals)
            for slot in program.slots
            if slot.var.kind != "check"
        )
        return states, jax.tree.unflatten(program.out_tree, program.out_avals)

    def clear_cache(self) -> None:
        """Forget everything that was compiled."""
        with self._lock:
            self._kept.clear()
            self._only = None


class _Methods(dict[Jitted, Jitted]):
    """The compiled methods of one object, by what they are in its class.

    A copy of the object, and what is unpickled of it, starts without any.
    """

    def __init__(self, owner: Any = None) -> None:
        super().__init__()
        self.owner = (lambda: None) if owner is None else weakref.ref(owner)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Methods, ()

"""`jit`: compile a function once, and call it with hardly more overhead than ``jax.jit`` itself."""

from __future__ import annotations

import functools
import html
import threading
import weakref
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from types import FunctionType
from typing import Any

import jax

from ...backends import lax, xla
from ...ir import Graph
from .. import environ
from ..capture import (
    Handle,
    Region,
    Traced,
    aval_of,
    bind_region,
    current_frame,
    leave,
    merge,
    name_of,
    parameter_names,
    reject_states,
    trace,
)
from ..program import (
    Program,
    argument_aval,
    capture,
    compile_program,
    is_sharded,
    is_wide,
    optimise,
)
from ..snapshot import holds_array, is_gone
from ..state import COMPILED_METHODS, epoch, in_foreign_trace
from ..typing import Missing
from . import plain
from .arguments import Arguments
from .binding import check_callable, frame_here
from .kept_programs import KeptPrograms, array_type, looks_like, same_avals
from .watch import Watch


def jit(
    fun: Any = Missing,
    *,
    static_argnums: int | Iterable[int] = (),
    static_argnames: str | Iterable[str] = (),
    donate_argnums: int | Iterable[int] = (),
    name: str | None = None,
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
    static_argnums, static_argnames : int, str, or iterables of them
        Arguments that are Python values rather than arrays; they must be hashable.
    donate_argnums : int or iterable of int
        Arguments whose memory the results may take over.
    name : str, optional
        What the graph is called.

    Returns
    -------
    Jitted
        Called like ``fun``, with ``trace``, ``lower``, ``eval_shape`` and ``clear_cache``.

    Raises
    ------
    ValueError
        If an argument or result is a State, a static argument is not hashable, or an argument
        number is invalid.
    TypeError
        If a dynamic argument or a result is not an array.

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
        return functools.partial(
            jit,
            static_argnums=static_argnums,
            static_argnames=static_argnames,
            donate_argnums=donate_argnums,
            name=name,
        )
    check_callable("the function given to jit", fun)
    arguments = Arguments(fun, static_argnums, static_argnames, donate_argnums)
    return Jitted(fun, arguments, name)


class _Mismatch(Exception):
    """Arguments or States do not look as they did when this was compiled."""


class Jitted:
    """A compiled function; see `jit`.

    Attributes
    ----------
    origin_fun : callable
        The function that was compiled.
    arguments : Arguments
        Which of its arguments are static, and which are donated.
    """

    def __init__(self, fun: Callable[..., Any], arguments: Arguments, name: str | None) -> None:
        self.origin_fun = fun
        self._name = name or name_of(fun)
        self.arguments = arguments
        self._lock = threading.RLock()
        self._only: _Entry | None = None
        self._kept: KeptPrograms[_Entry] = KeptPrograms(weakref.WeakMethod(self._forget))
        functools.update_wrapper(self, fun, updated=())

    def __reduce__(self) -> str | tuple[Any, ...]:
        """Copy and pickle it as what it stands for: a function as itself, all else by its parts."""
        if isinstance(self.origin_fun, FunctionType):
            return self.origin_fun.__qualname__
        return Jitted, (self.origin_fun, self.arguments, self._name)

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
            methods[self] = Jitted(method, self.arguments.of_method(method), self._name)
        return methods[self]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        entry = self._only
        if entry is not None and current_frame() is None:
            if not entry.usable():
                entry = self._only = self._kept.find_any()
            if entry is not None:
                try:
                    return entry.run(args, kwargs)
                except (_Mismatch, TypeError, AttributeError):
                    pass  # a new signature, or an argument that the careful way describes
        return self._call_carefully(args, kwargs)

    def _call_carefully(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if plain.is_asked_for():
            return self.origin_fun(*args, **kwargs)
        if current_frame() is not None:
            return self._bind(args, kwargs)
        dynamic = self.arguments.dynamic(args, kwargs)
        entry = self._find(args, kwargs)
        try:
            return entry.run(*dynamic)
        except _Mismatch:
            # A State looks different now: its shape, dtype or unit.
            return self._find(args, kwargs, unlike=entry).run(*dynamic)

    # --- what was compiled ---

    def _key(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Hashable:
        static = self.arguments.static_values(args, kwargs)
        dynamic = self.arguments.dynamic(args, kwargs)
        reject_states(f"an argument of {self._name}", dynamic)
        leaves, tree = jax.tree.flatten(dynamic)
        avals = [argument_aval(self._name, leaf) for leaf in leaves]
        shapes = tuple((a.shape, a.dtype, a.weak_type) for a in avals)
        return static, tree, shapes, in_foreign_trace(), is_wide(), is_sharded()

    def _find(
        self, args: tuple[Any, ...], kwargs: dict[str, Any], unlike: _Entry | None = None
    ) -> _Entry:
        key = self._key(args, kwargs)
        with self._lock:
            entry = self._kept.find(key, unlike)
            if entry is None:
                entry = self._compile(args, kwargs)
                if not entry.usable():  # tracing has changed what it depends on
                    return entry
                self._kept.add(key, entry)
            alone = self._kept.signatures == 1 and not self.arguments
            self._only = entry if alone else None
            return entry

    def _compile(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Entry:
        born = epoch.count
        program = self._program(args, kwargs)
        names = self.arguments.dynamic(args, kwargs)[1]
        donate = self.arguments.donated(len(args))
        return _Entry(program, list(names), donate, Watch(self.origin_fun, born))

    def _forget(self, entry: _Entry) -> None:
        """Let go of a program that is no longer kept."""
        if self._only is entry:
            self._only = None

    def _program(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Program:
        closed = self.arguments.closed(args, kwargs)
        given, named = self.arguments.dynamic(args, kwargs)
        keys = sorted(named)

        def function(*arrays: Any) -> Any:
            rest = dict(zip(keys, arrays[len(given) :], strict=True))
            return closed(*arrays[: len(given)], **rest)

        function.__name__ = self._name
        function.__wrapped__ = self.origin_fun  # pyright: ignore[reportFunctionMemberAccess]
        names = parameter_names(self.origin_fun)[: len(args)]
        names = [name for i, name in enumerate(names) if i not in self.arguments.static]
        names += [""] * (len(given) - len(names))
        flat = (*given, *(named[key] for key in keys))
        return capture(function, flat, self._name, [*names, *keys])

    # --- inside another capture ---

    def _bind(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        reject_states(f"an argument of {self._name}", (args, kwargs))
        frame = frame_here()
        closed = self.arguments.closed(args, kwargs)
        leaves, tree = jax.tree.flatten(self.arguments.dynamic(args, kwargs))
        avals = jax.tree.unflatten(tree, [aval_of(x) for x in leaves])
        body: Traced = trace(lambda args, kwargs: closed(*args, **kwargs), avals)
        spec = Region(
            "call", {"name": self._name}, (body,), len(leaves), body.out_avals, self._name
        )
        results = bind_region(spec, leaves)
        leave(body, frame)
        return jax.tree.unflatten(body.out_tree, results)

    # --- to look at it ---

    def trace(self, *args: Any, **kwargs: Any) -> Stages:
        """Trace without running: see the graph at every stage. No State changes."""
        return Stages(self._program(args, kwargs), sorted(self.arguments.dynamic(args, kwargs)[1]))

    def lower(self, *args: Any, **kwargs: Any) -> jax.stages.Lowered:
        """Return what `jax.jit` calls lowered: its text, and ``compile()`` for cost and memory."""
        return self.trace(*args, **kwargs).lower()

    def compile(self, *args: Any, **kwargs: Any) -> jax.stages.Compiled:
        """Compile ahead of the first call. No State changes."""
        return self.lower(*args, **kwargs).compile()

    def eval_shape(self, *args: Any, **kwargs: Any) -> Any:
        """Return ``(states, result)`` as shapes and dtypes, without running. No State changes."""
        program = self._program(args, kwargs)
        states = tuple(
            jax.tree.unflatten(slot.after.tree, slot.after.avals) for slot in program.slots
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


class Stages:
    """A traced function at every stage of compilation; what ``jitted.trace(...)`` returns.

    Attributes
    ----------
    program : Program
        What was captured.
    keywords : tuple of str
        The names of the last arguments, those that were given by name.
    """

    def __init__(self, program: Program, keywords: Sequence[str]) -> None:
        self.program, self.keywords = program, tuple(keywords)

    def graph(self, stage: str | None = None) -> Graph:
        """Return the graph after the pass called ``stage``.

        ``"capture"`` is the stage before all passes, None the one after all of them.

        Raises
        ------
        ValueError
            If there is no such stage.
        """
        return optimise(self.program, until=stage)

    def lower(self) -> jax.stages.Lowered:
        """Lower what a backend makes of the last stage."""
        graph = self.graph()
        consts = [const.data for const in graph.consts]
        given = [*self.program.in_avals, *self.program.state_leaves(), *consts]
        return jax.jit(lax.emit(graph), compiler_options=xla.OPTIONS).lower(*given)

    def __str__(self) -> str:
        return str(self.graph())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"


class _Entry:
    """A program of a jitted function, compiled: what is kept, as `KeptPrograms` says."""

    used = 0

    def __init__(
        self,
        program: Program,
        names: Sequence[str],
        donate: Sequence[int],
        watch: Watch,
    ) -> None:
        self._names = sorted(names)
        self._program, self._watch = program, watch
        self._epoch: int | None = None
        self._checks = self._always = tuple(_checks(program, watch))
        self.views = {slot.handle: slot.before for slot in program.slots}
        self.fleeting = any(map(holds_array, program.reads.values()))
        self._held = [slot.handle.reference for slot in program.slots]
        self._io, self._custom = program.has_io, program.custom
        self._array = array_type()
        self._compiled = compile_program(program)
        self._consts = program.consts(self._compiled.consts)
        slots = [program.slots[i] for i in self._compiled.written]
        self._written = [slot.handle for slot in slots if slot.final]
        kept = program.changed_in_place()
        self._in_place = [i for i, handle in enumerate(self._written) if handle in kept]
        self._given_back = [handle.reference for handle in self._written]
        self._emitted = lax.emit(self._compiled.graph)
        # Flat arguments, since every container costs JAX time: States, consts, then the user's own.
        first = len(self._held) + len(self._consts)
        donated = tuple(first + i for i in donate)
        self._inner = jax.jit(self._traced, donate_argnums=donated)
        self._outer = jax.jit(self._traced, donate_argnums=donated, compiler_options=xla.OPTIONS)

    def usable(self) -> bool:
        """Whether what was assumed while tracing still holds; types apart, which JAX compares."""
        if epoch.count != self._epoch:
            if not self.alive():
                return False
            self._epoch = epoch.count
        for check in self._checks:  # a loop, not all(...): every call asks  # noqa: SIM110
            if not check():
                return False
        return True

    def alive(self) -> bool:
        """Whether every State still exists and has not been replaced by another one."""
        return all(handle.alive for handle in self.views) and self._watch.in_place(self.views)

    def hopeless(self) -> bool:
        """Whether something that it depends on is gone for ever."""
        return any(map(is_gone, self._program.reads.values()))

    def fits(self) -> bool:
        """Whether every State looks as it did when this was traced."""
        return all(looks_like(handle.reference, view) for handle, view in self.views.items())

    def guard(self, handles: Iterable[Handle]) -> None:
        """Let `usable` ask, too, whether some States look as they did when this was traced."""
        guarded = [(handle.reference, self.views[handle]) for handle in handles]
        self._checks = self._always
        if guarded:
            self._checks += (lambda: all(looks_like(*pair) for pair in guarded),)

    def run(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Run on the present States, and give them their new values after all has succeeded."""
        if self._custom and self._others_differentiate(args, kwargs):
            raise _Mismatch
        held = [state()._value for state in self._held]  # pyright: ignore
        try:
            *values, result = self._outer(*held, *self._consts, *args, **kwargs)
        except ValueError:
            if not in_foreign_trace():
                raise
            # JAX takes options for XLA in the outermost jit only.
            *values, result = self._inner(*held, *self._consts, *args, **kwargs)
        if self._io:
            jax.block_until_ready((values, result))
        array = self._array
        for value in values:
            if type(value) is not array:  # it may hold what must not be kept
                self._check_writable(values)
                break
        for i in self._in_place:  # whoever holds the container sees what was changed
            values[i] = merge(self._written[i].state.peek(), values[i])
        for state, value in zip(self._given_back, values):  # noqa: B905 - strict costs every call
            state()._value = value  # pyright: ignore
        return result

    def _others_differentiate(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
        """Whether custom derivatives matter otherwise than they did when this was compiled."""
        for arg in (*args, *kwargs.values()):
            if type(arg) is not self._array:
                return in_foreign_trace() != self._program.foreign
        return False

    def _check_writable(self, values: Sequence[Any]) -> None:
        if in_foreign_trace():
            for handle, value in zip(self._written, values, strict=True):
                handle.state.check_writable(value)

    def _traced(self, /, *given: Any, **kwargs: Any) -> tuple[Any, ...]:
        """What JAX traces: check that it is the signature we know, and emit the graph."""
        if plain.is_asked_for():
            raise _Mismatch
        program = self._program
        first = len(self._held)
        last = first + len(self._consts)
        values, consts, args = given[:first], given[first:last], given[last:]
        names = sorted(kwargs)
        leaves, tree = jax.tree.flatten((*args, *(kwargs[name] for name in names)))
        if names != self._names:
            raise _Mismatch
        if tree != program.in_tree or not same_avals(leaves, program.in_avals, weak=True):
            raise _Mismatch
        held: list[Any] = []
        for value, slot in zip(values, program.slots, strict=True):
            found, now = jax.tree.flatten(value)
            if now != slot.before.tree or not same_avals(found, slot.before.avals, weak=False):
                raise _Mismatch
            held.extend(slot.entry_leaves(found))
        outs = self._emitted(*leaves, *held, *consts)
        count = len(program.out_avals)
        result = jax.tree.unflatten(program.out_tree, outs[:count])
        written = program.written_values(self._compiled.written, outs[count:])
        return *(value for _, value in written), result


def _checks(program: Program, watch: Watch) -> Iterator[Callable[[], bool]]:
    """Yield what has to be asked before each call; most functions need little of it."""
    if watch:
        yield watch.unchanged
    if program.reads:
        yield functools.partial(environ.unchanged, program.reads)

"""Checks: what a program finds wrong while it runs, told to Python when the run is over.

A check is a primitive of a truth value and of the values that its message shows. In the graph it is
nothing new: it reads and writes hidden states of the kind ``check``, which hold the number of the
first check that failed, and what it has to say. So loops carry them, branches choose between them,
lanes agree on the first of them, and gradients take them along, by the rules for every other state.
Whoever has run the program looks at that number, and raises before any State gets a new value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.experimental.checkify import JaxRuntimeError
from jax.interpreters import ad, batching, mlir

from ...ir import Builder, Literal, Loc, Operand, StateVar, Type, at, numpy_dtype
from ..errors import TraceContextError
from .cells import Cell, Handle
from .explain import user_loc
from .frames import current_frame, in_shard_map
from .state_primitives import new_primitive, stay_in_program

if TYPE_CHECKING:
    from .automatic_checks import Planted
    from .importer import Importer

_NUMBER = Type("int32")


@dataclass(frozen=True, slots=True, eq=False)
class Site:
    """A place where a check stands: what is raised, and which values that needs.

    Attributes
    ----------
    kind : str
        ``error`` for what is raised in any case, ``user`` and ``debug`` for what `checkify` may
        gather, or the kind of an automatic check.
    error : callable
        Given what it shows, it returns what is to be raised, raises by itself, or returns None.
    tree, fixed : PyTreeDef, tuple
        The ``(args, kwargs)`` for it; ``fixed`` has what is known already, and `HOLE` for an array.
    loc : Loc or None
        Where it stands.
    """

    kind: str
    error: Callable[..., Any]
    tree: Any
    fixed: tuple[Any, ...]
    loc: Loc | None

    def found(self, arrays: Iterable[Any]) -> BaseException | None:
        """Return what is to be raised for these arrays."""
        rest = iter(arrays)
        leaves = [_shown(next(rest) if x is HOLE else x) for x in self.fixed]
        args, kwargs = jax.tree.unflatten(self.tree, leaves)
        error = self.error(*args, **kwargs)
        if not isinstance(error, BaseException):
            return None
        if self.loc is not None:
            error.add_note(f"The check is at {self.loc}")
        return error

    def fail(self, arrays: Iterable[Any]) -> None:
        """Raise what is to be raised for these arrays."""
        error = self.found(arrays)
        if error is not None:
            raise error


HOLE: Any = type("Hole", (), {"__repr__": lambda self: "HOLE"})()
"""Stands in a site for an array that is known only when the program runs."""


def check(
    failed: Any,
    error: Callable[..., Any],
    args: tuple[Any, ...] = (),
    kwargs: dict[str, Any] | None = None,
    kind: str = "error",
) -> None:
    """Fail where a value is true that may be known only when the program runs.

    In a capture it becomes a part of the program. Where nobody traces, it fails at once. Under
    somebody else's trace a callback fails while the compiled code runs.
    """
    leaves, tree = jax.tree.flatten((args, kwargs or {}))
    traced = [isinstance(leaf, Tracer) for leaf in leaves]
    fixed = tuple(HOLE if t else x for x, t in zip(leaves, traced, strict=True))
    site = Site(kind, error, tree, fixed, user_loc())
    arrays = [_bits(leaf) for leaf, t in zip(leaves, traced, strict=True) if t]
    plant(jnp.any(failed) if jnp.ndim(failed) else failed, site, arrays)


def _shown(value: Any) -> Any:
    """Return a value as a message has it: numpy's in place of JAX's, where that can be."""
    if not isinstance(value, jax.Array):
        return value[()] if isinstance(value, np.ndarray) else value
    value = _bits(jax.lax.stop_gradient(value))
    return value if isinstance(value, Tracer) else np.asarray(value)[()]


def _bits(array: Any) -> Any:
    """Return an array that numpy can show: of a random key, its words."""
    is_key = jnp.issubdtype(array.dtype, jax.dtypes.prng_key)
    return jax.random.key_data(array) if is_key else array


def plant(failed: Any, site: Site, arrays: Sequence[Any]) -> None:
    """Let a check stand here; see `check`."""
    frame = current_frame()
    if frame is not None and not in_shard_map(frame):
        check_p.bind(failed, *arrays, site=site)
    elif site.kind == "debug":
        pass
    elif isinstance(failed, Tracer):
        jax.debug.callback(_called, failed, *arrays, site=site)
    elif failed:
        site.fail(arrays)


def _called(failed: Any, *arrays: Any, site: Site) -> None:
    if failed:
        site.fail(arrays)


check_p = new_primitive("check", lambda failed, *arrays, site, **_: [])


def _batch(given: Sequence[Any], axes: Sequence[Any], *, site: Site, **_: Any) -> Any:
    """Fail if any lane of a plain ``jax.vmap`` does, and say what the first of them says."""
    failed, lane = given[0], 0
    if axes[0] is not None:
        lane, failed = jnp.argmax(failed), jnp.any(failed)
    arrays = [
        x if axis is None else jnp.take(x, lane, axis)
        for x, axis in zip(given[1:], axes[1:], strict=True)
    ]
    return check_p.bind(failed, *arrays, site=site), []


def _jvp(primals: Sequence[Any], _: Any, *, site: Site, **__: Any) -> Any:
    return check_p.bind(*primals, site=site), []


def _not_in_a_capture(*_: Any, site: Site, **__: Any) -> Any:
    raise TraceContextError("a check was traced in a capture that has ended")


batching.primitive_batchers[check_p] = _batch
ad.primitive_jvps[check_p] = _jvp
stay_in_program(check_p, _not_in_a_capture)
mlir.register_lowering(check_p, _not_in_a_capture)


# --- in graphs ------------------------------------------------------------------------------------


class Check(Cell):
    """A hidden state of a program; for Python it holds zeros for ever."""

    kind = "check"

    def __init__(self, types: Sequence[Type]) -> None:
        self.handle, self.types = Handle(self), tuple(types)
        self._value = [np.zeros(type.shape, numpy_dtype(type.dtype)) for type in types]

    @property
    def losses(self) -> Iterable[Any]:
        """Return nothing: nothing else ever stands in its place."""
        return ()

    def describe(self) -> str:
        """Return what error messages call it."""
        return "a check"

    def peek(self) -> Any:
        """Return zeros."""
        return self._value

    def note_touch(self, written: bool) -> None:
        """Tell nobody: it is no State of Python's."""

    def accept(self, value: Any) -> None:
        """Stay as it is: what a run leaves here is for whoever ran it."""

    def check_writable(self, value: Any) -> None:
        """Refuse nothing."""

    def is_leaked(self, value: Any) -> bool:
        """Return False: nothing is kept."""
        return False


class Checks:
    """The checks of one program, and the states in which the first that fails leaves its mark.

    Attributes
    ----------
    kinds : frozenset of str
        Those that count.
    """

    def __init__(self, kinds: Iterable[str] = ("error", "user")) -> None:
        self.kinds = frozenset(kinds)
        self._mark = Check([_NUMBER])
        self._sites: dict[Site, tuple[int, Check | None]] = {}

    def __bool__(self) -> bool:
        return bool(self._sites)

    def build(
        self, importer: Importer, builder: Builder, site: Site, operands: Sequence[Operand]
    ) -> None:
        """Build nodes that leave a mark if the first operand is true, and there is none yet."""
        failed, *arrays = operands
        number, shown = self._number(site, arrays)
        mark = self.mark(importer)
        (before,) = _read(builder, mark)
        none = builder("eq", before, Literal(0, _NUMBER))
        first = builder("and", none, failed)
        value = Literal(number, _NUMBER)
        builder.emit("state.write", (builder("select_n", first, before, value),), {"state": mark})
        if shown is None:
            return
        # These have a number of their own, so that lanes can tell without the other state.
        var = importer.state(shown.handle, (_NUMBER, *(x.type for x in arrays)))
        pairs = zip(_read(builder, var), (value, *arrays), strict=True)
        chosen = [builder("select_n", first, old, new) for old, new in pairs]
        builder.emit("state.write", chosen, {"state": var})

    def plant(
        self,
        importer: Importer,
        builder: Builder,
        check: Planted,
        operands: Sequence[Operand],
        results: Sequence[Operand],
    ) -> None:
        """Build a check that nobody wrote."""
        count, loc, says = len(operands), builder.loc, check.says

        def failed(*arrays: Any) -> Any:
            return check.failed(arrays[:count], arrays[count:])

        flags = importer.function(builder, failed, [*operands, *results])
        builder.loc = loc
        fixed, tree = jax.tree.flatten(((), {}))
        site = Site(check.kind, lambda: JaxRuntimeError(says + at(loc)), tree, tuple(fixed), None)
        self.build(importer, builder, site, flags)

    def gathered(self, importer: Importer, builder: Builder, start: int) -> Sequence[Operand]:
        """Build that these states live from some node on to here, and return what they hold."""
        before, held = Builder(builder.loc), list[Operand]()
        shown = (cell for _, cell in self._sites.values() if cell is not None)
        for cell in (self._mark, *shown):
            var = importer.state(cell.handle, cell.types)
            zeros = [before.zeros(type) for type in cell.types]
            before.emit("state.new", zeros, {"state": var})
            importer.births[cell.handle] = builder, before.nodes[-1]
            held.extend(_read(builder, var))
        builder.nodes[start:start] = before.nodes
        return held

    @property
    def sites(self) -> tuple[tuple[Site, tuple[Type, ...]], ...]:
        """The checks in order, with the types of what each of them leaves beside the mark."""
        return tuple((s, cell.types if cell else ()) for s, (_, cell) in self._sites.items())

    def mark(self, importer: Importer) -> StateVar:
        """Return the state that holds the number of the first check that failed, or 0."""
        return importer.state(self._mark.handle, (_NUMBER,))

    def _number(self, site: Site, arrays: Sequence[Operand]) -> tuple[int, Check | None]:
        if site not in self._sites:
            shown = Check([_NUMBER, *(x.type for x in arrays)]) if arrays else None
            self._sites[site] = len(self._sites) + 1, shown
        return self._sites[site]

    def passed(self, left: dict[Handle, Any]) -> None:
        """Raise if a check failed, by what a run left in states.

        In a capture, or under somebody else's trace, that may only be known later: then the same
        checks stand there.
        """
        (mark,) = left[self._mark.handle]
        if isinstance(mark, Tracer):
            for site, (number, shown) in self._sites.items():
                plant(mark == number, site, left[shown.handle][1:] if shown else ())
            return
        found = int(mark)
        for site, (number, shown) in self._sites.items():
            if number == found:
                site.fail(left[shown.handle][1:] if shown else ())


def _read(builder: Builder, var: StateVar) -> Sequence[Operand]:
    return builder.emit("state.read", (), {"state": var}, hints=[var.hint] * len(var.types))

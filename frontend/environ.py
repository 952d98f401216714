"""The environment: values such as the time step ``dt`` that every part of a model may read.

Three layers answer a question, the first that knows the name wins:

1. the contexts that are open in this thread (:func:`context`), the innermost first;
2. the values that this thread has :func:`set`;
3. the values that the main thread has set, which are the defaults of every thread.

A compiled function holds the values that were in force when it was traced. :func:`watch` notes
which ones a trace has read, and :func:`unchanged` says later whether they still hold; a compiled
function that asks both is traced again when, and only when, something that it has read differs.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from .snapshot import snapshot
from .typing import ArrayLike, Missing

__all__ = [
    "Reads",
    "all",
    "context",
    "dctype",
    "dftype",
    "ditype",
    "dutype",
    "fingerprint",
    "get",
    "get_dt",
    "get_precision",
    "pop",
    "set",
    "set_precision",
    "unchanged",
    "watch",
]

Precision = int | str

_TYPES = {
    8: (jnp.float8_e5m2, jnp.int8, jnp.uint8, jnp.complex64),
    16: (jnp.float16, jnp.int16, jnp.uint16, jnp.complex64),
    "bf16": (jnp.bfloat16, jnp.int16, jnp.uint16, jnp.complex64),
    32: (jnp.float32, jnp.int32, jnp.uint32, jnp.complex64),
    64: (jnp.float64, jnp.int64, jnp.uint64, jnp.complex128),
}

_OPTIONS_OF_JAX = {"platform": "jax_platforms", "host_device_count": "jax_num_cpu_devices"}

_NAMES = ""
"""Stands, among the names that were read, for the set of all names."""


class _Setting:
    """A value in force, and its snapshot, made when it is first asked for."""

    __slots__ = ("_snapshot", "value")

    def __init__(self, value: object):
        self.value = value
        self._snapshot: Hashable = None

    @property
    def snapshot(self) -> Hashable:
        if self._snapshot is None:
            self._snapshot = snapshot(self.value)
        return self._snapshot


class Reads(dict[str, Hashable]):
    """What a trace has read of the environment: name -> snapshot, or None for a name not set."""

    __slots__ = ("change", "own")

    def __init__(self):
        super().__init__()
        self.change: object = None
        self.own: object = None


_shared: dict[str, _Setting] = {}
_change = object()
"""Another object after every change of a value that is not a context's, in any thread."""


class _ThreadState(threading.local):
    def __init__(self):
        in_main = threading.current_thread() is threading.main_thread()
        self.own: dict[str, _Setting] = _shared if in_main else {}
        self.context: dict[str, _Setting] = {}
        self.watches: tuple[tuple[Mapping[str, _Setting], Reads], ...] = ()


_thread = _ThreadState()


def set(*, dt: ArrayLike | None = None, precision: Precision | None = None, **values: Any) -> None:
    """Set values that hold until they are set again.

    In the main thread this sets the default of the whole process, so that threads started later or
    before see it too; in any other thread it is seen by that thread alone. An open :func:`context`
    keeps precedence.

    Parameters
    ----------
    dt
        The time step, a real scalar, usually a quantity of time.
    precision
        The width of the default number types: 8, 16, 32, 64 or ``"bf16"``. Also switches the 64-bit
        mode of JAX, on for 64 and off for all others, and JAX has one such switch for all threads.
    **values
        Anything, by name.

    Raises
    ------
    TypeError
        If `dt` is not a real scalar.
    ValueError
        If `precision` is unknown, or a name is an option of JAX (``platform``,
        ``host_device_count``).

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir import environ
    >>> environ.set(dt=0.1 * u.ms, temperature=36.0)
    >>> environ.pop("dt"), environ.pop("temperature")
    (Quantity(0.1, "ms"), 36.0)
    """
    if dt is not None:
        values["dt"] = dt
    if precision is not None:
        values["precision"] = precision
    _check(values)
    if "precision" in values:
        jax.config.update("jax_enable_x64", values["precision"] == 64)
    _thread.own.update({name: _Setting(value) for name, value in values.items()})
    _note_change()


@contextmanager
def context(**values: Any) -> Iterator[Mapping[str, Any]]:
    """Set values for the length of a ``with`` block, in this thread only.

    Contexts nest, the innermost wins, and what was in force before comes back however the block is
    left. Values may be traced: ``context(i=i)`` inside the body of a loop is the way to hand the
    step's number to the parts of a model. Yields all that is in force, as a read-only mapping.

    Raises
    ------
    TypeError, ValueError
        As :func:`set` does, on entering.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True):
    ...     with environ.context(fit=False) as inner:
    ...         print(environ.get("fit"), inner["fit"])
    ...     print(environ.get("fit"))
    False False
    True
    """
    _check(values)
    wide = values.get("precision") == 64
    with jax.enable_x64(wide) if "precision" in values else nullcontext():
        before = _thread.context
        _thread.context = before | {name: _Setting(value) for name, value in values.items()}
        try:
            yield _View()
        finally:
            _thread.context = before


def get(key: str, default: Any = Missing, desc: str | None = None) -> Any:
    """Look up the value of `key` that is in force here.

    Parameters
    ----------
    key
        The name.
    default
        What to return where the name is not set; without it that is an error.
    desc
        What the name means, for the message of that error.

    Raises
    ------
    KeyError
        If the name is not set and there is no `default`; the message says how to set it.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.get("training", False)
    False
    """
    _note_read(key)
    setting = _find(key, _thread.context)
    if setting is not None:
        return setting.value
    if default is not Missing:
        return default
    meaning = f" ({desc})" if desc else ""
    raise KeyError(
        f"{key!r}{meaning} is not set in the environment: call brainir.environ.set({key}=...), "
        f"or run the code inside `with brainir.environ.context({key}=...):`"
    )


def get_dt() -> Any:
    """Return the time step in force, ``get("dt")``.

    Raises
    ------
    KeyError
        If it is not set.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir import environ
    >>> with environ.context(dt=0.1 * u.ms):
    ...     environ.get_dt()
    Quantity(0.1, "ms")
    """
    return get("dt", desc="the time step of the simulation")


def all() -> dict[str, Any]:
    """Return every value in force, by name; ``precision`` is always among them.

    >>> from brainir import environ
    >>> with environ.context(fit=True):
    ...     environ.all()["fit"]
    True
    """
    return dict(_View())


def pop(key: str, default: Any = Missing) -> Any:
    """Remove a value that this thread has set, and return it.

    Raises
    ------
    ValueError
        If an open context holds the name.
    KeyError
        If this thread has not set it and there is no `default`.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.set(noise=0.3)
    >>> environ.pop("noise"), environ.pop("noise", None)
    (0.3, None)
    """
    if key in _thread.context:
        raise ValueError(f"{key!r} cannot be removed while an open environ.context(...) holds it")
    setting = _thread.own.pop(key, None)
    _note_change()
    if setting is not None:
        return setting.value
    if default is not Missing:
        return default
    raise KeyError(f"{key!r} has not been set with brainir.environ.set({key}=...) in this thread")


def set_precision(precision: Precision) -> None:
    """Choose the width of the default number types, ``set(precision=precision)``.

    >>> from brainir import environ
    >>> environ.set_precision(32)
    >>> environ.pop("precision")
    32
    """
    set(precision=precision)


def get_precision() -> int:
    """Return the number of bits of the default number types; 16 also for ``"bf16"``.

    Where nothing has been set it follows JAX: 64 in its 64-bit mode, otherwise 32.

    >>> from brainir import environ
    >>> with environ.context(precision="bf16"):
    ...     environ.get_precision(), environ.dftype().__name__
    (16, 'bfloat16')
    """
    precision = get("precision")
    return 16 if precision == "bf16" else precision


def dftype() -> type[np.generic]:
    """Return the default type of real numbers.

    >>> from brainir import environ
    >>> with environ.context(precision=16):
    ...     environ.dftype()
    <class 'numpy.float16'>
    """
    return _number_type(0)


def ditype() -> type[np.generic]:
    """Return the default type of signed integers.

    >>> from brainir import environ
    >>> with environ.context(precision=32):
    ...     environ.ditype()
    <class 'numpy.int32'>
    """
    return _number_type(1)


def dutype() -> type[np.generic]:
    """Return the default type of unsigned integers.

    >>> from brainir import environ
    >>> with environ.context(precision=32):
    ...     environ.dutype()
    <class 'numpy.uint32'>
    """
    return _number_type(2)


def dctype() -> type[np.generic]:
    """Return the default type of complex numbers.

    >>> from brainir import environ
    >>> with environ.context(precision=64):
    ...     environ.dctype()
    <class 'numpy.complex128'>
    """
    return _number_type(3)


def fingerprint(names: Iterable[str] | None = None) -> Hashable:
    """Return a snapshot of the values in force, equal to another one if and only if they are equal.

    Numbers, strings and small arrays count by value and type, quantities also by unit. Anything
    else, such as a traced value or a function, is the same only if it is the same object.

    Parameters
    ----------
    names
        The names to look at, which may be ones that are not set; without it, all that are set.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True):
    ...     before = environ.fingerprint()
    >>> with environ.context(fit=True):
    ...     print(environ.fingerprint() == before)
    True
    >>> with environ.context(fit=False):
    ...     print(environ.fingerprint() == before)
    False
    """
    context = _thread.context
    chosen = (_NAMES, *_names(context)) if names is None else tuple(names)
    for name in chosen:
        _note_read(name)
    return tuple(_snapshot_of(name, context) for name in chosen)


@contextmanager
def watch() -> Iterator[Reads]:
    """Note which values of the environment are read inside the block.

    A name that was looked up and not found is noted too. What a :func:`context` opened *inside* the
    block provides is not: it does not depend on the outside. Blocks nest; a read counts for all.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True, dt=0.1), environ.watch() as reads:
    ...     with environ.context(dt=0.2):
    ...         _ = environ.get("fit"), environ.get_dt()
    >>> list(reads)
    ['fit']
    """
    before = _thread.watches
    reads = Reads()
    _thread.watches = (*before, (_thread.context, reads))
    try:
        yield reads
    finally:
        _thread.watches = before


def unchanged(reads: Reads) -> bool:
    """Tell whether everything that :func:`watch` noted still has the same value.

    Inside a block of :func:`watch` the names count as read, so a trace that makes use of an earlier
    one depends on what that one has read.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True), environ.watch() as reads:
    ...     _ = environ.get("fit")
    >>> with environ.context(fit=True, noise=0.1):
    ...     print(environ.unchanged(reads))
    True
    >>> environ.unchanged(reads)
    False
    """
    thread, change = _thread, _change
    calm = not thread.context and not thread.watches
    if calm and reads.change is change and reads.own is thread.own:
        return True
    for name, before in reads.items():
        _note_read(name)
        if _snapshot_of(name, thread.context) != before:
            return False
    if calm and ("precision" not in reads or "precision" in thread.own):
        reads.change, reads.own = change, thread.own
    return True


class _View(Mapping[str, Any]):
    """All values in force, read through :func:`get`, so that a watch notices it."""

    def __getitem__(self, key: str) -> Any:
        return get(key)

    def __iter__(self) -> Iterator[str]:
        _note_read(_NAMES)
        return iter(_names(_thread.context))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _names(context: Mapping[str, _Setting]) -> tuple[str, ...]:
    return tuple(sorted({"precision", *_shared, *_thread.own, *context}))


def _find(name: str, context: Mapping[str, _Setting]) -> _Setting | None:
    setting = context.get(name) or _thread.own.get(name) or _shared.get(name)
    if setting is None and name == "precision":
        return _Setting(64 if jax.config.read("jax_enable_x64") else 32)
    return setting


def _snapshot_of(name: str, context: Mapping[str, _Setting]) -> Hashable:
    if name == _NAMES:
        return _names(context)
    setting = _find(name, context)
    return None if setting is None else setting.snapshot


def _note_read(name: str) -> None:
    for context, reads in _thread.watches:
        if name not in reads and context.get(name) is _thread.context.get(name):
            reads[name] = _snapshot_of(name, context)


def _note_change() -> None:
    global _change
    _change = object()


def _number_type(column: int) -> type[np.generic]:
    return np.dtype(_TYPES[get("precision")][column]).type


def _check(values: Mapping[str, Any]) -> None:
    for name in _OPTIONS_OF_JAX.keys() & values.keys():
        raise ValueError(
            f"{name!r} is an option of JAX: call "
            f'jax.config.update("{_OPTIONS_OF_JAX[name]}", ...) at the start of the program'
        )
    if "precision" in values and values["precision"] not in _TYPES:
        raise ValueError(f"precision must be one of {[*_TYPES]}, got {values['precision']!r}")
    if "dt" in values and not _is_real_scalar(u.get_mantissa(values["dt"])):
        raise TypeError(
            f"dt must be one real number, usually with a unit of time such as 0.1 * u.ms; "
            f"got {values['dt']!r}"
        )


def _is_real_scalar(value: object) -> bool:
    if isinstance(value, np.ndarray | np.generic | jax.Array):
        real = jnp.issubdtype(value.dtype, jnp.floating) or jnp.issubdtype(value.dtype, jnp.integer)
        return value.ndim == 0 and real
    return isinstance(value, int | float) and not isinstance(value, bool)

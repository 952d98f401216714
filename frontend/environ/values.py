"""Setting and getting values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

from ..typing import ArrayLike, Missing
from . import devices, layers
from .behaviors import call_behavior
from .layers import DEFAULT, EnvironmentState, Setting, context_of, note_change, note_read, thread

__all__ = ["DEFAULT_PRECISION", "DT", "FIT", "HOST_DEVICE_COUNT", "JIT_ERROR_CHECK", "I"]
__all__ += ["PLATFORM", "PRECISION", "SUPPORTED_PRECISIONS", "T", "all", "context", "get"]
__all__ += ["get_dt", "pop", "reset", "set"]

Precision = int | str

I = "i"  # noqa: E741
"""The name of the number of the step."""
T = "t"
"""The name of the time."""
DT = "dt"
"""The name of the time step."""
FIT = "fit"
"""The name of whether the model is being trained."""
PRECISION = "precision"
"""The name of the width of numbers."""
PLATFORM = "platform"
"""The name of the platform that JAX runs on."""
HOST_DEVICE_COUNT = "host_device_count"
"""The name of the number of devices that the CPU counts as."""
JIT_ERROR_CHECK = "jit_error_check"
"""A name under which models say whether compiled code is to check for errors."""

DEFAULT_PRECISION = 32
"""The width of numbers where nothing is set and JAX is not in its 64-bit mode."""
SUPPORTED_PRECISIONS = (8, 16, 32, 64, "bf16")
"""The widths that ``precision`` may be."""

_COMPUTED = {
    PLATFORM: devices.get_platform,
    HOST_DEVICE_COUNT: devices.get_host_device_count,
}


def set(
    platform: str | None = None,
    host_device_count: int | None = None,
    precision: Precision | None = None,
    dt: ArrayLike | None = None,
    *,
    env: EnvironmentState = DEFAULT,
    **values: Any,
) -> None:
    """Set values that hold, in all threads, until they are set again.

    An open :func:`context` keeps precedence.

    Parameters
    ----------
    platform, host_device_count
        As for :func:`set_platform` and :func:`set_host_device_count`.
    precision
        The width of the default number types: 8, 16, 32, 64 or ``"bf16"``. Also switches the 64-bit
        mode of JAX, on for 64 and off for all others, and JAX has one such switch for all threads.
    dt
        The time step, a real scalar, usually a quantity of time.
    env
        The environment, by default that of the process. In another one no option of JAX can be set,
        and `precision` does not switch its mode.
    **values
        Anything, by name.

    Raises
    ------
    TypeError
        If `dt` is not a real scalar.
    ValueError
        If `precision` or `platform` is unknown, or the number of devices not a positive integer.
    RuntimeError
        If JAX has started other devices already.

    Examples
    --------
    >>> import brainunit as u
    >>> from brainir import environ
    >>> environ.set(dt=0.1 * u.ms, temperature=36.0)
    >>> environ.pop("dt"), environ.pop("temperature")
    (Quantity(0.1, "ms"), 36.0)
    """
    if dt is not None:
        values[DT] = dt
    if precision is not None:
        values[PRECISION] = precision
    _check(values)
    _set_devices(platform, host_device_count, env)
    if PRECISION in values and env is DEFAULT:
        jax.config.update("jax_enable_x64", values[PRECISION] == 64)
    env.settings.update({name: Setting(value) for name, value in values.items()})
    note_change()
    for name, value in values.items():
        call_behavior(env, name, value)


def _set_devices(platform: str | None, count: int | None, env: EnvironmentState) -> None:
    if platform is None and count is None:
        return
    if env is not DEFAULT:
        raise ValueError("platform and host_device_count hold for the process, not for one env")
    if platform is not None:
        devices.set_platform(platform)
    if count is not None:
        devices.set_host_device_count(count)


@contextmanager
def context(*, env: EnvironmentState = DEFAULT, **values: Any) -> Iterator[Mapping[str, Any]]:
    """Set values for the length of a ``with`` block, in this thread only.

    Contexts nest, the innermost wins, and what was in force before comes back however the block is
    left. Values may be traced: ``context(i=i)`` inside the body of a loop is the way to hand the
    step's number to the parts of a model. Yields all that is in force, as a read-only mapping.

    Parameters
    ----------
    env
        The environment, by default that of the process.
    **values
        Anything, by name, as for :func:`set`.

    Raises
    ------
    TypeError, ValueError
        As :func:`set` does, on entering; and ``ValueError`` for an option of JAX.

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
    for name in _COMPUTED.keys() & values.keys():
        raise ValueError(
            f"{name!r} is an option of JAX, which holds for the whole process: call "
            f"brainir.environ.set_{name}(...) at the start of the program"
        )
    _check(values)
    wide = values.get(PRECISION) == 64
    switches = PRECISION in values and env is DEFAULT
    with jax.enable_x64(wide) if switches else nullcontext():
        before = thread.contexts
        inner = {**context_of(env), **{name: Setting(value) for name, value in values.items()}}
        thread.contexts = {**before, env: inner}
        try:
            for name, value in values.items():
                call_behavior(env, name, value)
            yield _View(env)
        finally:
            thread.contexts = before
            for name in values:
                setting = layers.find(env, name, context_of(env))
                if setting is not None:
                    call_behavior(env, name, setting.value)


def get(
    key: str,
    default: Any = Missing,
    desc: str | None = None,
    *,
    env: EnvironmentState = DEFAULT,
) -> Any:
    """Look up the value of `key` that is in force here.

    Parameters
    ----------
    key
        The name.
    default
        What to return where the name is not set; without it that is an error.
    desc
        What the name means, for the message of that error.
    env
        The environment, by default that of the process.

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
    if key in _COMPUTED:
        return _COMPUTED[key]()
    note_read(env, key)
    setting = layers.find(env, key, context_of(env))
    if setting is not None:
        return setting.value
    if default is not Missing:
        return default
    meaning = f" ({desc})" if desc else ""
    raise KeyError(
        f"{key!r}{meaning} is not set in the environment: call brainir.environ.set({key}=...), "
        f"or run the code inside `with brainir.environ.context({key}=...):`"
    )


def get_dt(*, env: EnvironmentState = DEFAULT) -> Any:
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
    return get("dt", desc="the time step of the simulation", env=env)


def all(*, env: EnvironmentState = DEFAULT) -> dict[str, Any]:
    """Return every value in force, by name; ``precision`` is always among them.

    Examples
    --------
    >>> from brainir import environ
    >>> with environ.context(fit=True):
    ...     environ.all()["fit"]
    True
    """
    return dict(_View(env))


def pop(key: str, default: Any = Missing, *, env: EnvironmentState = DEFAULT) -> Any:
    """Remove a value that was set, and return it.

    Raises
    ------
    ValueError
        If an open context holds the name.
    KeyError
        If it has not been set and there is no `default`.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.set(noise=0.3)
    >>> environ.pop("noise"), environ.pop("noise", None)
    (0.3, None)
    """
    if key in context_of(env):
        raise ValueError(f"{key!r} cannot be removed while an open environ.context(...) holds it")
    setting = env.settings.pop(key, None)
    note_change()
    if setting is not None:
        return setting.value
    if default is not Missing:
        return default
    raise KeyError(f"{key!r} has not been set with brainir.environ.set({key}=...)")


def reset(*, env: EnvironmentState = DEFAULT) -> None:
    """Forget every value that was set and every behavior; open contexts keep what they hold.

    A 64-bit mode of JAX that ``precision`` had switched on is switched off.

    Examples
    --------
    >>> from brainir import environ
    >>> sandbox = environ.EnvironmentState()
    >>> environ.set(dt=0.5, env=sandbox)
    >>> environ.reset(env=sandbox)
    >>> environ.all(env=sandbox)
    {'precision': 32}
    """
    if env is DEFAULT and PRECISION in env.settings:
        jax.config.update("jax_enable_x64", False)
    env.settings.clear()
    env.behaviors.clear()
    note_change()


class _View(Mapping[str, Any]):
    """All values in force, read through :func:`get`, so that a watch notices it."""

    def __init__(self, env: EnvironmentState):
        self._env = env

    def __getitem__(self, key: str) -> Any:
        return get(key, env=self._env)

    def __iter__(self) -> Iterator[str]:
        note_read(self._env, layers.ALL_NAMES)
        return iter(layers.name_set(self._env, context_of(self._env)))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def _check(values: Mapping[str, Any]) -> None:
    if "precision" in values and values["precision"] not in SUPPORTED_PRECISIONS:
        raise ValueError(
            f"precision must be one of {SUPPORTED_PRECISIONS}, got {values['precision']!r}"
        )
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

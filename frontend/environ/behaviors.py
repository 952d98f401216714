"""What is to happen whenever a value of an environment is set."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from .layers import DEFAULT, EnvironmentState

__all__ = ["list_registered_behaviors", "register_default_behavior"]
__all__ += ["call_behavior", "unregister_default_behavior"]


def register_default_behavior(
    key: str,
    behavior: Callable[[Any], None],
    replace_if_exist: bool = False,
    *,
    env: EnvironmentState = DEFAULT,
) -> None:
    """Have a function called with the value of `key` whenever that changes.

    That is at ``set``, on entering a context that holds the name, and on leaving it if a value is
    in force then. What the function raises becomes a ``RuntimeWarning``: the value is set.

    Raises
    ------
    TypeError
        If `behavior` cannot be called.
    ValueError
        If there is one for the name already, unless `replace_if_exist`.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.register_default_behavior("gain", lambda value: print("gain is", value))
    >>> environ.set(gain=2.0)
    gain is 2.0
    >>> environ.unregister_default_behavior("gain"), environ.pop("gain")
    (True, 2.0)
    """
    if not callable(behavior):
        raise TypeError(f"a behavior is a function of the value, got {behavior!r}")
    if key in env.behaviors and not replace_if_exist:
        raise ValueError(
            f"there is a behavior for {key!r} already: pass replace_if_exist=True to replace it"
        )
    env.behaviors[key] = behavior


def unregister_default_behavior(key: str, *, env: EnvironmentState = DEFAULT) -> bool:
    """Forget the function for `key`, and return whether there was one.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.unregister_default_behavior("gain")
    False
    """
    return env.behaviors.pop(key, None) is not None


def list_registered_behaviors(*, env: EnvironmentState = DEFAULT) -> list[str]:
    """Return the names that have a function registered.

    Examples
    --------
    >>> from brainir import environ
    >>> environ.list_registered_behaviors()
    []
    """
    return [*env.behaviors]


def call_behavior(env: EnvironmentState, key: str, value: Any) -> None:
    """Call the function that is registered for a name, if there is one."""
    behavior = env.behaviors.get(key)
    if behavior is None:
        return
    try:
        behavior(value)
    except Exception as error:
        warnings.warn(
            f"the behavior for {key!r} has raised {type(error).__name__}: {error}",
            RuntimeWarning,
            stacklevel=3,
        )

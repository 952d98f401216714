"""The exceptions that users of brainir can catch."""

from __future__ import annotations


class BrainIRError(Exception):
    """The base of brainir's own errors.

    Examples
    --------
    >>> import jax
    >>> import brainir
    >>> total = brainir.ShortTermState(0.0, name="total")
    >>> def add(x):
    ...     total.value += x
    >>> try:
    ...     brainir.transform.vmap(add)(jax.numpy.ones(8))
    ... except brainir.BrainIRError as error:
    ...     print(type(error).__name__)
    BatchAxisError
    """


class TraceContextError(BrainIRError):
    """A State was used where it has no value: after its trace ended, or in a foreign trace.

    Examples
    --------
    >>> import jax
    >>> import brainir
    >>> count = brainir.ShortTermState(jax.numpy.zeros(()), name="count")
    >>> @jax.jit
    ... def step(x):
    ...     count.value = x
    >>> step(1.0)
    Traceback (most recent call last):
        ...
    brainir.frontend.errors.TraceContextError: ShortTermState 'count' would ...
    >>> count.value
    Array(0., dtype=float32)
    """


class IRValidationError(BrainIRError, ValueError):
    """What should be a jaxpr, or a piece of one, is not.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.draw_dot_graph("x + 1")
    Traceback (most recent call last):
        ...
    brainir.frontend.errors.IRValidationError: draw_dot_graph takes a jaxpr, such as ...
    """


class UnsupportedPrimitiveError(BrainIRError, NotImplementedError):
    """A JAX primitive has no Python source.

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> def ask(x):
    ...     return jax.pure_callback(abs, x, x)
    >>> brainir.transform.fn_to_python_code(ask, jax.numpy.ones(()))
    Traceback (most recent call last):
        ...
    brainir.frontend.errors.UnsupportedPrimitiveError: lax_pure_callback of ask cannot be ...
    """


class BatchAxisError(BrainIRError):
    """A State inside ``vmap`` would need a batch axis that nobody declared.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> total = brainir.ShortTermState(jnp.float32(0.0), name="total")
    >>> def add(x):
    ...     total.value += x
    >>> brainir.transform.vmap(add)(jnp.ones(8))
    Traceback (most recent call last):
        ...
    brainir.frontend.errors.BatchAxisError: state @total is written at ...
    """

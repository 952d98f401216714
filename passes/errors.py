"""What passes refuse, beyond graphs that are not well formed."""

from __future__ import annotations

from ..ir import GraphError, Loc, NotDifferentiable, at


class LaneDependentWrite(GraphError):
    """A state without a lane axis was left with a value that differs between the lanes of a vmap.

    Attributes
    ----------
    state : str
        The name of the state.
    loc : Loc or None
        Where it was written.

    Notes
    -----
    Transformations raise it as a `BatchAxisError`.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> import brainir
    >>> total = brainir.ShortTermState(jnp.float32(0.0), name="total")
    >>> def add(x):
    ...     total.value += x
    >>> brainir.transform.vmap(add)(jnp.ones(8))
    Traceback (most recent call last):
        ...
    brainir.frontend.errors.BatchAxisError: state @total is written at ...
    """

    def __init__(self, state: str, loc: Loc | None = None) -> None:
        self.state, self.loc = state, loc
        super().__init__(
            f"state @{state} is written{at(loc)} with a value that differs from lane to lane of a "
            "vmap, but it has room for one value only: declare it in out_states (and in in_states, "
            "if each lane starts from a value of its own), or create it inside the mapped function"
        )


class LaneDependentResult(GraphError):
    """A result was declared to be the same for all lanes of a vmap, and is not.

    Attributes
    ----------
    index : int
        Which result.
    loc : Loc or None
        Where the vmap stands.

    Notes
    -----
    Transformations raise it as a `ValueError`.

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import expand_vmap
    >>> graph = parse('''graph @f(%x: f32[8]) -> (f32[]) {
    ...   %y = vmap (%a: f32[] = %x) {size=8, in_axes=(0,), out_axes=(none,)} do {
    ...     yield %a
    ...   }
    ...   return %y
    ... }''')
    >>> expand_vmap(graph)
    Traceback (most recent call last):
        ...
    brainir.passes.errors.LaneDependentResult: result 0 of the vmap differs ...
    """

    def __init__(self, index: int, loc: Loc | None = None) -> None:
        self.index, self.loc = index, loc
        super().__init__(
            f"result {index} of the vmap{at(loc)} differs from lane to lane, but its out_axes is "
            "None: give it an axis, or return what does not depend on the mapped arguments"
        )


class ReverseOfWhile(NotDifferentiable, ValueError):
    """A gradient was asked through a loop whose number of steps is not known beforehand.

    Attributes
    ----------
    loc : Loc or None
        Where the loop stands.

    Notes
    -----
    Transformations raise it as a `ValueError`.

    Examples
    --------
    >>> import brainir
    >>> def loss(x):
    ...     return brainir.transform.while_loop(lambda y: y < 10, lambda y: y * 2, x)
    >>> brainir.transform.grad(loss)(1.0)
    Traceback (most recent call last):
        ...
    ValueError: reverse-mode differentiation does not work for the while ...
    """

    def __init__(self, loc: Loc | None = None) -> None:
        self.loc = loc
        super().__init__(
            f"reverse-mode differentiation does not work for the while loop{at(loc)}: there is no "
            "bound on what its steps would have to keep. Use for_loop or scan, of as many steps "
            "as there can be, with a cond in each"
        )


class ForwardOfCustomVjp(NotDifferentiable, TypeError):
    """A tangent was pushed into a function that only has a rule for reverse mode.

    Attributes
    ----------
    loc : Loc or None
        Where the function was called.

    Notes
    -----
    Transformations raise it as a `TypeError`.

    Examples
    --------
    >>> import jax
    >>> import brainir
    >>> @jax.custom_vjp
    ... def spike(x):
    ...     return (x > 0).astype("float32")
    >>> spike.defvjp(lambda x: (spike(x), None), lambda kept, cotangent: (cotangent,))
    >>> brainir.transform.jvp(spike, (1.0,), (1.0,))
    Traceback (most recent call last):
        ...
    TypeError: forward-mode differentiation (jvp) does not work for the ...
    """

    def __init__(self, loc: Loc | None = None) -> None:
        self.loc = loc
        super().__init__(
            "forward-mode differentiation (jvp) does not work for the custom_vjp "
            f"function{at(loc)}: it only has a rule for reverse mode. Give it a custom_jvp, or "
            "differentiate in reverse"
        )


class DerivativeOfClosedOver(NotDifferentiable, ValueError):
    """A derivative was asked by a value that a function with rules of its own closes over.

    Attributes
    ----------
    loc : Loc or None
        Where the function was called.

    Notes
    -----
    Transformations raise it as a `ValueError`.

    Examples
    --------
    >>> import jax
    >>> import brainir
    >>> def loss(gain):
    ...     scale = jax.custom_jvp(lambda x: x * gain)
    ...     scale.defjvp(lambda primals, tangents: (primals[0], tangents[0]))
    ...     return scale(1.0)
    >>> brainir.transform.grad(loss)(2.0)
    Traceback (most recent call last):
        ...
    ValueError: the function with a custom derivative at ...
    """

    def __init__(self, loc: Loc | None = None) -> None:
        self.loc = loc
        super().__init__(
            f"the function with a custom derivative{at(loc)} closes over a value, or reads a "
            "State, that is differentiated by. Its rule only says how results depend on "
            "arguments: pass the value as an argument, or stop it with jax.lax.stop_gradient"
        )

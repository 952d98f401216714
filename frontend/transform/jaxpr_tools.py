"""Tools for jaxprs: each imports one into our graph, and gives it back in another form."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax.extend.core as jex

from ...ir import Graph, GraphError, Handler, to_python
from ...passes import PASSES
from ..capture import PREFIX, import_jaxpr, name_of
from ..errors import IRValidationError, UnsupportedPrimitiveError
from ..export import (
    Drawing,
    check_jaxpr,
    inlined,
    jaxpr_of_equations,
    optimizations_of,
    optimized,
)
from .binding import check_callable, check_count
from .jit import jit

# --- simpler jaxprs -------------------------------------------------------------------------------


def optimize_jaxpr(
    jaxpr: Any,
    max_iterations: int = 3,
    optimizations: str | Sequence[str] | None = None,
    verbose: bool = False,
) -> Any:
    """Return a jaxpr that does the same with less; what it tells the host stays.

    Calls of ``jax.jit`` are inlined. Floating-point numbers stay just what they are.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        What to simplify.
    max_iterations : int
        How many rounds there are at most; a round that changes nothing is the last.
    optimizations : str or sequence of str, optional
        Which of ``"constant_fold"``, ``"algebraic_simplification"``, ``"copy_propagation"``,
        ``"cse"`` and ``"dce"``; all of them by default, and for ``"all"``.
    verbose : bool
        Whether to print what each round does.

    Returns
    -------
    Jaxpr or ClosedJaxpr
        The same kind as was given, with the same parameters.

    Raises
    ------
    IRValidationError
        If it is no jaxpr, or the number of rounds is no positive integer.
    ValueError
        If there is no such optimization.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> jaxpr = jax.make_jaxpr(lambda x: jnp.sin(x * 1.0) + jnp.sin(x))(2.0)
    >>> brainir.transform.optimize_jaxpr(jaxpr)
    { lambda ; a:f32[]. let b:f32[] = sin a; c:f32[] = add b b in (c,) }
    """
    check_jaxpr("optimize_jaxpr", jaxpr)
    try:
        check_count("max_iterations", max_iterations, 1)
    except ValueError as error:
        raise IRValidationError(str(error)) from None
    names = optimizations_of(optimizations)
    return optimized(jaxpr, names, max_iterations, print if verbose else None)


def _door(name: str, optimization: str, what: str) -> Callable[[Any], Any]:
    def door(jaxpr: Any) -> Any:
        check_jaxpr(name, jaxpr)
        return optimized(jaxpr, [optimization], 1)

    door.__name__ = door.__qualname__ = name
    door.__doc__ = f"""Return a jaxpr {what}.

    It is `optimize_jaxpr` with ``{optimization!r}`` alone, for one round. Our pass ``simplify``
    folds constants, applies identities and forwards copies at a time, so that three of these
    functions do the same.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        What to simplify; the same kind is returned.

    Raises
    ------
    IRValidationError
        If it is no jaxpr.

    Examples
    --------
    >>> import brainir, jax
    >>> jaxpr = jax.make_jaxpr(lambda x: x + x)(2.0)
    >>> brainir.transform.{name}(jaxpr)
    {{ lambda ; a:f32[]. let b:f32[] = add a a in (b,) }}
    """
    return door


constant_fold = _door("constant_fold", "constant_fold", "in which constants are computed")
algebraic_simplification = _door(
    "algebraic_simplification", "algebraic_simplification", "without operations that change nothing"
)
copy_propagation = _door("copy_propagation", "copy_propagation", "without copies")
common_subexpression_elimination = _door(
    "common_subexpression_elimination", "cse", "that computes nothing twice"
)
dead_code_elimination = _door(
    "dead_code_elimination", "dce", "without what nobody uses; what it tells the host stays"
)


def inline_jit(jaxpr: Any, should_expand: Callable[[Any], bool] | None = None) -> Any:
    """Return a jaxpr in which calls of ``jax.jit`` are inlined.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        The same kind is returned.
    should_expand : callable, optional
        ``should_expand(eqn)`` says which calls; all by default. What stays as it is is not looked
        into.

    Raises
    ------
    IRValidationError
        If it is no jaxpr.

    Examples
    --------
    >>> import brainir, jax
    >>> jaxpr = jax.make_jaxpr(jax.jit(lambda x: x + x))(2.0)
    >>> brainir.transform.inline_jit(jaxpr)
    { lambda ; a:f32[]. let b:f32[] = add a a in (b,) }
    """
    check_jaxpr("inline_jit", jaxpr)
    if should_expand is not None:
        check_callable("should_expand", should_expand)
    return inlined(jaxpr, should_expand or (lambda eqn: True))


def eqns_to_jaxpr(
    eqns: Sequence[Any],
    invars: Sequence[Any] | None = None,
    outvars: Sequence[Any] | None = None,
    constvars: Sequence[Any] | None = None,
) -> jex.Jaxpr:
    """Return an open jaxpr of equations.

    Parameters
    ----------
    eqns : sequence of JaxprEqn
        In an order in which they can be computed.
    invars, outvars, constvars : sequence of Var, optional
        By default, parameters are the variables that no equation defines, in the order of their
        first use, and results those that no equation uses.

    Raises
    ------
    IRValidationError
        If something is no equation, or a variable is used that nothing defines.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> jaxpr = jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(x)))(2.0)
    >>> brainir.transform.eqns_to_jaxpr(jaxpr.eqns[1:])
    { lambda ; a:f32[]. let b:f32[] = cos a in (b,) }
    """
    return jaxpr_of_equations(eqns, invars, outvars, constvars)


def eqns_to_closed_jaxpr(
    eqns: Sequence[Any],
    invars: Sequence[Any] | None = None,
    outvars: Sequence[Any] | None = None,
    constvars: Sequence[Any] | None = None,
    consts: Sequence[Any] | None = None,
) -> jex.ClosedJaxpr:
    """Return a closed jaxpr of equations; see `eqns_to_jaxpr`.

    Parameters
    ----------
    eqns, invars, outvars, constvars
        As for `eqns_to_jaxpr`.
    consts : sequence of arrays, optional
        A value for each of ``constvars``.

    Raises
    ------
    IRValidationError
        As `eqns_to_jaxpr`, and if there are more or fewer ``consts`` than ``constvars``.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> jaxpr = jax.make_jaxpr(lambda x: jnp.cos(jnp.sin(x)))(2.0)
    >>> brainir.transform.eqns_to_closed_jaxpr(jaxpr.eqns[:1])
    { lambda ; a:f32[]. let b:f32[] = sin a in (b,) }
    """
    given, bound = list(consts or ()), list(constvars or ())
    if len(given) != len(bound):
        raise IRValidationError(f"{len(bound)} constvars need as many consts, not {len(given)}")
    return jex.ClosedJaxpr(jaxpr_of_equations(eqns, invars, outvars, bound), given)


# --- Python source --------------------------------------------------------------------------------

_handlers: dict[str, Handler] = {}


def register_prim_handler(prim_name: str, handler: Handler | None) -> None:
    """Let `fn_to_python_code` and `jaxpr_to_python_code` write a primitive in another way.

    Parameters
    ----------
    prim_name : str
        What JAX calls the primitive, such as ``"sin"``.
    handler : callable or None
        ``handler(node, operands)`` gives an expression for a node of our graph, of which the
        operands are texts, or None to leave it to us. None forgets what was registered.

    Raises
    ------
    TypeError
        If the handler is something else.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> brainir.transform.register_prim_handler("sin", lambda node, given: f"jnp.sin({given[0]})")
    >>> "t0 = jnp.sin(x)" in brainir.transform.fn_to_python_code(lambda x: jnp.sin(x), 1.0)
    True
    >>> brainir.transform.register_prim_handler("sin", None)
    """
    for name in (prim_name, PREFIX + prim_name):
        _handlers.pop(name, None)
        if handler is not None:
            check_callable("the handler of a primitive", handler)
            _handlers[name] = handler


def fn_to_python_code(fn: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """Return Python source that computes what a function does, after all our passes.

    It defines a function of the leaves of the arguments and of the States that are touched, which
    returns a tuple of the leaves of the result and of the States that are written. It needs nothing
    but JAX.

    Parameters
    ----------
    fn : callable
        It may read and write States; none is modified.
    *args, **kwargs
        As for the function, or shapes and dtypes.

    Raises
    ------
    UnsupportedPrimitiveError
        If a primitive of JAX cannot be written; see `register_prim_handler`.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> def twice(x):
    ...     return jnp.sin(x) * 2
    >>> print(brainir.transform.fn_to_python_code(twice, 1.0).split("\\n\\n")[-1])
    def twice(x):
        # x: f32[]
        t0 = lax.sin(x)
        t1 = t0 * 2.0
        return (t1,)
    <BLANKLINE>
    """
    return _source(jit(fn).trace(*args, **kwargs).graph(), name_of(fn))


def jaxpr_to_python_code(jaxpr: Any, fn_name: str = "generated_function") -> str:
    """Return Python source that computes what a jaxpr does.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        Its parameters, after the constvars of an open one, are those of the function.
    fn_name : str
        What the function is called.

    Raises
    ------
    IRValidationError
        If it is no jaxpr.
    UnsupportedPrimitiveError
        If a primitive of JAX cannot be written; see `register_prim_handler`.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> jaxpr = jax.make_jaxpr(lambda x: jnp.sin(x))(1.0)
    >>> print(brainir.transform.jaxpr_to_python_code(jaxpr, "f").split("\\n\\n")[-1])
    def f(t0):
        # t0: f32[]
        t1 = lax.sin(t0)
        return (t1,)
    <BLANKLINE>
    """
    check_jaxpr("jaxpr_to_python_code", jaxpr)
    graph = import_jaxpr(jaxpr, fn_name, rules=0)
    return _source(PASSES["forget-derivatives"](graph), fn_name)


def _source(graph: Graph, name: str) -> str:
    try:
        source = to_python(graph, name=name, small=None, handlers=_handlers)
    except GraphError as error:
        raise UnsupportedPrimitiveError(str(error)) from None
    if source.constants:
        names = ", ".join(source.constants)
        raise UnsupportedPrimitiveError(
            f"{names} of {name} cannot be written as Python: give it to register_prim_handler, or "
            "use to_python of the graph, which hands it over beside the text"
        )
    return source.text


# --- drawings -------------------------------------------------------------------------------------


def draw(fn: Callable[..., Any], show_avals: bool = True) -> Callable[..., Drawing]:
    """Return a function that draws what another one does, after all our passes.

    Parameters
    ----------
    fn : callable
        It may read and write States; none is modified.
    show_avals : bool
        Whether arrows show the types of arrays.

    Returns
    -------
    callable
        ``(*args, **kwargs) -> Drawing``.

    Examples
    --------
    >>> import brainir
    >>> print(brainir.transform.draw(lambda x: x + x)(2.0).to_string().splitlines()[0])
    digraph "lambda" {
    """
    check_callable("the function given to draw", fn)
    compiled = jit(fn)

    def drawn(*args: Any, **kwargs: Any) -> Drawing:
        return Drawing.of(compiled.trace(*args, **kwargs).graph(), show_avals)

    return drawn


def draw_dot_graph(jaxpr: Any, show_avals: bool = True) -> Drawing:
    """Return a drawing of a jaxpr.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        What to draw.
    show_avals : bool
        Whether arrows show the types of arrays.

    Raises
    ------
    IRValidationError
        If it is no jaxpr.

    Examples
    --------
    >>> import brainir, jax
    >>> drawing = brainir.transform.draw_dot_graph(jax.make_jaxpr(lambda x: x + x)(2.0))
    >>> "add" in drawing.to_string()
    True
    """
    check_jaxpr("draw_dot_graph", jaxpr)
    return Drawing.of(import_jaxpr(jaxpr, rules=0), show_avals)


def view_pydot(dot_graph: Drawing) -> None:
    """Show a drawing in a notebook.

    Parameters
    ----------
    dot_graph : Drawing
        What `draw` or `draw_dot_graph` gives.

    Raises
    ------
    NotImplementedError
        If IPython or Graphviz is not installed.

    Examples
    --------
    >>> import brainir
    >>> import jax
    >>> drawing = brainir.transform.draw_dot_graph(jax.make_jaxpr(lambda x: x + x)(2.0))
    >>> brainir.transform.view_pydot(drawing)  # doctest: +SKIP
    """
    try:
        from IPython.display import SVG, display  # pyright: ignore[reportMissingImports]
    except ImportError:
        raise NotImplementedError("view_pydot shows drawings in notebooks, by IPython") from None
    display(SVG(dot_graph.create_svg()))

"""`check_transformation`: a transformation means the same compiled and as plain Python."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from ...ir import verify
from ...passes import PIPELINE, run_pipeline
from .. import BatchAxisError, BrainIRError, transform
from .running import broken, try_all
from .stateful_programs import Recipe, Runner, World, has_lanes, kinds_of
from .stateful_programs import programs as any_programs

INPUT = jnp.array([0.3, -0.7, 1.1], jnp.float32)
"""What programs are called with."""

REFUSALS = (BrainIRError, ValueError, TypeError)
"""What brainir raises where a program cannot be compiled."""

ENOUGH = 8
"""Of how many programs of a kind most have to be compared."""

Transformation = Callable[[Callable[..., Any]], Callable[..., Any]]


def check_transformation(
    f: Transformation,
    *,
    programs: st.SearchStrategy[Recipe] | None = None,
    lanes: bool = False,
    gradient: bool = False,
    examples: int | None = None,
) -> None:
    """Check a transformation of functions that read and write States, on random programs.

    What it makes of a program returns the same and leaves the same in States compiled by
    `brainir.transform.jit`, without it, and under ``jax.disable_jit()``, where it is plain Python.
    The graph of it is well formed after every pass.

    Parameters
    ----------
    f : callable
        Takes a function of an array of shape ``(3,)`` that returns one, and returns a function that
        takes such an array.
    programs : hypothesis strategy, optional
        Programs to try; `programs` without more. `gradient_programs` are others.
    lanes : bool
        Whether f runs the program in lanes, so that it may be refused (`BatchAxisError`) where it
        writes a State that all lanes share.
    gradient : bool
        Whether f differentiates the program, so that it may be refused where it has a
        ``while_loop``.
    examples : int, optional
        How many programs to try; as many as the hypothesis profile says by default.

    Raises
    ------
    AssertionError
        If something of that does not hold; the message shows the smallest program, and its graph
        as text. Also if most programs were refused, so that hardly anything was compared.

    Examples
    --------
    >>> import jax.numpy as jnp
    >>> from brainir import transform
    >>> from brainir.testing import check_transformation
    >>> def twice(function):
    ...     return lambda x: transform.for_loop(lambda _: function(x), jnp.arange(2)).sum(0)
    >>> check_transformation(twice, examples=2)
    """
    chosen = any_programs() if programs is None else programs
    seen: dict[tuple[bool, tuple[str, ...]], bool] = {}
    refusals: list[Exception] = []

    def law(data: st.DataObject) -> None:
        recipe = data.draw(chosen)
        key = has_lanes(recipe), kinds_of(recipe)  # many are one program with other numbers
        done = compare(f, recipe, lanes, gradient, refusals)
        seen[key] = seen.get(key, False) or done

    try_all(law, examples)
    for kind in (False, True):
        ran = [done for (has, _), done in seen.items() if has is kind]
        if not any(seen.values()) or (len(ran) >= ENOUGH and 2 * sum(ran) <= len(ran)):
            raise AssertionError(
                f"{sum(ran)} of {len(ran)} kinds of programs {'with' if kind else 'without'} lanes "
                "of their own were compared, the others refused: that says little. The first was "
                f"refused by {type(refusals[0]).__name__}: {refusals[0]}"
            ) from refusals[0]


def compare(
    f: Transformation,
    recipe: Recipe,
    lanes: bool = False,
    gradient: bool = False,
    refusals: list[Exception] | None = None,
) -> bool:
    """Compare what is made of a program in all ways to run it, unless it is refused.

    What refuses it is added to ``refusals``.

    Returns
    -------
    bool
        Whether it was compared; False where it was refused and may be.
    """
    law = "compiled, it gives what plain Python gives"
    try:
        with jax.disable_jit():
            expected, _, left = outcome(recipe, f)
        for wrap in (lambda g: transform.jit(f(g)), f):
            law = "not compiled" if wrap is f else "compiled"
            law += ", it gives what plain Python gives"
            found, before, after = outcome(recipe, wrap)
            if not isinstance(found, Exception):
                if isinstance(expected, Exception):
                    raise expected
                assert_same((expected, left), (found, after))
                continue
            if not (
                _may_be_refused(found, recipe, lanes, gradient) or type(found) is type(expected)
            ):
                raise found
            if wrap is not f:
                law = "what is refused leaves States as they were"
                assert_same(before, after)
        if isinstance(found, Exception):
            (refusals if refusals is not None else []).append(found)
            return False
        law = "its graph is well formed after every pass"
        run_pipeline(_graph(f, recipe), PIPELINE, [lambda step, _, new, s: verify(new, step.form)])
    except Exception as error:
        raise broken(law, error, **_shown(f, recipe)) from error
    return True


def outcome(recipe: Recipe, wrap: Transformation) -> tuple[Any, list[Any], list[Any]]:
    """Return what a program returns or raises, and what States hold before and after it."""
    world = World()
    before = world.values()
    program = wrap(lambda x: Runner(world).block(recipe, [x]))
    try:
        result = program(INPUT)
    except REFUSALS as error:
        return error, before, world.values()
    return result, before, world.values()


def assert_same(one: Any, other: Any) -> None:
    """Compare results and states; keys exactly, floats up to the order of operations."""
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        if jnp.issubdtype(jnp.result_type(a), jax.dtypes.prng_key):
            np.testing.assert_array_equal(jax.random.key_data(a), jax.random.key_data(b))
        else:
            np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


def _may_be_refused(error: Exception, recipe: Recipe, lanes: bool, gradient: bool) -> bool:
    """Whether a program may run as plain Python and be refused by the compiler.

    Plain Python compares what lanes wrote, the compiler what it depends on: lanes may agree by
    chance, and only the compiler refuses them. Nor does plain Python come by everything that a
    batch may not do. And it can go back through a loop of which it has seen every step.
    """
    if "does not work for the while loop" in str(error):
        return (gradient or "'grad'" in str(recipe)) and "'while'" in str(recipe)
    batch = isinstance(error, BatchAxisError) or "map with a batch_size" in str(error)
    return batch and (lanes or has_lanes(recipe))


def _graph(f: Transformation, recipe: Recipe) -> Any:
    traced = transform.jit(f(lambda x: Runner(World()).block(recipe, [x]))).trace(INPUT)
    return traced.graph("capture")


def _shown(f: Transformation, recipe: Recipe) -> dict[str, Any]:
    """Return what to show of a program: its recipe, and its graph if it has one."""
    try:
        graph = _graph(f, recipe)
    except Exception as error:
        graph = f"cannot be captured: {error}"
    statements, result = recipe
    program = [*statements, ("return", result)]
    return {"the program": program, "the graph": graph}

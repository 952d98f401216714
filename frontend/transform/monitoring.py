"""`monitored_for_loop`: a loop that Python looks at now and then, to watch, save or stop it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..capture import current_frame
from ..state import in_foreign_trace
from .binding import check_callable, check_count, leading_length
from .jit import jit
from .loops import for_loop
from .progress import ProgressBar, as_progress_bar


def monitored_for_loop(
    f: Callable[..., Any],
    *xs: Any,
    every: int,
    callback: Callable[[int, Any], Any] | None = None,
    length: int | None = None,
    reverse: bool = False,
    pbar: ProgressBar | int | None = None,
) -> Any:
    """As `for_loop`, but Python has a look after every so many steps.

    The steps between two looks are one compiled program, the same for all of them, which nothing
    is added to: neither a callback nor a progress bar. When Python has its look, States have the
    values of that step. They can be read, saved and assigned to. If the loop is interrupted, by
    Ctrl-C or by an error of the callback, they keep the values of the last look.

    Parameters
    ----------
    f, xs, length, reverse
        As for `for_loop`.
    every : int
        After how many steps Python has a look; the last time after the last step.
    callback : callable, optional
        ``callback(done, ys)``: how many steps are done, and what ``f`` returned since the last
        look, stacked. If it returns something true, the loop ends.
    pbar : ProgressBar or int, optional
        A progress bar; it is drawn when Python has its look, not more often.

    Returns
    -------
    pytree
        What ``f`` returned, for all steps that were done.

    Raises
    ------
    RuntimeError
        If it stands in a compiled function, where no Python runs between steps.
    ValueError
        As for `for_loop`, or if there is no step, or ``every`` is not a positive Python integer.
    TypeError
        As for `for_loop`, or if ``callback`` is not callable.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp
    >>> total = brainir.ShortTermState(jnp.float32(0))
    >>> def step(x):
    ...     total.value += x
    ...     return total.value
    >>> def look(done, ys):
    ...     print(done, "steps:", total.value)
    ...     return total.value > 10
    >>> ys = brainir.transform.monitored_for_loop(step, jnp.arange(100.0), every=3, callback=look)
    3 steps: 3.0
    6 steps: 15.0
    >>> ys.shape
    (6,)
    """
    what = "monitored_for_loop"
    check_callable(f"the body of {what}", f)
    check_count(f"every of {what}", every, 1)
    if callback is not None:
        check_callable(f"the callback of {what}", callback)
    if current_frame() is not None or in_foreign_trace():
        raise RuntimeError(
            f"{what} stands in a compiled function, where no Python runs between steps: call it "
            "outside, or use for_loop with pbar or jax.debug.callback"
        )
    steps = leading_length(what, xs, length)
    check_count(f"the number of steps of {what}", steps, 1)
    bar = as_progress_bar(pbar, steps)
    xs = jax.tree.map(jnp.asarray, xs)

    @functools.partial(jit, static_argnums=0)
    def block(count: int, start: Any, xs: tuple[Any, ...]) -> Any:
        def cut(x: Any) -> Any:
            return jax.lax.dynamic_slice_in_dim(x, start, count)

        # The number beside them tells when all is done where ``f`` returns nothing.
        ys = for_loop(f, *jax.tree.map(cut, xs), length=count, reverse=reverse)
        return ys, start + count

    def run(tick: Callable[[int, Any, Any], None]) -> Any:
        parts: list[Any] = []
        for before in range(0, steps, every):
            done = min(before + every, steps)
            start = steps - done if reverse else before
            ys, _ = jax.block_until_ready(block(done - before, np.int32(start), xs))
            parts.append(ys)
            tick(done, None, jax.tree.map(lambda y: y[0 if reverse else -1], ys))
            if callback is not None and bool(callback(done, ys)):
                break
        parts = parts[::-1] if reverse else parts
        return jax.tree.map(lambda *leaves: jnp.concatenate(leaves), *parts)

    if bar is None:
        return run(lambda done, carry, y: None)
    with bar.open(steps) as tick:
        return run(tick)

"""Progress bars for loops, drawn from inside compiled code."""

from __future__ import annotations

import functools
import itertools
import math
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from . import plain
from .branches import cond

Describe = tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]


class ProgressBar:
    """How a loop shows its progress.

    A loop with a bar costs next to nothing where the number of steps is a multiple of those between
    updates: it then goes over blocks of steps, between which the bar is drawn.

    Parameters
    ----------
    freq : int, optional
        After how many steps to update; a twentieth of all steps if neither is given.
    count : int, optional
        How often to update in all.
    desc : str or (str, callable), optional
        What stands before the bar; as a pair, a format string and a function from
        ``{"i": step, "carry": carry, "y": y}`` to a dict of what is filled in. In compiled code it
        is traced: ``y`` is what the step returns, ``carry`` what `scan` carries on, None elsewhere.
    **tqdm_options
        Handed to ``tqdm.auto.tqdm``, which draws the bar where it is installed.

    Raises
    ------
    ValueError
        If ``freq`` or ``count`` is not positive, or both are given, or ``desc`` is no pair.
    TypeError
        If ``desc`` is neither of the two.

    Examples
    --------
    >>> import brainir
    >>> brainir.transform.ProgressBar(freq=1000, desc="simulating")
    ProgressBar(freq=1000)
    """

    def __init__(
        self,
        freq: int | None = None,
        count: int | None = None,
        desc: str | Describe | None = None,
        **tqdm_options: Any,
    ) -> None:
        if freq is not None and count is not None:
            raise ValueError("give a progress bar freq or count, not both")
        for name, number in (("freq", freq), ("count", count)):
            whole = isinstance(number, int | np.integer)
            if number is not None and (not whole or number <= 0):
                raise ValueError(f"{name} of a progress bar is a positive integer, not {number!r}")
        self.freq = None if freq is None else int(freq)
        self.count = None if count is None else int(count)
        self.desc = _checked_desc(desc)
        dropped = ("total", "mininterval", "maxinterval", "miniters")
        self.options = {k: v for k, v in tqdm_options.items() if k not in dropped}

    def __repr__(self) -> str:
        given = f"freq={self.freq}" if self.count is None else f"count={self.count}"
        return f"ProgressBar({given})"

    def every(self, length: int) -> int:
        """Return after how many steps to update.

        Raises
        ------
        ValueError
            If that is more than there are.
        """
        for name, number in (("freq", self.freq), ("count", self.count)):
            if number is not None and number > length:
                raise ValueError(f"{name}={number} of a progress bar exceeds the {length} steps")
        if self.freq is not None:
            return self.freq
        return max(1, length // (self.count or 20))

    def fill(self, i: Any, carry: Any, y: Any) -> dict[str, Any]:
        """Return what is filled in after step ``i``; nothing if it is described by a string.

        Raises
        ------
        TypeError
            If the function returns no dict.
        """
        if self.desc is None or isinstance(self.desc, str):
            return {}
        filled = self.desc[1]({"i": i, "carry": carry, "y": y})
        if not isinstance(filled, dict):
            raise TypeError(f"the function of a progress bar returns a dict, not {filled!r}")
        return filled

    def text(self, length: int, filled: Mapping[str, Any]) -> str:
        """Return what stands before the bar."""
        if self.desc is None or isinstance(self.desc, str):
            return self.desc or f"Running for {length:,} steps"
        return self.desc[0].format(**filled)

    @contextmanager
    def open(self, length: int) -> Iterator[Callable[[int, Any, Any], None]]:
        """Draw a bar for the length of a block, in which it is told of steps done."""
        shown, every = _Shown(self, length), self.every(length)

        def tick(done: int, carry: Any, y: Any) -> None:
            if done // every > shown.done // every or done == length:
                shown.reach(done, self.fill(done - 1, carry, y))

        try:
            yield tick
        finally:
            shown.close()


def _checked_desc(desc: Any) -> Any:
    if desc is None or isinstance(desc, str):
        return desc
    if not isinstance(desc, tuple | list):
        raise TypeError(
            f"desc of a progress bar is a string, or a (format, function) pair, not {desc!r}"
        )
    if len(desc) != 2:
        raise ValueError(f"desc of a progress bar is a (format, function) pair, not {desc!r}")
    if not isinstance(desc[0], str) or not callable(desc[1]):
        raise TypeError(f"desc of a progress bar is a (format, function) pair, not {desc!r}")
    form, fill = desc
    return form, fill


def as_progress_bar(pbar: Any, length: int) -> ProgressBar | None:
    """Return the bar that an argument asks for, checked against the number of steps.

    A loop without steps has none.

    Raises
    ------
    TypeError
        If it is neither a bar nor a number.
    """
    if pbar is None:
        return None
    if isinstance(pbar, int | np.integer):
        pbar = ProgressBar(freq=int(pbar))
    if not isinstance(pbar, ProgressBar):
        raise TypeError(f"pbar is a ProgressBar or a number of steps, not {pbar!r}")
    if not length:
        return None
    pbar.every(length)
    return pbar


# --- inside compiled code -------------------------------------------------------------------------


BLOCK = 16
"""Blocks of fewer steps are not worth a loop of their own."""


class Run:
    """A loop with a bar, in a program that may run many times.

    What differs from one such loop to the next is data: the program of another finds what was
    compiled for it again.

    A step that may draw is no step like others: such a loop is no kernel. So the loop goes over
    blocks of ``size`` steps, inside of which nothing is drawn, where the steps between updates can
    be had in blocks.
    """

    def __init__(self, bar: ProgressBar, length: int, reverse: bool, whole: bool = False) -> None:
        self.bar, self.length, self.reverse = bar, length, reverse
        self._updates = -(-length // bar.every(length))
        block = math.gcd(bar.every(length), length)
        self.size = 1 if whole or block < BLOCK else block
        self._number = _runs.start(self)
        self._filled: tuple[Any, list[Any]] = jax.tree.structure({}), []
        self._shown: _Shown | None = None
        self._seen: set[int] = set()
        self._last = 0

    def over(self, xs: Any) -> tuple[Any, Any, Any]:
        """Return what the loop iterates over, with the number of a last step and of this run."""
        ends = np.arange(1, self.length + 1, dtype=np.int32).reshape(-1, self.size)
        ends = ends[:, 0 if self.reverse else -1]
        if self.size > 1:
            xs = jax.tree.map(lambda x: x.reshape(len(ends), self.size, *x.shape[1:]), xs)
        return xs, ends, np.full(len(ends), self._number, np.int32)

    def of_all(self, ys: Any) -> Any:
        """Return the results of all steps, of those of the loop over what `over` returns."""
        if self.size == 1:
            return ys
        return jax.tree.map(lambda y: y.reshape(self.length, *y.shape[2:]), ys)

    def around_step(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step of `for_loop` that draws progress, over what `over` returns."""

        @functools.wraps(f, updated=())
        def step(slices: Any, i: Any, run: Any) -> Any:
            y = f(*slices)
            self._tick(i, run, None, y)
            return y

        return step

    def around_scan(self, f: Callable[..., Any]) -> Callable[..., Any]:
        """Return a step of `scan` that draws progress, over what `over` returns."""

        @functools.wraps(f, updated=())
        def step(carry: Any, over: tuple[Any, Any, Any]) -> Any:
            x, i, run = over
            pair = plain.check_pair(f(carry, x))
            self._tick(i, run, *pair)
            return pair

        return step

    def _tick(self, i: Any, run: Any, carry: Any, y: Any) -> None:
        done = self.length + 1 - i if self.reverse else i
        due = jnp.logical_or(done % self.bar.every(self.length) == 0, done == self.length)

        def draw() -> None:
            filled, tree = jax.tree.flatten(self.bar.fill(done - 1, carry, self._last_of(y)))
            traced = [isinstance(leaf, Tracer) for leaf in filled]
            arrays = [jax.lax.stop_gradient(x) for x, t in zip(filled, traced, strict=True) if t]
            known = [_HOLE if t else x for x, t in zip(filled, traced, strict=True)]
            self._filled = tree, known
            types = tuple((x.shape, x.dtype) for x in arrays)
            _draw_program(types)(run, done, jnp.int32(self.length), *arrays)

        cond(due, draw, lambda: None)

    def _last_of(self, y: Any) -> Any:
        """Return what the last step of a block returned."""
        if self.size == 1:
            return y
        return jax.tree.map(lambda ys: ys[0 if self.reverse else -1], y)

    def reach(self, done: int, values: Sequence[Any]) -> None:
        """Show that so many steps are done; called while the program runs.

        In lanes it is called for each of them, one after the other. The order of steps is not
        certain, since XLA may put what does not depend on each other into any order.
        """
        if done == self._last and self._updates > 1:
            return  # another lane
        self._last = done
        if self._shown is None or done in self._seen:
            if self._shown is not None:
                self._shown.close()  # that run came to no end
            self._shown, self._seen = _Shown(self.bar, self.length), set()
        self._seen.add(done)
        ends = len(self._seen) == self._updates
        reached = self.length if ends else max(self._seen - {self.length}, default=0)
        tree, known = self._filled
        rest = iter(values)
        leaves = [np.asarray(next(rest))[()] if x is _HOLE else x for x in known]
        if reached > self._shown.done:
            self._shown.reach(reached, jax.tree.unflatten(tree, leaves))
        if ends:
            self._shown = None


_HOLE: Any = object()
"""Stands for an array among what is filled in."""


class _Shown:
    """One bar on the screen; drawn by tqdm where that is installed."""

    def __init__(self, bar: ProgressBar, length: int) -> None:
        self.bar, self.length, self.done = bar, length, 0
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = _TextBar
        first = "" if isinstance(bar.desc, tuple) else bar.text(length, {})
        self._drawn: Any = tqdm(total=length, desc=first, **bar.options)

    def reach(self, done: int, filled: Mapping[str, Any]) -> None:
        """Show that so many steps are done."""
        if isinstance(self.bar.desc, tuple):
            self._drawn.set_description(self.bar.text(self.length, filled), refresh=False)
        self._drawn.update(done - self.done)
        self.done = done
        if done >= self.length:
            self.close()

    def close(self) -> None:
        """End the bar."""
        if self._drawn is not None:
            self._drawn.close()
            self._drawn = None


class _TextBar:
    """What is shown where tqdm is not installed: a line of text that grows."""

    def __init__(self, total: int, desc: str, **_: Any) -> None:
        self.total, self.desc, self.n = total, desc, 0

    def set_description(self, desc: str, refresh: bool = True) -> None:
        """Change what stands before the bar."""
        self.desc = desc

    def update(self, steps: int) -> None:
        """Draw the line again."""
        self.n += steps
        print(f"\r{self.desc}: {100 * self.n // max(self.total, 1)}%", end="", file=sys.stderr)

    def close(self) -> None:
        """End the line."""
        print(file=sys.stderr)


class _Runs:
    """The loops with bars, by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._runs: dict[int, Run] = {}

    def start(self, run: Run) -> int:
        """Return a number for a run."""
        with self._lock:
            number = next(self._numbers) % (2**31)
            self._runs[number] = run
            return number

    def reach(self, number: int, done: int, values: Sequence[Any]) -> None:
        """Draw the progress of a run."""
        with self._lock:
            if number in self._runs:
                self._runs[number].reach(done, values)


_runs = _Runs()


@functools.cache
def _draw_program(types: tuple[tuple[tuple[int, ...], Any], ...]) -> Callable[..., Any]:
    """Return what calls `_draw` from compiled code: one thing for ever, so graphs stay equal."""
    number = jax.ShapeDtypeStruct((), np.int32)
    values = [jax.ShapeDtypeStruct(*type) for type in types]
    closed = jax.make_jaxpr(lambda *args: jax.debug.callback(_draw, *args))(*[number] * 3, *values)
    return jex.jaxpr_as_fun(closed)


def _draw(run: Any, done: Any, length: Any, *values: Any) -> None:
    """Draw progress; called from compiled code."""
    _runs.reach(int(run), int(done), values)

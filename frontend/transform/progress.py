"""Progress bars for loops, drawn from inside compiled code."""

from __future__ import annotations

import functools
import itertools
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import jax
import jax.extend.core as jex
import jax.numpy as jnp
import numpy as np

Describe = tuple[str, Callable[[Mapping[str, Any]], Mapping[str, Any]]]


class ProgressBar:
    """How a loop shows its progress.

    Parameters
    ----------
    freq : int, optional
        After how many steps to update; a twentieth of all steps if neither is given.
    count : int, optional
        How often to update in all.
    desc : str or (str, callable), optional
        What stands before the bar; as a pair, a format string and a function from
        ``{"i": step}`` to what is filled in.
    **tqdm_options
        Handed to ``tqdm.auto.tqdm``, which draws the bar where it is installed.

    Raises
    ------
    ValueError
        If ``freq`` or ``count`` is not positive, or both are given.
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
            if number is not None and (not isinstance(number, int) or number <= 0):
                raise ValueError(f"{name} of a progress bar is a positive integer, not {number!r}")
        if desc is not None and not isinstance(desc, str):
            pair = isinstance(desc, tuple) and len(desc) == 2
            if not pair or not isinstance(desc[0], str) or not callable(desc[1]):
                raise TypeError("desc of a progress bar is a string, or a (format, function) pair")
        self.freq, self.count, self.desc = freq, count, desc
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

    def text(self, i: int) -> str:
        """Return what stands before the bar."""
        if self.desc is None or isinstance(self.desc, str):
            return self.desc or f"Running for {i:,} steps"
        form, fill = self.desc
        filled = fill({"i": i})
        if not isinstance(filled, dict):
            raise TypeError(f"the function of a progress bar returns a dict, not {filled!r}")
        return form.format(**filled)

    @contextmanager
    def open(self, length: int) -> Iterator[_Shown]:
        """Draw a bar for the length of a block."""
        shown = _Shown(self, length)
        try:
            yield shown
        finally:
            shown.close()

    # --- inside compiled code ---------------------------------------------------------------------

    def with_run(self, over: tuple[Any, ...], length: int) -> tuple[Any, ...]:
        """Return what a loop iterates over, with the number of each step and of this run beside it.

        The number of the run is data, so that the next run finds the compiled loop again.
        """
        run = _runs.start(self)
        return (*over, np.arange(1, length + 1, dtype=np.int32), np.full(length, run, np.int32))

    def around_step(self, f: Callable[..., Any], length: int, reverse: bool) -> Callable[..., Any]:
        """Return a step of `for_loop` that draws progress, over what `with_run` returns."""

        @functools.wraps(f, updated=())
        def step(*over: Any) -> Any:
            *slices, i, run = over
            out = f(*slices)
            self._tick(i, run, length, reverse)
            return out

        return step

    def around_scan(self, f: Callable[..., Any], length: int, reverse: bool) -> Callable[..., Any]:
        """Return a step of `scan` that draws progress."""

        @functools.wraps(f, updated=())
        def step(carry: Any, x: Any, run: tuple[Any, Any]) -> Any:
            out = f(carry, x)
            self._tick(*run, length, reverse)
            return out

        return step

    def _tick(self, i: Any, run: Any, length: int, reverse: bool) -> None:
        from .branches import cond

        done = length + 1 - i if reverse else i
        every = self.every(length)
        due = jnp.logical_or(done % every == 0, done == length)

        def draw() -> None:
            _draw_program()(run, done, jnp.int32(length))

        cond(due, draw, lambda: None)


def as_progress_bar(pbar: Any, length: int) -> ProgressBar | None:
    """Return the bar that an argument asks for, checked against the number of steps.

    Raises
    ------
    TypeError
        If it is neither a bar nor a number.
    """
    if pbar is None:
        return None
    if isinstance(pbar, int):
        pbar = ProgressBar(freq=int(pbar))
    if not isinstance(pbar, ProgressBar):
        raise TypeError(f"pbar is a ProgressBar or a number of steps, not {pbar!r}")
    if length:
        pbar.every(length)
    return pbar


class _Shown:
    """One bar on the screen; drawn by tqdm where that is installed."""

    def __init__(self, bar: ProgressBar, length: int) -> None:
        self.bar, self.length, self.done = bar, length, 0
        try:
            from tqdm.auto import tqdm
        except ImportError:
            tqdm = _TextBar
        self._drawn: Any = tqdm(total=length, desc=bar.text(length), **bar.options)

    def reach(self, done: int) -> None:
        """Show that so many steps are done."""
        if self._drawn is None or done <= self.done:
            return
        if self.bar.desc is not None and not isinstance(self.bar.desc, str):
            self._drawn.set_description(self.bar.text(done), refresh=False)
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
    """The bars of loops that are running, by number."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._bars: dict[int, ProgressBar] = {}
        self._shown: dict[int, _Shown] = {}

    def start(self, bar: ProgressBar) -> int:
        """Return a number for a run with that bar."""
        with self._lock:
            number = next(self._numbers) % (2**31)
            self._bars[number] = bar
            return number

    def reach(self, number: int, done: int, length: int) -> None:
        """Draw the progress of a run, and start again when it starts again."""
        with self._lock:
            bar = self._bars.get(number)
            if bar is None:
                return
            shown = self._shown.get(number)
            if shown is None or done < shown.done:
                shown = self._shown[number] = _Shown(bar, length)
            shown.reach(done)
            if done >= length:
                del self._shown[number]


_runs = _Runs()


@functools.cache
def _draw_program() -> Callable[..., Any]:
    """Return what calls `_draw` from compiled code: one thing for ever, so graphs stay equal."""
    number = jax.ShapeDtypeStruct((), np.int32)
    closed = jax.make_jaxpr(lambda *args: jax.debug.callback(_draw, *args))(number, number, number)
    return jex.jaxpr_as_fun(closed)


def _draw(run: Any, done: Any, length: Any) -> None:
    """Draw progress; called from compiled code, with arrays when it runs in many lanes."""
    _runs.reach(int(np.max(run)), int(np.max(done)), int(np.max(length)))

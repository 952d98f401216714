"""Running a function once on real States: all of them get their new values, or none."""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from typing import Any, cast

import jax

from ..capture import Handle, current_frame, merge, reject_states
from ..state import State, recorders, telling_hooks
from .executables import find_runnable
from .programs import Program, capture, strong


def run_once(function: Callable[..., Any], *args: Any, name: str) -> Any:
    """Capture a function, run it, and give its States their new values.

    Nothing is written before everything has succeeded.
    """
    program = capture(function, args, name)
    pairs = zip(jax.tree.leaves(args), program.in_avals, strict=True)
    given = [strong(leaf, aval) for leaf, aval in pairs]
    runnable = find_runnable(program)
    compiled = runnable.compiled
    tell_recorders(program, compiled.written)
    outs = runnable.run(*given, *program.state_leaves(), *program.consts(compiled.consts))
    if runnable.waits:
        jax.block_until_ready(outs)
    count = len(program.out_avals)
    result = jax.tree.unflatten(program.out_tree, outs[:count])
    values = program.checked(program.written_values(compiled.written, outs[count:]))
    give_back(values, program.foreign, program.changed_in_place())
    return result


def give_back(
    values: Sequence[tuple[Handle, Any]], foreign: bool, in_place: Container[Handle] = ()
) -> None:
    """Give States their new values, after all of them are known to be acceptable.

    Those ``in_place`` keep their containers, so that whoever holds one sees what was changed.
    """
    pairs = [(cast(State[Any], handle.state), value) for handle, value in values]
    if foreign:
        for state, value in pairs:
            state.check_writable(value)
    with telling_hooks(pairs):
        for state, value in pairs:
            state.accept(merge(state.peek(), value) if state.handle in in_place else value)


def tell_recorders(program: Program, written: Sequence[int]) -> None:
    """Tell who records what Python does to States of those that a program touches."""
    if not recorders():
        return
    final = {program.slots[i].handle for i in written if program.slots[i].final}
    for slot in program.slots:
        for recorder in recorders():
            recorder.touch(cast(State[Any], slot.handle.state), slot.handle in final)


def in_capture(function: Callable[..., Any], *args: Any, name: str) -> Any:
    """Run what binds a region, in the capture under way or in one of its own."""
    if current_frame() is not None:
        reject_states(f"an argument of {name}", args)
        return function(*args)
    return run_once(function, *args, name=name)

"""Statements of random programs with statements inside: loops, branches, calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from .program_expressions import Local, Recipe, Statement, evaluate, plain, positive, rows

if TYPE_CHECKING:
    from .stateful_programs import Runner

INDICES = ("int8", "uint8", "int16", "uint16", "int32", "uint32")


def for_loop(runner: Runner, local: Local, length: int, reverse: bool, block: Recipe) -> Any:
    """Run statements for each row."""
    run = runner.inside(block, local)
    return runner.transform.for_loop(run, rows(length), reverse=reverse).sum(0)


def checkpointed(runner: Runner, local: Local, length: int, block: Recipe) -> Any:
    """Run statements for each row, in blocks that are run again for derivatives."""
    run = runner.inside(block, local)
    return runner.transform.checkpointed_for_loop(run, rows(length), base=2).sum(0)


def scan(runner: Runner, local: Local, length: int, block: Recipe) -> Any:
    """Hand a value round a number of times."""
    carry, ys = runner.transform.scan(carrying(runner, block, local), local[-1], None, length)
    return carry + ys[0]


def checkpointed_scan(runner: Runner, local: Local, length: int, block: Recipe) -> Any:
    """Hand a value round for each row, in blocks that are run again for derivatives."""
    step = carrying(runner, block, local)
    carry, ys = runner.transform.checkpointed_scan(step, local[-1], rows(length), base=2)
    return carry + ys[-1]


def carrying(runner: Runner, block: Recipe, local: Local) -> Any:
    """Return a step of a scan: what it is given, with what it scans over, goes into a block."""

    def step(carry: Any, x: Any) -> Any:
        new = jnp.tanh(runner.block(block, [*local, carry if x is None else carry + x]))
        return new, carry

    return step


def while_loop(runner: Runner, local: Local, times: int, block: Recipe) -> Any:
    """Run statements while a counter is small."""
    loop, (step, start) = runner.transform.while_loop, counting(runner, block, local)
    return loop(lambda c: c[0] < times, step, start)[1]


def bounded(runner: Runner, local: Local, times: int, block: Recipe) -> Any:
    """Run statements while a counter is small, three times at most."""
    loop, (step, start) = runner.transform.bounded_while_loop, counting(runner, block, local)
    return loop(lambda c: c[0] < times, step, start, max_steps=3, base=2)[1]


def until(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Run statements while a State has a small sum, three times at most."""
    (step, start), state = counting(runner, block, local), runner.states[i]

    def going(carry: Any) -> Any:
        return (carry[0] < 3) & ~positive(plain(state.value) - 0.2 * carry[0].astype(jnp.float32))

    return runner.transform.while_loop(going, step, start)[1]


def counting(runner: Runner, block: Recipe, local: Local) -> Any:
    """Return a step that counts and runs a block, and what it starts from."""

    def step(carry: Any) -> Any:
        i, x = carry
        return i + 1, jnp.tanh(runner.block(block, [*local, x]))

    return step, (jnp.int32(0), local[-1])


def cond(runner: Runner, local: Local, test: Recipe, yes: Recipe, no: Recipe) -> Any:
    """Run one of two blocks."""
    run = [runner.inside(block, local) for block in (yes, no)]
    return runner.transform.cond(positive(evaluate(runner, test, local)), *run, local[-1])


def ifelse(runner: Runner, local: Local, test: Recipe, yes: Recipe, no: Recipe) -> Any:
    """Run the block whose condition holds."""
    holds = positive(evaluate(runner, test, local))
    run = [lambda branch=branch: runner.block(branch, local) for branch in (yes, no)]
    return runner.transform.ifelse([holds, ~holds], run)


def switch(runner: Runner, local: Local, index: int, *branches: Recipe) -> Any:
    """Run the block that the count says."""
    run = [lambda branch=branch: runner.block(branch, local) for branch in branches]
    return runner.transform.switch(jnp.int32(index) + runner.world.count.value % 2, run)


def switch_by(runner: Runner, local: Local, dtype: str, index: int, *branches: Recipe) -> Any:
    """Run the block of a number of some integer type."""
    run = [lambda branch=branch: runner.block(branch, local) for branch in branches]
    by = jnp.asarray(np.array(index).astype(dtype))
    return runner.transform.switch(by + runner.world.count.value.astype(dtype) % 2, run)


def jit(runner: Runner, local: Local, block: Recipe) -> Any:
    """Call a compiled function."""
    return runner.transform.jit(runner.inside(block, local))(local[-1])


def checkpoint(runner: Runner, local: Local, block: Recipe) -> Any:
    """Call a function that is run again for its derivatives."""
    return runner.transform.checkpoint(runner.inside(block, local))(local[-1])


def new(runner: Runner, local: Local, first: Recipe, block: Recipe) -> Any:
    """Put a State that is created here in the place of another one."""
    state = runner.library.ShortTermState(evaluate(runner, first, local))
    return runner.instead(0, state, lambda: runner.block(block, local))


def hold(runner: Runner, local: Local, block: Recipe) -> Any:
    """Change a dictionary that was got hold of before other statements ran."""
    held = runner.world.box.value
    held["v"] = held["v"] * 0.5
    runner.block(block, local)
    held["deep"][0] = held["deep"][0] * 0.5 + held["v"]
    return runner.world.box.value["deep"][0]


def kept(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Run statements on a State that outlives them in a list of results."""
    state = runner.states[i]

    def step(x: Any) -> Any:
        y = runner.block(block, [*local, x])
        return {"y": y, "state": (state.value, positive(y))}

    seen = runner.transform.for_loop(step, jnp.stack([local[-1], -local[-1]]))
    held, was_positive = seen["state"]
    return jnp.where(was_positive[-1], plain(held)[0], seen["y"][-1])


CONTROL: dict[str, Statement] = {
    "for_loop": Statement(for_loop, lambda p: (st.integers(1, 3), st.booleans(), p.inner)),
    "checkpointed": Statement(checkpointed, lambda p: (st.integers(1, 5), p.inner)),
    "scan": Statement(scan, lambda p: (st.integers(1, 3), p.inner)),
    "checkpointed_scan": Statement(checkpointed_scan, lambda p: (st.integers(1, 5), p.inner)),
    "while": Statement(while_loop, lambda p: (st.integers(0, 3), p.inner)),
    "bounded": Statement(bounded, lambda p: (st.integers(0, 4), p.inner)),
    "until": Statement(until, lambda p: (p.state, p.inner)),
    "cond": Statement(cond, lambda p: (p.expression, p.inner, p.inner)),
    "ifelse": Statement(ifelse, lambda p: (p.expression, p.inner, p.inner)),
    "switch": Statement(switch, lambda p: (st.integers(-1, 3), p.inner, p.inner, p.inner)),
    "switch_by": Statement(
        switch_by,
        lambda p: (st.sampled_from(INDICES), st.integers(-1, 300), p.inner, p.inner),
    ),
    "jit": Statement(jit, lambda p: (p.inner,)),
    "checkpoint": Statement(checkpoint, lambda p: (p.inner,)),
    "new": Statement(new, lambda p: (p.expression, p.inner)),
    "hold": Statement(hold, lambda p: (p.inner,)),
    "kept": Statement(kept, lambda p: (p.state, p.inner)),
}

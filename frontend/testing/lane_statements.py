"""Statements of random programs that run others in lanes, or in batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import brainunit as u
import jax.numpy as jnp
from hypothesis import strategies as st

from .program_expressions import Local, Parts, Recipe, Statement, plain, rows

if TYPE_CHECKING:
    from .stateful_programs import Runner

POLICIES = ("auto", "raise", "ignore")


def vmap(runner: Runner, local: Local, lanes: int, block: Recipe) -> Any:
    """Run statements in lanes that share all States."""
    return runner.transform.vmap(runner.inside(block, local))(rows(lanes)).mean(0)


def lanes(runner: Runner, local: Local, i: int, block: Recipe) -> Any:
    """Work on a State that holds a value for each of two lanes."""
    batched = two_of(runner, i)
    out = runner.instead(
        i,
        batched,
        lambda: runner.transform.vmap(runner.inside(block, local), in_axes=None, in_states=batched)(
            local[-1]
        ),
    )
    runner.states[i].value = batched.value[1]
    return out[0]


def mapped(
    runner: Runner, local: Local, i: int, axis: int, out: bool, policy: str, block: Recipe
) -> Any:
    """Work on a State that a filter says holds a value for each of two lanes, along an axis."""
    batched = two_of(runner, i, axis)
    declared = {axis: [batched]}
    run = runner.transform.vmap2(
        runner.inside(block, local),
        in_axes=None,
        state_in_axes=declared,
        state_out_axes=declared if out else None,
        unexpected_out_state_mapping=policy,
    )
    ys = runner.instead(i, batched, lambda: run(local[-1]))
    runner.states[i].value = batched.value[0] if axis == 0 else batched.value[:, 0]
    return ys[1]


def two_of(runner: Runner, i: int, axis: int = 0) -> Any:
    """Return a State that holds what another one does, and its opposite."""
    value = runner.states[i].value
    return runner.library.HiddenState(u.math.stack([value, -value], axis=axis))


def new_lanes(runner: Runner, local: Local, size: int, block: Recipe) -> Any:
    """Let each lane create a State, and work on it; afterwards one State holds all of them."""
    made: list[Any] = []

    def lane(x: Any) -> Any:
        made.append(runner.library.ShortTermState(x * 0.5))
        return runner.instead(1, made[-1], lambda: runner.block(block, [*local, x]))

    out = runner.transform.vmap_new_states(lane, axis_size=size)(rows(size))
    return out.sum(0) + plain(made[-1].value).reshape(size, -1).mean(0)


def new_module(runner: Runner, local: Local, size: int, block: Recipe) -> Any:
    """Make the States of a module once for each lane, and work on them there."""
    library = runner.library

    class Cell(library.nn.Module):
        def init_state(self, scale: float) -> None:
            self.noise = library.HiddenState(library.random.uniform(-scale, scale, (3,)))

    cell = Cell()
    axes = runner.transform.vmap2_new_states(cell, {"scale": 0.5}, axis_size=size)
    run = runner.transform.vmap2(
        runner.inside(block, local), state_in_axes=axes, unexpected_out_state_mapping="ignore"
    )
    ys = runner.instead(2, cell.noise, lambda: run(rows(size)))
    return ys.sum(0) + jnp.tanh(cell.noise.value).sum(0)


def in_batches(runner: Runner, local: Local, batch_size: int | None, block: Recipe) -> Any:
    """Run statements for each row; with a size of batches, in lanes of as many."""
    run = runner.inside(block, local)
    return runner.transform.map(run, rows(3), batch_size=batch_size).sum(0)


def writing_nothing(parts: Parts) -> st.SearchStrategy[Recipe]:
    """Draw statements that write no State but the random one."""
    return parts.expression.map(lambda expression: ((("random",),), expression))


LANES: dict[str, Statement] = {
    "vmap": Statement(vmap, lambda p: (st.integers(1, 3), p.inner)),
    "lanes": Statement(lanes, lambda p: (p.state, p.inner)),
    "mapped": Statement(
        mapped,
        lambda p: (
            p.state,
            st.integers(0, 1),
            st.booleans(),
            st.sampled_from(POLICIES),
            p.inner,
        ),
    ),
    "new_lanes": Statement(new_lanes, lambda p: (st.integers(1, 2), p.inner)),
    "new_module": Statement(new_module, lambda p: (st.integers(1, 2), p.inner)),
    "map": Statement(in_batches, lambda p: (st.none(), p.inner)),
    # What a batch writes is refused, so that there is nothing in them that writes.
    "batches": Statement(in_batches, lambda p: (st.sampled_from([1, 2]), writing_nothing(p))),
}

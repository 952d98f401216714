"""Random stateful programs: recipes that hypothesis draws and shrinks, and what runs them.

A recipe is plain data (nested tuples), so a failing one prints as something to read. It works on
States of shape ``(3,)``, one integer State and the default random State, and calls the
transformations that it names: those of brainir, or of a library that has the same names.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from hypothesis import strategies as st

from .. import HiddenState, ShortTermState, State, random, surrogate, transform
from .family_statements import FAMILY, WIDTH, WRONG, family

STATES = 3

CHAINED = ("float32", "bfloat16", "float16", "int8", "uint8", "complex64")
"""What States that begin as Python numbers are given; one chain for each."""

INDICES = ("int8", "uint8", "int16", "uint16", "int32", "uint32")

Recipe = tuple[Any, ...]

OURS: Any = SimpleNamespace(
    HiddenState=HiddenState,
    ShortTermState=ShortTermState,
    State=State,
    random=random,
    transform=transform,
)
"""What programs are written with, unless somebody says otherwise."""

# Expressions: ("state", i) ("local", i) ("const", c) ("unary", name, e) ("binary", name, e, e)

UNARY = {
    "tanh": jnp.tanh,
    "sin": jnp.sin,
    "half": lambda x: x * 0.5,
    "neg": lambda x: -x,
    "clip": lambda x: jnp.clip(x, -1.0, 1.0),
    "cumsum": lambda x: jnp.tanh(jnp.cumsum(x)),
    "mean": lambda x: jnp.broadcast_to(jnp.mean(x), (WIDTH,)),
    "spike": surrogate.ReluGrad(),
}
BINARY = {
    "add": lambda x, y: x + y,
    "sub": lambda x, y: x - y,
    "mul": lambda x, y: jnp.tanh(x) * jnp.tanh(y),
    "max": jnp.maximum,
    "where": lambda x, y: jnp.where(x > 0, x, y),
    "dot": lambda x, y: jnp.tanh(jnp.dot(x, y)) * x,
}

GUARDED = {
    "log": jnp.log,
    "sqrt": jnp.sqrt,
    "root of the inverse": lambda x: 1 / jnp.sqrt(x),
    "inverse": lambda x: 1 / x,
    "power": lambda x: x**0.3,
}
"""Functions of numbers above 0, which have no slope at 0."""


def expressions() -> st.SearchStrategy[Recipe]:
    """Draw an expression of shape ``(3,)``."""
    leaves = st.one_of(
        st.tuples(st.just("state"), st.integers(0, STATES - 1)),
        st.tuples(st.just("local"), st.integers(0, 3)),
        st.tuples(st.just("const"), st.sampled_from([0.0, 0.25, -1.5, 2.0])),
        st.just(("count",)),
    )
    return st.recursive(
        leaves,
        lambda inner: st.one_of(
            st.tuples(st.just("unary"), st.sampled_from(sorted(UNARY)), inner),
            st.tuples(st.just("binary"), st.sampled_from(sorted(BINARY)), inner, inner),
        ),
        max_leaves=4,
    )


def statements(depth: int) -> st.SearchStrategy[Recipe]:
    """Draw one statement; those of ``depth`` 0 have no statements inside."""
    write = st.tuples(st.just("write"), st.integers(0, STATES - 1), expressions())
    simple = [
        write,
        write,
        st.tuples(st.just("let"), expressions()),
        st.just(("count",)),
        st.just(("random",)),
        delicate(),
        st.tuples(st.just("maybe"), expressions()),
        st.tuples(st.just("chain"), st.sampled_from(CHAINED)),
        st.tuples(st.just("box"), expressions()),
    ]
    if depth == 0:
        return st.one_of(simple)
    inner = blocks(depth - 1)
    return st.one_of(
        *simple,
        st.tuples(st.just("for_loop"), st.integers(1, 3), st.booleans(), inner),
        st.tuples(st.just("scan"), st.integers(1, 3), inner),
        st.tuples(st.just("cond"), expressions(), inner, inner),
        st.tuples(st.just("switch"), st.integers(-1, 3), inner, inner, inner),
        st.tuples(
            st.just("switch_by"), st.sampled_from(INDICES), st.integers(-1, 300), inner, inner
        ),
        st.tuples(st.just("hold"), inner),
        st.tuples(st.just("while"), st.integers(0, 3), inner),
        st.tuples(st.just("jit"), inner),
        st.tuples(st.just("checkpoint"), inner),
        st.tuples(st.just("checkpointed"), st.integers(1, 5), inner),
        st.tuples(st.just("bounded"), st.integers(0, 4), inner),
        st.tuples(st.just("ifelse"), expressions(), inner, inner),
        st.tuples(st.just("jacobian"), st.booleans(), inner),
        st.tuples(st.just("products"), st.integers(0, STATES - 1), inner),
        st.tuples(st.just("vmap"), st.integers(1, 3), inner),
        st.tuples(st.just("lanes"), st.integers(0, STATES - 1), inner),
        st.tuples(st.just("map"), st.none(), inner),
        # What a batch writes is refused even where plain Python would not come by to see it.
        st.tuples(st.just("map"), st.sampled_from([1, 2]), blocks(0)),
        st.tuples(st.just("new"), expressions(), inner),
        st.tuples(st.just("grad"), st.integers(0, STATES - 1), inner),
        *family(inner, blocks(0), expressions(), STATES),
    )


def blocks(depth: int) -> st.SearchStrategy[Recipe]:
    """Draw a list of statements and the expression that they end in."""
    return st.tuples(st.lists(statements(depth), max_size=3).map(tuple), expressions())


def programs(depth: int = 2) -> st.SearchStrategy[Recipe]:
    """Draw programs: statements, nested as deep as is said, and a result.

    Parameters
    ----------
    depth : int
        How many transformations may stand inside each other.

    Examples
    --------
    A program is run on States of its own, and called with an array of shape ``(3,)``:

    >>> import jax.numpy as jnp
    >>> from brainir.testing import Runner, World
    >>> program = ((("write", 0, ("local", 0)),), ("state", 0))
    >>> Runner(World()).block(program, [jnp.ones(3)])
    Array([1., 1., 1.], dtype=float32)
    """
    return blocks(depth)


def delicate() -> st.SearchStrategy[Recipe]:
    """Draw a statement with branches that guard their operands, or loops over the same data."""
    state = st.integers(0, STATES - 1)
    return st.one_of(
        st.tuples(st.just("guarded"), st.sampled_from(sorted(GUARDED)), expressions()),
        st.tuples(st.just("guarded_net"), state, expressions()),
        st.tuples(st.just("nested"), state, expressions(), st.booleans()),
    )


def wrong_programs(depth: int = 2) -> st.SearchStrategy[Recipe]:
    """Draw a program that must be refused: somewhere in it something wrong is done.

    Parameters
    ----------
    depth : int
        How many transformations may stand around that.
    """
    fault = st.tuples(st.just("wrong"), st.sampled_from(sorted(WRONG)))
    before = st.lists(statements(0), max_size=2)

    def around(inner: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
        block = st.tuples(
            st.tuples(before, inner).map(lambda parts: (*parts[0], parts[1])), expressions()
        )
        state = st.integers(0, STATES - 1)
        return st.one_of(
            st.tuples(st.just("for_loop"), st.integers(1, 2), st.booleans(), block),
            st.tuples(st.just("cond"), expressions(), block, blocks(0)),
            st.tuples(st.just("jit"), block),
            st.tuples(st.just("vmap"), st.integers(1, 2), block),
            st.tuples(st.just("grad"), state, block),
            st.tuples(st.just("checkpoint"), block),
        )

    nested = fault
    for _ in range(depth):
        nested = st.one_of(nested, around(nested))
    return st.tuples(
        st.tuples(before, nested).map(lambda parts: (*parts[0], parts[1])), expressions()
    )


def gradient_programs(depth: int = 2) -> st.SearchStrategy[Recipe]:
    """Draw a program that is the gradient, by a State and its argument, of what ends delicately."""
    before = st.lists(statements(depth - 1), max_size=2)
    body = st.tuples(before, delicate()).map(lambda parts: (*parts[0], parts[1]))
    result = st.tuples(st.just("binary"), st.just("add"), st.just(("local", 0)), expressions())
    gradient = st.tuples(st.just("grad"), st.integers(0, STATES - 1), st.tuples(body, result))
    return gradient.map(lambda one: ((one,), ("local", 0)))


class World:
    """The States that a program works on, of ``library``."""

    def __init__(self, library: Any = OURS) -> None:
        self.library = library
        self.states: list[State[Any]] = [
            library.HiddenState(jnp.linspace(-1.0, 1.0, WIDTH) * (i + 1) / 2) for i in range(STATES)
        ]
        self.count = library.ShortTermState(jnp.int32(1))
        self.chains: dict[str, list[State[Any]]] = {
            dtype: [library.State(0) for _ in range(3)] for dtype in CHAINED
        }
        self.box = library.State({"v": jnp.ones(WIDTH), "deep": [jnp.zeros(WIDTH)]})
        library.random.seed(7)

    def values(self) -> list[Any]:
        """Return everything that a program can have changed."""
        key = self.library.random.get_key()
        chains = [state.value for chain in self.chains.values() for state in chain]
        box = jax.tree.map(lambda leaf: leaf, self.box.value)  # which may change in place
        return [*(s.value for s in self.states), self.count.value, key, chains, box]


class Runner:
    """Runs recipes on a world; ``local`` values are those in scope, the newest last."""

    def __init__(self, world: World) -> None:
        self.world, self.library = world, world.library
        self.transform, self.random = self.library.transform, self.library.random
        self.states = list(world.states)

    def value(self, expression: Recipe, local: Sequence[Any]) -> Any:
        """Return what an expression is worth."""
        kind, *rest = expression
        if kind == "state":
            return self.states[rest[0]].value
        if kind == "local":
            return local[-1 - rest[0] % len(local)]
        if kind == "const":
            return jnp.full((WIDTH,), rest[0], jnp.float32)
        if kind == "count":
            return jnp.full((WIDTH,), 0.1, jnp.float32) * self.world.count.value.astype(jnp.float32)
        if kind == "unary":
            return UNARY[rest[0]](self.value(rest[1], local))
        return BINARY[rest[0]](self.value(rest[1], local), self.value(rest[2], local))

    def block(self, block: Recipe, local: Sequence[Any]) -> Any:
        """Run statements and return what the last expression is worth."""
        body, result = block
        scope = list(local)
        for statement in body:
            scope.append(self.statement(statement, scope))
        return self.value(result, scope)

    def statement(self, statement: Recipe, local: Sequence[Any]) -> Any:
        """Run one statement; return a value of shape ``(3,)`` that later ones can use."""
        kind, *rest = statement
        if kind in FAMILY:
            return FAMILY[kind](self, local, *rest)
        return getattr(self, f"_{kind}")(local, *rest)

    def _write(self, local: Sequence[Any], i: int, expression: Recipe) -> Any:
        self.states[i].value = self.value(expression, local)
        return self.states[i].value

    def _let(self, local: Sequence[Any], expression: Recipe) -> Any:
        return self.value(expression, local)

    def _count(self, local: Sequence[Any]) -> Any:
        self.world.count.value = self.world.count.value + 1
        return local[-1]

    def _random(self, local: Sequence[Any]) -> Any:
        return self.random.uniform(-1.0, 1.0, (WIDTH,))

    def _maybe(self, local: Sequence[Any], test: Recipe) -> Any:
        """Draw only where an expression says so."""
        return self.transform.cond(
            jnp.sum(self.value(test, local)) > 1.0,
            lambda: self.random.uniform(-1.0, 1.0, (WIDTH,)),
            lambda: jnp.zeros(WIDTH),
        )

    def _chain(self, local: Sequence[Any], dtype: str) -> Any:
        """Move on a chain of States that begin as Python numbers.

        In a loop, which gives all of them their types: outside of `jit`, a number that a program
        leaves behind without one is an array, of the dtype that JAX has for it.
        """
        first, second, last = self.world.chains[dtype]

        def step() -> None:
            last.value = last.value + second.value
            second.value = second.value + first.value
            first.value = first.value + jnp.ones((), dtype)

        self.transform.for_loop(lambda: step() or 0.0, length=2)
        return jnp.full((WIDTH,), 0.1) * jnp.real(jnp.asarray(last.value)).astype(jnp.float32)

    def _box(self, local: Sequence[Any], expression: Recipe) -> Any:
        """Change a dictionary in place."""
        box = self.world.box
        box.value["v"] = jnp.tanh(self.value(expression, local))
        box.value["deep"][0] = box.value["deep"][0] * 0.5 + box.value["v"]
        return box.value["deep"][0]

    def _hold(self, local: Sequence[Any], block: Recipe) -> Any:
        """Change a dictionary that was got hold of before other statements ran."""
        held = self.world.box.value
        held["v"] = held["v"] * 0.5
        self.block(block, local)
        held["deep"][0] = held["deep"][0] * 0.5 + held["v"]
        return self.world.box.value["deep"][0]

    def _switch_by(self, local: Sequence[Any], dtype: str, index: int, *branches: Recipe) -> Any:
        run = [lambda branch=branch: self.block(branch, local) for branch in branches]
        by = jnp.asarray(np.array(index).astype(dtype))
        return self.transform.switch(by + self.world.count.value.astype(dtype) % 2, run)

    def _for_loop(self, local: Sequence[Any], length: int, reverse: bool, block: Recipe) -> Any:
        xs = jnp.linspace(0.0, 1.0, length * WIDTH).reshape(length, WIDTH)
        ys = self.transform.for_loop(lambda x: self.block(block, [*local, x]), xs, reverse=reverse)
        return ys.sum(0)

    def _scan(self, local: Sequence[Any], length: int, block: Recipe) -> Any:
        def step(carry: Any, _: Any) -> Any:
            new = jnp.tanh(self.block(block, [*local, carry]))
            return new, carry

        carry, ys = self.transform.scan(step, local[-1], None, length=length)
        return carry + ys[0]

    def _cond(self, local: Sequence[Any], test: Recipe, yes: Recipe, no: Recipe) -> Any:
        return self.transform.cond(
            jnp.sum(self.value(test, local)) > 0,
            lambda x: self.block(yes, [*local, x]),
            lambda x: self.block(no, [*local, x]),
            local[-1],
        )

    def _switch(self, local: Sequence[Any], index: int, *branches: Recipe) -> Any:
        run = [lambda branch=branch: self.block(branch, local) for branch in branches]
        return self.transform.switch(jnp.int32(index) + self.world.count.value % 2, run)

    def _while(self, local: Sequence[Any], times: int, block: Recipe) -> Any:
        def step(carry: Any) -> Any:
            i, x = carry
            return i + 1, jnp.tanh(self.block(block, [*local, x]))

        return self.transform.while_loop(lambda c: c[0] < times, step, (jnp.int32(0), local[-1]))[1]

    def _jit(self, local: Sequence[Any], block: Recipe) -> Any:
        return self.transform.jit(lambda x: self.block(block, [*local, x]))(local[-1])

    def _checkpoint(self, local: Sequence[Any], block: Recipe) -> Any:
        return self.transform.checkpoint(lambda x: self.block(block, [*local, x]))(local[-1])

    def _checkpointed(self, local: Sequence[Any], length: int, block: Recipe) -> Any:
        xs = jnp.linspace(0.0, 1.0, length * WIDTH).reshape(length, WIDTH)
        run = lambda x: self.block(block, [*local, x])  # noqa: E731
        return self.transform.checkpointed_for_loop(run, xs, base=2).sum(0)

    def _bounded(self, local: Sequence[Any], times: int, block: Recipe) -> Any:
        def step(carry: Any) -> Any:
            i, x = carry
            return i + 1, jnp.tanh(self.block(block, [*local, x]))

        loop, start = self.transform.bounded_while_loop, (jnp.int32(0), local[-1])
        return loop(lambda c: c[0] < times, step, start, max_steps=3, base=2)[1]

    def _ifelse(self, local: Sequence[Any], test: Recipe, yes: Recipe, no: Recipe) -> Any:
        positive = jnp.sum(self.value(test, local)) > 0
        run = [lambda branch=branch: self.block(branch, local) for branch in (yes, no)]
        return self.transform.ifelse([positive, ~positive], run)

    def _jacobian(self, local: Sequence[Any], forward: bool, block: Recipe) -> Any:
        kind = self.transform.jacfwd if forward else self.transform.jacrev
        return jnp.tanh(kind(lambda x: jnp.tanh(self.block(block, [*local, x])))(local[-1]).sum(0))

    def _products(self, local: Sequence[Any], i: int, block: Recipe) -> Any:
        """Pull a cotangent back to a State and the argument, and push a tangent."""
        state = self.states[i]

        def run(x: Any) -> Any:
            return jnp.tanh(self.block(block, [*local, x])) * state.value

        y, pull = self.transform.vjp(run, local[-1], grad_states=[state], argnums=0)
        (by_state,), by_argument = pull(jnp.linspace(-1.0, 1.0, WIDTH))
        _, pushed = self.transform.jvp(jnp.tanh, (by_argument,), (y,))
        return jnp.tanh(by_state + pushed)

    def _vmap(self, local: Sequence[Any], lanes: int, block: Recipe) -> Any:
        xs = jnp.linspace(-1.0, 1.0, lanes * WIDTH).reshape(lanes, WIDTH)
        return self.transform.vmap(lambda x: self.block(block, [*local, x]))(xs).mean(0)

    def _lanes(self, local: Sequence[Any], i: int, block: Recipe) -> Any:
        """Work on a State that holds a value for each of two lanes."""
        outer = self.states[i]
        batched = self.library.HiddenState(jnp.stack([outer.value, -outer.value]))
        self.states[i] = batched
        try:
            run = self.transform.vmap(
                lambda x: self.block(block, [*local, x]), in_axes=None, in_states=batched
            )
            out = run(local[-1])
        finally:
            self.states[i] = outer
        outer.value = batched.value[1]
        return out[0]

    def _map(self, local: Sequence[Any], batch_size: int | None, block: Recipe) -> Any:
        xs = jnp.linspace(-1.0, 1.0, 3 * WIDTH).reshape(3, WIDTH)
        run = lambda x: self.block(block, [*local, x])  # noqa: E731
        return self.transform.map(run, xs, batch_size=batch_size).sum(0)

    def _new(self, local: Sequence[Any], first: Recipe, block: Recipe) -> Any:
        """Put a State that is created here in the place of another one."""
        outer = self.states[0]
        self.states[0] = self.library.ShortTermState(self.value(first, local))
        try:
            return self.block(block, local)
        finally:
            self.states[0] = outer

    def _grad(self, local: Sequence[Any], i: int, block: Recipe) -> Any:
        state = self.states[i]

        def loss(x: Any) -> Any:
            return jnp.sum(jnp.tanh(self.block(block, [*local, x])) * state.value)

        (by_state, by_argument), value = self.transform.grad(
            loss, grad_states=[state], argnums=0, return_value=True
        )(local[-1])
        return jnp.tanh(by_state[0] + by_argument + value)

    # --- what must not be seen from outside, or is seen by two loops ------------------------------

    def _guarded(self, local: Sequence[Any], name: str, expression: Recipe) -> Any:
        """Let each element choose a branch; only one of them takes zeros."""
        x = self.value(expression, local)
        weight = jnp.mean(local[-1])

        def lane(one: Any) -> Any:
            outside, inside = (lambda: weight * one), lambda: weight * GUARDED[name](one)
            return self.transform.cond(one > 0, inside, outside)

        return jnp.tanh(self.transform.vmap(lane)(above_zero(x)))

    def _guarded_net(self, local: Sequence[Any], i: int, expression: Recipe) -> Any:
        """Let each lane choose how a State of its own goes on from step to step."""
        start = above_zero(self.value(expression, local))
        held = self.library.ShortTermState(start)
        gain = jnp.mean(self.states[i].value)

        def step(x: Any) -> Any:
            kinds = [jnp.log, jnp.sqrt, lambda v: 1 / v]
            run = [lambda f=f: gain * f(held.value) + x for f in kinds]
            near = jnp.where(held.value > 0.5, 2, 1)
            which = jnp.where(held.value > 0, near, 3)
            held.value = above_zero(
                jnp.tanh(self.transform.switch(which, [*run, lambda: x * gain]))
            )
            return held.value

        def lane(x: Any) -> Any:
            return self.transform.for_loop(step, x * jnp.array([1.0, -1.0, 0.5])).sum()

        return jnp.tanh(self.transform.vmap(lane, in_states=held)(local[-1]))

    def _nested(self, local: Sequence[Any], i: int, expression: Recipe, read: bool) -> Any:
        """Go over the same rows in each step of a loop, with sums of them and two products."""
        rows = jnp.linspace(0.1, 1.0, 2 * WIDTH).reshape(2, WIDTH)
        matrix = jnp.outer(self.value(expression, local), jnp.array([0.3, -0.2, 0.1]))
        state = self.states[i]

        def inner(x: Any) -> Any:
            large = x.sum() > 1.5
            kept = x * large.astype(x.dtype)
            state.value = jnp.tanh(state.value * 0.5 + kept @ matrix)
            return large, (state.value if read else x) @ matrix

        large, read_out = self.transform.for_loop(
            lambda: self.transform.for_loop(inner, rows), length=2
        )
        return (read_out * large[..., None].astype(read_out.dtype)).sum((0, 1))


def above_zero(x: Any) -> Any:
    """Return something like x that is either 0 or far from it."""
    return jnp.where(x > 0, x + 0.25, 0.0)


def has_lanes(recipe: Any) -> bool:
    """Whether a program, or a piece of one, runs statements of its own in lanes."""
    if not isinstance(recipe, tuple) or not recipe:
        return False
    batched = recipe[0] == "map" and isinstance(recipe[1], int)
    here = recipe[0] in ("vmap", "lanes", "mapped", "new_lanes") or batched
    return here or any(map(has_lanes, recipe))

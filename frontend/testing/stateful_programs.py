"""Random stateful programs: recipes that hypothesis draws and shrinks, and what runs them.

A recipe is plain data (nested tuples), so a failing one prints as something to read. It works on
States of shape ``(3,)``, one integer State and the default random State, and calls the
transformations that it names: those of brainir, or of a library that has the same names. What
kinds of statements there are, the tables of the files beside this one say.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
from hypothesis import strategies as st

from .. import HiddenState, ShortTermState, State, nn, random, transform
from .control_statements import CONTROL
from .derivative_statements import DERIVATIVES
from .lane_statements import LANES
from .program_expressions import (
    STATES,
    WIDTH,
    Local,
    Parts,
    Recipe,
    Statement,
    evaluate,
    expressions,
)
from .simple_statements import CHAINED, DELICATE, SIMPLE
from .wrong_statements import WRONG, wrong

OURS: Any = SimpleNamespace(
    HiddenState=HiddenState,
    ShortTermState=ShortTermState,
    State=State,
    nn=nn,
    random=random,
    transform=transform,
)
"""What programs are written with, unless somebody says otherwise."""

AROUND = CONTROL | LANES | DERIVATIVES
"""Statements that have others inside, or that are as costly as those."""

STATEMENTS: dict[str, Statement] = {
    **SIMPLE,
    **DELICATE,
    **AROUND,
    "wrong": Statement(wrong, lambda p: (st.sampled_from(sorted(WRONG)),)),
}
"""All kinds of statements, by the word that a recipe begins with."""

AROUND_FAULTS = (
    "for_loop",
    "cond",
    "jit",
    "vmap",
    "grad",
    "checkpoint",
    "scan",
    "mapped",
    "pushed",
)
"""Statements inside which `wrong_programs` do what is wrong."""


def statements(depth: int, without: Collection[str] = ()) -> st.SearchStrategy[Recipe]:
    """Draw one statement; those of ``depth`` 0 have no statements inside."""
    here = parts(depth, without)
    kinds = ["write", *SIMPLE, *DELICATE, *(AROUND if depth else ())]  # writes twice as often
    return st.one_of([drawn(kind, here) for kind in kinds if kind not in without])


def parts(depth: int, without: Collection[str] = ()) -> Parts:
    """Return what statements of some depth are drawn from."""
    inner = blocks(depth - 1, without) if depth else st.nothing()
    shallow = blocks(0, without) if depth else st.nothing()
    return Parts(inner, shallow, expressions(), st.integers(0, STATES - 1))


def drawn(kind: str, here: Parts) -> st.SearchStrategy[Recipe]:
    """Draw a statement of one kind."""
    return st.tuples(st.just(kind), *STATEMENTS[kind].draw(here))


def blocks(depth: int, without: Collection[str] = ()) -> st.SearchStrategy[Recipe]:
    """Draw a list of statements and the expression that they end in."""
    return st.tuples(st.lists(statements(depth, without), max_size=3).map(tuple), expressions())


def programs(depth: int = 2, without: Collection[str] = ()) -> st.SearchStrategy[Recipe]:
    """Draw programs: statements, nested as deep as is said, and a result.

    Parameters
    ----------
    depth : int
        How many transformations may stand inside each other.
    without : collection of str
        Kinds of statements that are not drawn.

    Examples
    --------
    A program is run on States of its own, and called with an array of shape ``(3,)``:

    >>> import jax.numpy as jnp
    >>> from brainir.testing import Runner, World
    >>> program = ((("write", 0, ("local", 0)),), ("state", 0))
    >>> Runner(World()).block(program, [jnp.ones(3)])
    Array([1., 1., 1.], dtype=float32)
    """
    return blocks(depth, without)


def delicate(without: Collection[str] = ()) -> st.SearchStrategy[Recipe]:
    """Draw a statement with branches that guard their operands, or loops over the same data."""
    return st.one_of([drawn(kind, parts(0)) for kind in DELICATE if kind not in without])


def wrong_programs(depth: int = 2) -> st.SearchStrategy[Recipe]:
    """Draw a program that must be refused: somewhere in it something wrong is done.

    Parameters
    ----------
    depth : int
        How many transformations may stand around that.
    """
    before = st.lists(statements(0), max_size=2)

    def block(last: st.SearchStrategy[Recipe]) -> st.SearchStrategy[Recipe]:
        body = st.tuples(before, last).map(lambda both: (*both[0], both[1]))
        return st.tuples(body, expressions())

    nested = drawn("wrong", parts(0))
    for _ in range(depth):
        here = parts(0)._replace(inner=block(nested))
        nested = st.one_of([nested, *(drawn(kind, here) for kind in AROUND_FAULTS)])
    return block(nested)


def gradient_programs(depth: int = 2, without: Collection[str] = ()) -> st.SearchStrategy[Recipe]:
    """Draw a program that is the gradient, by a State and its argument, of what ends delicately."""
    before = st.lists(statements(depth - 1, without), max_size=2)
    body = st.tuples(before, delicate(without)).map(lambda parts: (*parts[0], parts[1]))
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

    def block(self, block: Recipe, local: Local) -> Any:
        """Run statements and return what the last expression is worth."""
        body, result = block
        scope = list(local)
        for kind, *rest in body:
            scope.append(STATEMENTS[kind].run(self, scope, *rest))
        return evaluate(self, result, scope)

    def inside(self, block: Recipe, local: Local) -> Callable[[Any], Any]:
        """Return a function that runs a block with its argument as the newest value."""
        return lambda x: self.block(block, [*local, x])

    def instead(self, i: int, state: Any, run: Callable[[], Any]) -> Any:
        """Return what a function returns while another State has the place of the i-th."""
        outer, self.states[i] = self.states[i], state
        try:
            return run()
        finally:
            self.states[i] = outer


def has_lanes(recipe: Any) -> bool:
    """Whether a program, or a piece of one, runs statements of its own in lanes."""
    if not isinstance(recipe, tuple) or not recipe:
        return False
    here = recipe[0] in LANES and recipe[:2] != ("map", None)
    return here or any(map(has_lanes, recipe))


def kinds_of(recipe: Any) -> tuple[str, ...]:
    """Return the kinds of all statements of a program, or of a piece of one, in order."""
    if isinstance(recipe, str):
        return (recipe,) if recipe in STATEMENTS else ()
    return sum(map(kinds_of, recipe), ()) if isinstance(recipe, tuple) else ()

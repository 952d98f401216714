"""A traced function at every stage of compilation."""

from __future__ import annotations

import html
from collections.abc import Sequence

import jax

from ...backends import backend_named
from ...ir import Graph
from ...passes import Options
from ..program import (
    Program,
    compile_program,
    optimise,
)
from .packing import apart


class Stages:
    """A traced function at every stage of compilation; what ``jitted.trace(...)`` returns.

    Attributes
    ----------
    program : Program
        What was captured.
    keywords : tuple of str
        The names of the last arguments, those that were given by name.
    options : Options
        What was asked of the compiler where it was traced: stages are of the passes that these
        choose.
    """

    def __init__(self, program: Program, keywords: Sequence[str]) -> None:
        self.program, self.keywords = program, tuple(keywords)

    @property
    def options(self) -> Options:
        return self.program.options

    def graph(self, stage: str | None = None) -> Graph:
        """Return the graph after the pass called ``stage``.

        ``"capture"`` is the stage before all passes, None the one after all of them.

        Raises
        ------
        ValueError
            If there is no such stage.
        """
        return optimise(self.program, until=stage)

    def packs(self) -> tuple[tuple[str, ...], ...]:
        """Return the names of the States that `jit` keeps in one array between calls.

        Examples
        --------
        >>> import brainir
        >>> import jax.numpy as jnp
        >>> cells = [brainir.HiddenState(jnp.zeros(2), name=f"cell{i}") for i in range(4)]
        >>> @brainir.transform.jit
        ... def step():
        ...     for cell in cells:
        ...         cell.value += 1.0
        >>> step.trace().packs()
        (('cell0', 'cell1', 'cell2', 'cell3'),)
        """
        packs = compile_program(self.program, apart(self.program)).packs
        slots = self.program.slots
        return tuple(tuple(slots[i].handle.name for i in pack.slots) for pack in packs)

    def lower(self) -> jax.stages.Lowered:
        """Lower what the backend makes of the last stage.

        Raises
        ------
        NotImplementedError
            If the backend runs graphs as they are.
        """
        graph = self.graph()
        consts = [const.data for const in graph.consts]
        given = [*self.program.in_avals, *self.program.state_leaves(), *consts]
        return backend_named(self.options.backend).compile(graph).lower(*given)

    def __str__(self) -> str:
        return str(self.graph())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

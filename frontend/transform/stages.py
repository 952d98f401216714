"""A traced function at every stage of compilation."""

from __future__ import annotations

import html
from collections.abc import Sequence

import jax

from ...backends import lax, xla
from ...ir import Graph
from ..program import (
    Program,
    optimise,
)


class Stages:
    """A traced function at every stage of compilation; what ``jitted.trace(...)`` returns.

    Attributes
    ----------
    program : Program
        What was captured.
    keywords : tuple of str
        The names of the last arguments, those that were given by name.
    """

    def __init__(self, program: Program, keywords: Sequence[str]) -> None:
        self.program, self.keywords = program, tuple(keywords)

    def graph(self, stage: str | None = None) -> Graph:
        """Return the graph after the pass called ``stage``.

        ``"capture"`` is the stage before all passes, None the one after all of them.

        Raises
        ------
        ValueError
            If there is no such stage.
        """
        return optimise(self.program, until=stage)

    def lower(self) -> jax.stages.Lowered:
        """Lower what a backend makes of the last stage."""
        graph = self.graph()
        consts = [const.data for const in graph.consts]
        given = [*self.program.in_avals, *self.program.state_leaves(), *consts]
        return jax.jit(lax.emit(graph), compiler_options=xla.OPTIONS).lower(*given)

    def __str__(self) -> str:
        return str(self.graph())

    def _repr_html_(self) -> str:
        return f"<pre>{html.escape(str(self))}</pre>"

"""Where a derivative stopped being finite: `debug_nan` of the doors.

A program that is to look carries its derivatives through a call of Python. Only if one of them is
not finite, that runs the graph of the derivative once more, node by node with numpy, on the values
that the program had, and names the first node that made such a number of finite ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from ....backends import reference
from ....ir import Const, Graph, Node, at
from ...capture import Region
from ...program import import_region, optimise_graph, read_entering

UNTIL = "forget-derivatives"
"""The pass after which derivatives are written out, and every node stands where it comes from."""


@dataclass(frozen=True, slots=True, eq=False)
class Origin:
    """A derivative on its own, with the values that it was taken at.

    Attributes
    ----------
    name : str
        Of the function.
    graph : Graph
        Takes operands, and states.
    given : tuple
        The arrays: operands, leaves of states, and consts.
    """

    name: str
    graph: Graph
    given: tuple[Any, ...]

    @classmethod
    def of(cls, spec: Region, operands: Sequence[Any]) -> Origin:
        """Return that of a region that is about to be bound in the capture under way."""
        frame, imported = import_region(spec, operands, rules=0)
        graph = optimise_graph(imported.graph, until=UNTIL)
        held = read_entering(frame, imported, graph)
        return cls(spec.name, graph, (*operands, *held, *(c.data for c in graph.consts)))

    def checked(self, derivatives: Sequence[Any]) -> list[Any]:
        """Return derivatives, so that a program that uses them fails if they are not finite."""
        types = [jax.ShapeDtypeStruct(d.shape, d.dtype) for d in derivatives]
        keys = [jax.random.key_impl(x) if _is_key(x) else None for x in self.given]

        def look(derivatives: Sequence[Any], given: Sequence[Any]) -> Sequence[Any]:
            if not all(map(is_finite, derivatives)):
                pairs = zip(given, keys, strict=True)
                raise RuntimeError(
                    self.explain(
                        [x if k is None else jax.random.wrap_key_data(x, impl=k) for x, k in pairs]
                    )
                )
            return derivatives

        @jax.custom_jvp
        def through(derivatives: Sequence[Any], given: Sequence[Any]) -> Sequence[Any]:
            return io_callback(look, types, derivatives, given)

        @through.defjvp
        def _(primals: Any, tangents: Any) -> Any:
            return through(*primals), tangents[0]

        given = [jax.random.key_data(x) if _is_key(x) else jnp.asarray(x) for x in self.given]
        return list(through(list(derivatives), given))

    def explain(self, given: Sequence[Any]) -> str:
        """Return where the first number comes from that is not finite."""
        graph, count = self.graph, len(self.graph.params)
        rest = iter(given[count:])
        states = {var: [next(rest) for _ in var.types] for var in graph.states}
        consts = [Const(const.value, next(rest)) for const in graph.consts]

        def watch(node: Node, taken: Sequence[Any], made: Sequence[Any]) -> None:
            if _makes_bad(taken, made):
                raise _Found(node)

        what = f"NaN/Inf detected in a derivative of {self.name}"
        try:
            reference.evaluate(graph.with_(consts=tuple(consts)), given[:count], states, watch)
        except _Found as found:
            node = found.node
            return f"{what}: the first was made by the operation {node.op.name}{at(node.loc)}"
        return f"{what}: no operation made it of finite numbers, so it was among those that came in"


class _Found(Exception):
    def __init__(self, node: Node) -> None:
        super().__init__(node)
        self.node = node


def all_finite(tree: Any) -> bool:
    """Whether all numbers in a pytree are finite."""
    return all(map(is_finite, jax.tree.leaves(tree)))


def is_finite(array: Any) -> bool:
    """Whether all numbers of an array are finite; those that are not floating are."""
    array = np.asarray(array)
    if not jnp.issubdtype(array.dtype, jnp.inexact):
        return True
    wide = np.complex128 if jnp.issubdtype(array.dtype, jnp.complexfloating) else np.float64
    return bool(np.isfinite(array.astype(wide)).all())


def _makes_bad(taken: Sequence[Any], made: Sequence[Any]) -> bool:
    """Whether a NaN came of none, or an infinity of finite numbers."""
    return all(map(is_finite, taken)) and not all(map(is_finite, made))


def _is_key(array: Any) -> bool:
    return jnp.issubdtype(array.dtype, jax.dtypes.prng_key)

"""Modules joined by edges, as in a graph of NIR."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp

from .. import environ
from ..nn import Module
from ..state import HiddenState

__all__ = ["Network"]

Edge = tuple[str, str]


class Network(Module):
    """Modules by name, and edges along which each gets the sum of what those before it give.

    A cycle is broken by one step of delay: what stands at the end of the edge that closes it gets
    what stands at the beginning gave in the step before, and zeros in the first step. That edge is
    the first to come back to a module in a walk from the inputs along the edges in their order.
    Called with one argument for each input, a network returns its output, or a dictionary if it has
    several.

    Parameters
    ----------
    parts : dict of str to callable
        The modules; functions of one argument, too.
    edges : sequence of pair of str
        From where to where.
    inputs, outputs : dict of str to tuple of int
        The names that stand for arguments and results, and the shapes of these without batch axes.
    sizes : dict of str to tuple of int
        The shape of what each module gives, where it is known; needed for those before a delay.
    metadata : dict, optional
        What is kept for who reads the graph again.

    Raises
    ------
    ValueError
        If an edge begins or ends nowhere, or twice the same; if a module or output has no edge that
        leads to it; or if the shape of what is delayed is not known.

    Examples
    --------
    >>> import brainir
    >>> import jax.numpy as jnp
    >>> parts = {"cell": brainir.nir.I(r=[1.0], dt=1.0), "back": brainir.nir.Scale([-0.5])}
    >>> edges = [("in", "cell"), ("cell", "back"), ("back", "cell"), ("cell", "out")]
    >>> net = brainir.nir.Network(parts, edges, {"in": (1,)}, {"out": (1,)}, {"back": (1,)})
    >>> _ = brainir.nn.init_all_states(net)
    >>> [float(net(jnp.ones(1))[0]) for _ in range(4)], net.delayed
    ([1.0, 1.5, 1.75, 1.875], [('back', 'cell')])
    """

    def __init__(
        self,
        parts: Mapping[str, Callable[..., Any]],
        edges: Sequence[Edge],
        inputs: Mapping[str, tuple[int, ...]],
        outputs: Mapping[str, tuple[int, ...]],
        sizes: Mapping[str, tuple[int, ...]] | None = None,
        metadata: Mapping[str, Any] | None = None,
        name: str | None = None,
    ):
        super().__init__(name)
        self.parts: dict[str, Any] = dict(parts)
        self.edges = [(str(a), str(b)) for a, b in edges]
        self.inputs, self.outputs = dict(inputs), dict(outputs)
        self.sizes = dict(sizes or {})
        self.metadata = dict(metadata or {})
        self.last: dict[str, HiddenState] = {}
        self._check()
        self.order, self.delayed = _walk([*self.inputs, *self.parts], self.edges)
        for source in {a for a, _ in self.delayed}:
            if source not in self.sizes:
                raise ValueError(f"the shape of what {source!r} gives is needed for its delay")
        if len(self.inputs) == len(self.outputs) == 1:
            self.in_size, self.out_size = (*self.inputs.values(),)[0], (*self.outputs.values(),)[0]

    def _check(self) -> None:
        known = {*self.inputs, *self.parts, *self.outputs}
        for edge in self.edges:
            for end in edge:
                if end not in known:
                    names = ", ".join(sorted(known))
                    raise ValueError(f"the edge {edge} names {end!r}; there are {names}")
        if len(set(self.edges)) < len(self.edges):
            twice = next(edge for edge in self.edges if self.edges.count(edge) > 1)
            raise ValueError(f"the edge {twice} is there twice")
        fed = {b for _, b in self.edges}
        for name in [*self.parts, *self.outputs]:
            if name not in fed:
                raise ValueError(f"no edge leads to {name!r}, so that it gets no input")

    def init_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Make the States for what edges that close cycles hand on."""
        sources = sorted({a for a, _ in self.delayed})
        self.last = {name: HiddenState(self._zeros(name, batch_size)) for name in sources}

    def reset_state(self, batch_size: int | None = None, **kwargs: Any) -> None:
        """Hand on zeros in the next step."""
        for name, state in self.last.items():
            state.value = self._zeros(name, batch_size)

    def _zeros(self, name: str, batch_size: int | None) -> Any:
        batch = () if batch_size is None else (batch_size,)
        return jnp.zeros((*batch, *self.sizes[name]), environ.dftype())

    def update(self, *inputs: Any) -> Any:
        """Advance by one step: run each module on the sum of its inputs."""
        if len(inputs) != len(self.inputs):
            names = ", ".join(self.inputs)
            raise TypeError(f"this network takes inputs for {names}, and got {len(inputs)}")
        given = dict(zip(self.inputs, inputs, strict=True))
        delayed = set(self.delayed)
        old = {name: state.value for name, state in self.last.items()}

        def incoming(name: str) -> Any:
            edges = [edge for edge in self.edges if edge[1] == name]
            first, *others = [(old if edge in delayed else given)[edge[0]] for edge in edges]
            for other in others:
                first = first + other
            return first

        for name in self.order:
            if name in self.parts:
                given[name] = self.parts[name](incoming(name))
        for name, state in self.last.items():
            state.value = given[name]
        results = {name: incoming(name) for name in self.outputs}
        return next(iter(results.values())) if len(results) == 1 else results


def _walk(starts: Iterable[str], edges: Sequence[Edge]) -> tuple[list[str], list[Edge]]:
    """Return the nodes so that each stands after those before it, and the edges that close cycles.

    A walk in depth from each start: the edges that lead back to a node of the present path close
    cycles, and in the order in which nodes are left, turned round, all other edges lead onwards.
    """
    following: dict[str, list[str]] = {}
    for a, b in edges:
        following.setdefault(a, []).append(b)
    left: list[str] = []
    closing: list[Edge] = []
    seen: set[str] = set()
    for start in starts:
        if start in seen:
            continue
        seen.add(start)
        path = [(start, iter(following.get(start, ())))]
        on_path = {start}
        while path:
            name, rest = path[-1]
            after = next(rest, None)
            if after is None:
                path.pop()
                on_path.discard(name)
                left.append(name)
            elif after in on_path:
                closing.append((name, after))
            elif after not in seen:
                seen.add(after)
                on_path.add(after)
                path.append((after, iter(following.get(after, ()))))
    return left[::-1], closing

"""Our transformations inside somebody else's: ``jax.vmap`` or ``jax.grad`` in a capture of ours.

JAX asks the region primitive for a rule then. The rule runs the region as plain JAX code, which the
other transformation can take apart: States are read before it and written after it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad, batching

from ...backends import lax, shape_struct
from ...ir import Graph, StateVar
from ..capture import (
    Frame,
    Handle,
    Imported,
    Region,
    aval_of,
    current_frame,
    evaluate_by,
    import_traced,
    read_leaves,
    region_p,
    trace_within,
    write_leaves,
)
from .executables import optimise_graph, refusals
from .programs import FOREIGN_ORDER

Rewrite = Callable[[Graph, Mapping[StateVar, Handle]], Graph]
"""Makes another graph of one that takes arrays, and knows which States some of them are of."""


def evaluate(spec: Region, *args: Any, rewrite: Rewrite | None = None) -> list[Any]:
    """Run a region as plain JAX code in whatever trace is under way.

    ``rewrite`` may change what runs, and let it have more results, which are then returned too.
    """
    frame, imported = import_region(spec, args, rules=FOREIGN_ORDER)
    graph = optimise_graph(imported.graph, foreign=True)
    if rewrite is not None:
        with refusals():
            graph = rewrite(graph, imported.handles)
    held = read_entering(frame, imported, graph)
    outs = run_graph(graph, *args, *held, *(const.data for const in graph.consts))
    rest = iter(outs[len(spec.avals) :])
    left = {imported.handles[var]: [next(rest) for _ in var.types] for var in graph.writes}
    if imported.checks:
        imported.checks.passed(left)
    for handle, leaves in left.items():
        if handle.kind != "check":
            write_leaves(frame, handle, leaves)
    return [*outs[: len(spec.avals)], *rest]


def run_graph(graph: Graph, *arrays: Any) -> Sequence[Any]:
    """Run a pure graph as plain JAX code in whatever trace is under way, or in none.

    It takes what the graph does, and then the data of its consts.
    """
    return lax.emit(graph)(*arrays)


def import_region(spec: Region, args: Sequence[Any], rules: int) -> tuple[Frame, Imported]:
    """Return the frame under way, and a region on its own as a captured program."""
    frame = current_frame()
    if frame is None:
        raise RuntimeError("a region was taken out of the capture that it belongs to")
    avals = tuple(aval_of(x) for x in args)
    traced = trace_within(frame, lambda *xs: region_p.bind(*xs, spec=spec), avals)
    return frame, import_traced(traced, spec.name, rules=rules)


def read_entering(frame: Frame, imported: Imported, graph: Graph) -> list[Any]:
    """Read all States of a graph, and return their leaves in the order of it."""
    held: list[Any] = []
    for var in graph.states:
        structs = tuple(map(shape_struct, var.types))
        if var.kind == "check":
            held.extend(np.zeros(s.shape, s.dtype) for s in structs)
            continue
        held.extend(read_leaves(frame, imported.handles[var], list(structs)))
    return held


def _batch(args: Sequence[Any], axes: Sequence[Any], *, spec: Region, **_: Any) -> Any:
    outs = jax.vmap(lambda *xs: evaluate(spec, *xs), in_axes=tuple(axes))(*args)
    return outs, [0] * len(outs)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, spec: Region, **_: Any) -> Any:
    full = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(lambda *xs: evaluate(spec, *xs), tuple(primals), tuple(full))


batching.primitive_batchers[region_p] = _batch
ad.primitive_jvps[region_p] = _jvp
evaluate_by(evaluate)

"""Our transformations inside somebody else's: ``jax.vmap`` or ``jax.grad`` in a capture of ours.

JAX asks the region primitive for a rule then. The rule runs the region as plain JAX code, which the
other transformation can take apart: States are read before it and written after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from jax.interpreters import ad, batching

from ...backends import lax, shape_struct
from ..capture import (
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
from .executables import optimise_graph
from .programs import FOREIGN_ORDER


def evaluate(spec: Region, *args: Any) -> list[Any]:
    """Run a region as plain JAX code in whatever trace is under way."""
    frame = current_frame()
    if frame is None:
        raise RuntimeError("a region was taken out of the capture that it belongs to")
    avals = tuple(aval_of(x) for x in args)
    traced = trace_within(frame, lambda *xs: region_p.bind(*xs, spec=spec), avals)
    imported = import_traced(traced, spec.name, rules=FOREIGN_ORDER)
    graph = optimise_graph(imported.graph, foreign=True)
    held: list[Any] = []
    for var in graph.states:
        structs = tuple(map(shape_struct, var.types))
        if var.kind == "check":
            held.extend(np.zeros(s.shape, s.dtype) for s in structs)
            continue
        held.extend(read_leaves(frame, imported.handles[var], list(structs)))
    outs = lax.emit(graph)(*args, *held, *(const.data for const in graph.consts))
    count = len(spec.avals)
    rest = iter(outs[count:])
    left = {imported.handles[var]: [next(rest) for _ in var.types] for var in graph.writes}
    if imported.checks:
        imported.checks.passed(left)
    for handle, leaves in left.items():
        if handle.kind != "check":
            write_leaves(frame, handle, leaves)
    return list(outs[:count])


def _batch(args: Sequence[Any], axes: Sequence[Any], *, spec: Region) -> Any:
    outs = jax.vmap(lambda *xs: evaluate(spec, *xs), in_axes=tuple(axes))(*args)
    return outs, [0] * len(outs)


def _jvp(primals: Sequence[Any], tangents: Sequence[Any], *, spec: Region) -> Any:
    full = [ad.instantiate_zeros(t) for t in tangents]
    return jax.jvp(lambda *xs: evaluate(spec, *xs), tuple(primals), tuple(full))


batching.primitive_batchers[region_p] = _batch
ad.primitive_jvps[region_p] = _jvp
evaluate_by(evaluate)

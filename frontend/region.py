"""The region primitive: a transformation as it stands in a jaxpr, until `importer` reads it."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .capture import Frame, Traced, new_primitive, read_afresh, shaped, trace_token
from .containers import region_wrote


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A transformation as it stands in a jaxpr: an op's name and attributes, and traced functions.

    The operands of the equation are the op's own, followed by the constants of every function.
    """

    op: str
    attrs: Mapping[str, Any]
    bodies: tuple[Traced, ...]
    operands: int
    avals: tuple[Any, ...]
    name: str


region_p = new_primitive("region", lambda *args, spec: [shaped(a) for a in spec.avals])


def bind_region(spec: Region, operands: Sequence[Any]) -> list[Any]:
    """Bind a region primitive over its operands and what its functions close over.

    JAX keeps parameters of primitives in caches, so the one that it gets holds no arrays.
    """
    consts = [const for body in spec.bodies for const in body.consts]
    bodies = tuple(replace(body, consts=()) for body in spec.bodies)
    return region_p.bind(*operands, *consts, spec=replace(spec, bodies=bodies))


def leave(body: Traced, parent: Frame) -> None:
    """Tell the frame around a region what the region did to States, lane views apart."""
    created = set(body.frame.created)
    lanes = {lane: outer for outer, lane in body.frame.lanes.items()}
    touched = {lanes.get(h, h) for h in body.frame.touched - created}
    parent.touched.update(touched)
    parent.held.deep.update(lanes.get(h, h) for h in body.frame.held.deep - created)
    if parent.trace != trace_token():
        parent.held.deep.update(touched)
    for handle, loc in body.frame.written.items():
        if handle in created:
            continue
        if handle not in lanes:
            parent.written.setdefault(handle, loc)
            parent.views[handle] = body.frame.views[handle]
        outer = lanes.get(handle, handle)
        read = functools.partial(read_afresh, outer, parent.view(outer))
        assigned = handle in body.frame.held.assigned
        region_wrote(parent, outer, assigned, trace_token(), read)

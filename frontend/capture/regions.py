"""The region primitive: a transformation as it stands in a jaxpr, until `importer` reads it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import jax

from ..errors import TraceContextError
from .avals import View, shaped
from .cells import Handle
from .containers import region_wrote
from .frames import Frame, current_frame, in_shard_map, trace_token
from .state_primitives import (
    is_local,
    new_primitive,
    read,
    read_afresh,
    stay_in_program,
    write,
)
from .tracing import Traced


@dataclass(frozen=True, slots=True, eq=False)
class Region:
    """A transformation as it stands in a jaxpr: an op's name and attributes, and traced functions.

    The operands of the equation are the op's own, followed by the constants of every function, and
    by the leaves of the States in ``local``, of which it says how many there are; its results are
    the op's own, and then such leaves again. These States only exist in a plain JAX transformation
    under way, which makes lanes or tangents of operands and results but knows nothing of States.
    """

    op: str
    attrs: Mapping[str, Any]
    bodies: tuple[Traced, ...]
    operands: int
    avals: tuple[Any, ...]
    name: str
    local: tuple[tuple[Handle, int], ...] = ()


class _Plain:
    """What runs a region as plain JAX code; programs, which stand above captures, say how."""

    evaluate: Callable[..., list[Any]]


_plain = _Plain()


def evaluate_by(evaluate: Callable[..., list[Any]]) -> None:
    """Let regions become plain JAX code by ``evaluate(spec, *operands)``."""
    _plain.evaluate = evaluate


region_p = new_primitive("region", lambda *args, spec, **_: [shaped(a) for a in spec.avals])


def _not_in_a_capture(*_: Any, spec: Region, **__: Any) -> Any:
    raise TraceContextError(f"{spec.name} was traced in a capture that has ended")


stay_in_program(region_p, _not_in_a_capture)


def bind_region(
    spec: Region, operands: Sequence[Any], by: Callable[..., list[Any]] | None = None
) -> list[Any]:
    """Bind a region primitive over its operands and what its functions close over.

    JAX keeps parameters of primitives in caches, so the one that it gets holds no arrays. If ``by``
    is given, ``by(spec, *operands)`` runs the region in place of that.
    """
    consts = [const for body in spec.bodies for const in body.consts]
    bodies = tuple(replace(body, consts=()) for body in spec.bodies)
    frame = current_frame()
    if frame is None:
        raise RuntimeError("a region can only be bound inside a capture")
    bind = by or bind_here
    local = [(h, _left_as(h, spec.bodies, frame)) for h in _touched(spec.bodies, frame)]
    if not local:
        return bind(replace(spec, bodies=bodies), *operands, *consts)
    held = [leaf for handle, _ in local for leaf in jax.tree.leaves(read(handle))]
    avals = (*spec.avals, *(aval for _, view in local for aval in view.avals))
    sizes = tuple((handle, len(view.avals)) for handle, view in local)
    new = replace(spec, bodies=bodies, avals=avals, local=sizes)
    results = bind(new, *operands, *consts, *held)
    rest = iter(results[len(spec.avals) :])
    for handle, view in local:
        write(handle, jax.tree.unflatten(view.tree, [next(rest) for _ in view.avals]))
    return results[: len(spec.avals)]


def bind_here(spec: Region, *operands: Any) -> list[Any]:
    """Bind the primitive; the body of a ``jax.shard_map`` gets what it means in plain JAX."""
    frame = current_frame()
    if frame is None or not in_shard_map(frame):
        return region_p.bind(*operands, spec=spec)
    return _plain.evaluate(spec, *operands)


def _touched(bodies: Sequence[Traced], frame: Frame) -> list[Handle]:
    """Return the States local to a transformation under way that functions touch."""
    found: dict[Handle, None] = {}
    for body in bodies:
        lanes = {lane: outer for outer, lane in body.frame.lanes.items()}
        for handle in body.frame.touched - set(body.frame.created):
            found[lanes.get(handle, handle)] = None
    order = [handle for handle in (*frame.born, *frame.lent) if handle in found]
    return [handle for handle in order if is_local(frame, handle)]


def _left_as(handle: Handle, bodies: Sequence[Traced], frame: Frame) -> View:
    """Return what a State looks like after functions that touch it."""
    written = (body.frame.views[handle] for body in bodies if handle in body.frame.written)
    return next(written, frame.view(handle))


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
        read = functools.partial(read_afresh, parent, outer, parent.view(outer))
        assigned = handle in body.frame.held.assigned
        region_wrote(parent, outer, assigned, trace_token(), read)

"""A derivative in many directions at once: lanes that share all that is not a derivative."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir import Builder, Gathered, Graph, Lane, Lanes, Loc, Operand
from .expand_vmap import in_lanes


def in_directions(
    builder: Builder,
    region: Graph,
    arguments: Sequence[Operand],
    directions: Sequence[Operand],
    moved: Sequence[bool],
    size: int,
    *,
    guarded: bool,
    loc: Loc | None,
) -> list[Operand]:
    """Build a region for several directions, and return what stands for its results.

    The region computes its function once: what does not depend on the direction has no lanes.

    Parameters
    ----------
    builder : Builder
        Gets the nodes.
    region : Graph
        Takes arguments and one direction.
    arguments, directions : sequence of Operand
        What it is given; directions have a leading axis of ``size``.
    moved : sequence of bool
        Which results depend on the direction, and get a leading axis.
    guarded : bool
        Whether what comes out is still to be differentiated; see `brainir.passes.guards`.
    """
    axes = [*(None for _ in arguments), *(0 for _ in directions)]
    given = zip((*arguments, *directions), axes, region.params, strict=True)
    results = zip(region.results, moved, strict=True)
    view = Lanes(
        tuple(Lane(*piece) for piece in given),
        tuple(Gathered(inside, 0 if moves else None) for inside, moves in results),
        region.nodes,
        {"size": size},
        region.name,
        loc,
    )
    return in_lanes(builder, view, guarded)

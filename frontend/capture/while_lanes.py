"""A ``while`` of JAX whose condition has lanes, as ``jax.vmap`` makes it."""

from __future__ import annotations

from ...ir import Builder, Graph, Operand, Value, fresh, mapped, replay


def while_any(condition: Graph, again: Graph, body: Graph) -> tuple[Graph, Graph]:
    """Return condition and body of a loop that runs as long as it does in some lane.

    That is what `jax.vmap` means by a condition with an axis for the lanes; lanes that are done
    keep what they have, whose leading axes are those of the condition.
    """
    builder, live = Builder(), condition.results[0]
    some = builder("reduce_or", live, axes=tuple(range(live.type.rank)))
    condition = condition.with_(nodes=(*condition.nodes, *builder.nodes), results=(some,))

    builder = Builder()
    params = fresh(body.params)
    names: dict[Value, Operand] = dict(zip(again.params, params, strict=True))
    replay(again.nodes, builder, names)
    (live,) = mapped(again.results, names)
    names = dict(zip(body.params, params, strict=True))
    replay(body.nodes, builder, names)
    following = mapped(body.results, names)
    kept: list[Operand] = []
    for old, new in zip(params, following, strict=True):
        shape, dims = new.type.shape, tuple(range(live.type.rank))
        which = live
        if shape != live.type.shape:
            which = builder("broadcast_in_dim", live, shape=shape, dims=dims)
        kept.append(builder("select_n", which, old, new))
    return condition, builder.graph(params, kept, like=body)

"""Whether the reverse of a node is linear in its cotangents.

What is computed in one place for several users gets the sum of their cotangents, where each user
would have handed over its own. For the chain rule that is the same. A rule that somebody wrote for
`jax.custom_vjp` may do anything with a cotangent, such as clip it, and then it is not.
"""

from __future__ import annotations

from ..ir import Node, walk


def has_linear_reverse(node: Node) -> bool:
    """Whether a node can be shared by several users, or moved, before it is differentiated.

    What an opaque op has inside is not known, so it counts as one with a rule of its own.

    Examples
    --------
    >>> from brainir.ir import Builder, Type, Value
    >>> build = Builder()
    >>> _ = build("sin", Value(Type("float32")))
    >>> has_linear_reverse(build.nodes[0])
    True
    """
    inside = (inner for region in node.regions for inner in walk(region))
    return not any(map(_has_rule_of_its_own, (node, *inside)))


def _has_rule_of_its_own(node: Node) -> bool:
    return node.op.opaque or not (node.op.wiring is None or node.op.wiring(node).linear)

"""Keeping lanes out of branches that they do not take, for the sake of derivatives.

Where lanes choose branches on their own, all of them run all branches, and each takes the results
of its own. The reverse then sends a cotangent of zero into a branch that a lane does not take, and
zero times the slope of a logarithm at zero is not a number. So

- the cotangent of what a lane brings into a branch is taken only if the lane takes the branch;
- what all lanes share gets a sum over lanes, in which nothing can be told apart any more. So a lane
  that does not take the branch runs it on what another one brings that does. If there is none, it
  runs on zeros, and where that could do harm, too, the sum is not taken.

A gate, ``select_n taken, (stop_gradient x), x``, is x but for derivatives: it is all that is left
to do once what lanes bring is harmless, and is gone again after `simplify`.
"""

from __future__ import annotations

from collections.abc import Callable

from ..ir import Builder, Graph, Operand, Value, captures, walk
from .lanes import choose

HARMLESS = frozenset(
    "abs add and argmax argmin broadcast_in_dim ceil clamp concatenate convert_element_type copy "
    "cos cumsum dot_general dynamic_slice dynamic_update_slice eq erf expand_dims floor gather ge "
    "gt iota le logistic lt max min mul ne neg not or pad reduce_max reduce_min reduce_sum reshape "
    "rev round select_n sign sin slice split square squeeze stack stop_gradient sub tanh tile "
    "transpose unstack xor".split()
)
"""Ops that are finite, and have finite slopes, wherever their operands are finite."""

Now = Callable[[Operand], Operand]


class Guard:
    """What lets derivatives into one branch only for the lanes that take it.

    Parameters
    ----------
    branch : Graph
        The branch, as it was before it had lanes.
    taken : Operand
        Which lanes take it.
    now : callable
        Says what stands for a value of the old region.
    differs : callable
        Says whether it has lanes.
    """

    def __init__(
        self, branch: Graph, taken: Operand, now: Now, differs: Callable[[Operand], bool]
    ) -> None:
        self.branch, self.taken, self.now, self.differs = branch, taken, now, differs

    def inputs(self, builder: Builder) -> dict[Value, Operand]:
        """Return what the nodes of the branch are to use in place of what they capture."""
        captured = [v for v in captures(self.branch.with_(results=())) if not v.type.is_key]
        smooth = [v for v in captured if v.type.is_differentiable]
        shared = [v for v in smooth if not self.differs(v)]
        if not shared:
            return {v: gate(builder, self.taken, self.now(v)) for v in smooth}
        some = builder("reduce_or", self.taken, axes=(0,))
        first = builder("argmax", self.taken, axes=(0,), index_dtype="int32")
        guarded = {
            v: self._of_a_lane_that_takes_it(builder, self.now(v), some, first)
            for v in captured
            if self.differs(v)
        }
        if any(node.op.name not in HARMLESS for node in walk(self.branch)):
            guarded.update((v, gate(builder, some, self.now(v))) for v in shared)
        return guarded

    def _of_a_lane_that_takes_it(
        self, builder: Builder, array: Operand, some: Operand, first: Operand
    ) -> Operand:
        shape = array.type.shape
        zero = builder.zeros(first.type)
        starts = (first, *(zero for _ in shape[1:]))
        row = builder("dynamic_slice", array, *starts, slice_sizes=(1, *shape[1:]))
        row = builder("select_n", some, builder.zeros(row.type), row)
        row = builder("squeeze", row, dimensions=(0,))
        if array.type.is_differentiable:
            row = builder("stop_gradient", row)
        dims = tuple(range(1, len(shape)))
        other = builder("broadcast_in_dim", row, shape=shape, dims=dims)
        return choose(builder, self.taken, [other, array], "")


def gate(builder: Builder, opens: Operand, x: Operand) -> Operand:
    """Return x, whose derivatives pass where a condition holds: one for each lane, or for all."""
    constant = builder("stop_gradient", x)
    if opens.type.shape:
        return choose(builder, opens, [constant, x], "")
    return builder("select_n", opens, constant, x)

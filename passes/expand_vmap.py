"""The pass `expand_vmap`: one run over whole arrays of lanes in place of a run for each lane."""

from __future__ import annotations

from ..ir import Builder, Graph, GraphError, Lanes, Node, Operand, move_axis, touched_by
from .batching import Batching
from .errors import LaneDependentResult
from .expansion import expand, expands
from .lane_dependence import lane_dependent


def expand_vmap(graph: Graph, differentiable: bool = False) -> Graph:
    """Replace every `vmap` by its region, with a leading lane axis on what differs between lanes.

    What is the same for all lanes is computed once, without that axis. A `while` whose
    condition differs between lanes runs as long as any lane does, and a lane that is done keeps its
    values; of a `cond` whose index differs, all branches run and each lane takes its own. Inside a
    `grad` or `jvp`, branches that a lane does not take are kept from its derivatives; everywhere if
    the whole graph is still to be ``differentiable``.

    Raises
    ------
    LaneDependentResult
        If a result differs between lanes and its ``out_axes`` is None.
    GraphError
        If states were not hoisted before.

    Notes
    -----
    *before*::

        graph @f(%x: f32[3,5], %w: f32[5]) -> (f32[5,3]) {
          %y = vmap (%a: f32[5] = %x, %b = %w) {
            size=3, in_axes=(0, none), out_axes=(1,), in_states=(), out_states=(), axis_name=none
          } : f32[5,3] do {
            %n = neg %b : f32[5]
            %p = mul %a, %n : f32[5]
            yield %p
          }
          return %y
        }

    *after*::

        graph @f(%x: f32[3,5], %w: f32[5]) -> (f32[5,3]) {
          %n = neg %w : f32[5]
          %0 = broadcast_in_dim %n {shape=(3, 5), dims=(1,)} : f32[3,5]
          %p = mul %x, %0 : f32[3,5]
          %1 = transpose %p {permutation=(1, 0)} : f32[5,3]
          return %1
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import expand_vmap
    >>> graph = parse('''graph @f(%x: f32[8,3]) -> (f32[8,3]) {
    ...   %y = vmap (%a: f32[3] = %x) {size=8, in_axes=(0,), out_axes=(0,)} do {
    ...     %b = sin %a
    ...     yield %b
    ...   }
    ...   return %y
    ... }''')
    >>> print(expand_vmap(graph))
    graph @f(%x: f32[8,3]) -> (f32[8,3]) {
      %b = sin %x : f32[8,3]
      return %b
    }
    """
    return expand(graph, "vmap", differentiable)


@expands("vmap")
def _expand(builder: Builder, node: Node, operands: tuple[Operand, ...]) -> list[Operand]:
    return in_lanes(builder, Lanes.of(node, operands), guarded=False)


@expands("vmap", differentiated=True)
def _expand_guarded(builder: Builder, node: Node, operands: tuple[Operand, ...]) -> list[Operand]:
    return in_lanes(builder, Lanes.of(node, operands), guarded=True)


def in_lanes(builder: Builder, vmap: Lanes, guarded: bool) -> list[Operand]:
    """Build a `vmap`, and return what stands for its results; ``guarded`` as in `Batching`."""
    for state in touched_by(vmap.body).states:
        raise GraphError(f"state @{state.name} is touched inside a vmap: hoist it first")
    lanes = [argument.param for argument in vmap.arguments if argument.axis is not None]
    name = vmap.attrs.get("axis_name")
    dependent = lane_dependent(vmap.body, lanes, name)
    spread = vmap.attrs.get("spmd_axis_name")
    batching = Batching(vmap.size, dependent, {}, guarded, name, spread)
    for array, axis, param in vmap.arguments:
        batching.mapping[param] = array if axis is None else move_axis(builder, array, axis, 0)
    batching.nodes(builder, vmap.nodes)
    results: list[Operand] = []
    for index, (inside, axis, _) in enumerate(vmap.yields):
        if axis is not None:
            results.append(move_axis(builder, batching.lanes(builder, inside), 0, axis))
        elif batching.differs(inside):
            raise LaneDependentResult(index, vmap.loc)
        else:
            results.append(batching.now(inside))
    return results

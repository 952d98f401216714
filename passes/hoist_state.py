"""The pass `hoist_state`: states become operands and results of what touches them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple, TypeVar

from ..ir import (
    Argument,
    Branches,
    Builder,
    Call,
    Carry,
    Choice,
    CustomDerivative,
    Effect,
    Gathered,
    Gradient,
    Graph,
    GraphError,
    Lane,
    Lanes,
    Literal,
    Loc,
    Loop,
    Node,
    Operand,
    Pushed,
    Pushforward,
    Round,
    Rule,
    StateVar,
    Type,
    Value,
    While,
    Yield,
    at,
    copy_node,
    fresh,
    mapped,
    walk,
)
from .errors import LaneDependentWrite
from .lane_dependence import lane_dependent
from .lanes import first_failure, part, take
from .state_scope import EntryScope, Leaves, StateScope
from .touched_states import LaneStates, TouchedStates

Derivative = TypeVar("Derivative", Gradient, Pushforward)


def hoist_state(graph: Graph) -> Graph:
    """Move every touch of a state to the edge of the graph.

    States that a loop writes become carries, those that a branch writes results of every branch,
    and those that are only read are captured. A state created inside the graph disappears. What is
    left is at most one read of a state, at the start, and at most one write, at the end.

    Inside a `vmap`, a state declared in ``in_states`` or ``out_states`` is mapped like an argument
    or a result; a random state that is not declared gives every lane a key of its own; a check
    that fails leaves what the first lane says in which it does; any other state may be read, and
    written with what is the same for all lanes.

    Raises
    ------
    LaneDependentWrite
        If the lanes of a vmap disagree about an undeclared state.

    Notes
    -----
    *before*::

        graph @run(%inp: f32[3]) -> (f32[3])
          states(@V: f32[] hidden) {
          %out = for_loop over(%i = %inp) {length=3, reverse=false, unroll=1} : f32[3] do {
            %v = state.read @V : f32[]
            %next = add %v, %i : f32[]
            state.write @V, %next
            yield %v
          }
          return %out
        }

    *after*::

        graph @run(%inp: f32[3]) -> (f32[3])
          states(@V: f32[] hidden) {
          %V = state.read @V : f32[]
          %V1, %out = for_loop carry(%V2 = %V) over(%i = %inp) {
            length=3, reverse=false, unroll=1
          } : f32[], f32[3] do {
            %next = add %V2, %i : f32[]
            yield %next, %V2
          }
          state.write @V, %V1
          return %out
        }

    Examples
    --------
    >>> from brainir.ir import parse
    >>> from brainir.passes import hoist_state
    >>> graph = parse('''graph @run(%x: f32[3]) -> ()
    ...   states(@cell.V: f32[] hidden) {
    ...   for_loop over(%a = %x) {length=3} do {
    ...     state.write @cell.V, %a
    ...     yield
    ...   }
    ...   return
    ... }''')
    >>> [node.op.name for node in hoist_state(graph).nodes]
    ['state.read', 'for_loop', 'state.write']
    """
    return _Hoister(graph).run()


class _Region(NamedTuple):
    """A region without states: what leaves of states it was given and left, if any, stand apart."""

    graph: Graph
    entered: tuple[Value, ...]
    left: Leaves


class _Hoister:
    """One replay of a graph, in which reads are looked up and writes only remembered."""

    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.touched = TouchedStates()
        self.mapping: dict[Value, Operand] = {}
        self.written_at: dict[StateVar, Loc | None] = {}
        self.local = _local_states(graph)
        self.rules: dict[str, Callable[[Node, Leaves, Builder, StateScope], Leaves]] = {
            "state.new": self._new,
            "state.read": self._read,
            "state.write": self._write,
            "for_loop": self._for_loop,
            "while": self._while,
            "cond": self._cond,
            "call": self._call,
            "checkpoint": self._call,
            "custom_derivative": self._custom_derivative,
            "grad": self._grad,
            "jvp": self._jvp,
            "vmap": self._vmap,
        }

    def run(self) -> Graph:
        graph, builder = self.graph, Builder()
        states = tuple(state for state in graph.states if state not in self.local)
        entry = EntryScope(states)
        self._replay(graph.nodes, builder, entry)
        for state in self.touched.writes(graph):
            loc = self.written_at.get(state)
            builder.emit("state.write", entry.read(state), {"state": state}, loc=loc)
        builder.extend(entry.reads.nodes, first=True)
        hoisted = builder.graph(graph.params, mapped(graph.results, self.mapping), like=graph)
        return hoisted.with_(states=states)

    def _replay(self, nodes: Iterable[Node], builder: Builder, scope: StateScope) -> None:
        for node in nodes:
            operands = mapped(node.operands, self.mapping)
            rule = self.rules.get(node.op.name)
            if rule is not None:
                results = rule(node, operands, builder, scope)
            else:
                regions = [self._unwritten(node, region, scope) for region in node.regions]
                results = copy_node(builder, node, operands, regions)
            self.mapping.update(zip(node.results, results, strict=True))

    def _region(
        self,
        region: Graph,
        around: StateScope,
        enter: Iterable[StateVar] = (),
        leave: Iterable[StateVar] = (),
    ) -> _Region:
        """Build a region again; it starts with leaves of some states, and is asked for others."""
        params, scope, builder = fresh(region.params), StateScope(around), Builder()
        self.mapping.update(zip(region.params, params, strict=True))
        entered: list[Value] = []
        for state in enter:
            leaves = _leaves(state)
            scope.values[state] = leaves
            entered += leaves
        self._replay(region.nodes, builder, scope)
        results = mapped(region.results, self.mapping)
        new = builder.graph(params, results, like=region)
        return _Region(new, tuple(entered), _values(leave, scope))

    def _unwritten(self, node: Node, region: Graph, scope: StateScope) -> Graph:
        """Build a region of a node without a rule again, which may read states but not write."""
        for state in self.touched.writes(region):
            raise GraphError(
                f"state @{state.name} is written inside {node.op.name}{at(node.loc)}, which has no "
                "rule for states: expand it before, or give it one in brainir/passes/hoist_state.py"
            )
        return self._region(region, scope).graph

    # --- states -------------------------------------------------------------------------------

    def _new(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        scope.values[node.attrs["state"]] = operands
        return ()

    def _read(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        return scope.read(node.attrs["state"], node.loc)

    def _write(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        self.written_at[node.attrs["state"]] = node.loc
        scope.values[node.attrs["state"]] = operands
        return ()

    # --- control flow ---------------------------------------------------------------------------

    def _for_loop(
        self, node: Node, operands: Leaves, builder: Builder, scope: StateScope
    ) -> Leaves:
        states = self.touched.writes(*node.regions)
        initial = _values(states, scope, node.loc)
        body = self._region(node.regions[0], scope, states, states)
        loop = Loop.of(node, operands, [body.graph])
        carried = map(Carry, initial, body.entered, body.left)
        lasts, stacks = loop.rebuilt(carries=(*loop.carries, *carried)).emit(builder)
        return (*_update(scope, states, lasts, len(loop.carries)), *stacks)

    def _while(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        if self.touched.writes(node.regions[0]):
            return self._while_asked_ahead(node, operands, builder, scope)
        states = self.touched.writes(node.regions[1])
        initial = _values(states, scope, node.loc)
        condition = self._region(node.regions[0], scope, states)
        body = self._region(node.regions[1], scope, states, states)
        loop = While.of(node, operands, [condition.graph, body.graph])
        carried = map(Round, initial, condition.entered, body.entered, body.left)
        loop = loop.rebuilt(carries=(*loop.carries, *carried))
        asked = Builder(node.loc)
        test = _unfailed(asked, states, condition.entered, loop.test)
        loop = loop.rebuilt(test=test, condition=(*loop.condition, *asked.nodes))
        return _update(scope, states, loop.emit(builder), len(operands))

    def _while_asked_ahead(
        self, node: Node, operands: Leaves, builder: Builder, scope: StateScope
    ) -> Leaves:
        """Ask a condition that writes before the loop and at the end of each step, not in between.

        Only checks may write there.
        """
        condition, body = node.regions
        for state in self.touched.writes(condition):
            if state.kind != "check":
                raise GraphError(
                    f"the condition of a while{at(node.loc)} writes state @{state.name}"
                )
        states = self.touched.writes(condition, body)
        (first,) = self._inline(condition, operands, builder, scope)
        initial = _values(states, scope, node.loc)
        params, entered = fresh(body.params), _all_leaves(states)
        step, inside = Builder(node.loc), StateScope(scope)
        _update(inside, states, entered, 0)
        following = self._inline(body, params, step, inside)
        (again,) = self._inline(condition, following, step, inside)
        seen, live = (Value(Type("bool"), "live") for _ in range(2))
        others = (*fresh(condition.params), *_all_leaves(states))
        asked = Builder(node.loc)
        test = _unfailed(asked, states, others[len(params) :], seen)
        starts = (first, *operands, *initial)
        nexts = (again, *following, *_values(states, inside))
        rounds = map(Round, starts, (seen, *others), (live, *params, *entered), nexts)
        names = condition.name, body.name
        loop = While(tuple(rounds), test, tuple(asked.nodes), tuple(step.nodes), names, node.loc)
        return _update(scope, states, loop.emit(builder)[1:], len(operands))

    def _inline(
        self, region: Graph, operands: Leaves, builder: Builder, scope: StateScope
    ) -> Leaves:
        """Build what a region does, in place, and return its results."""
        self.mapping.update(zip(region.params, operands, strict=True))
        self._replay(region.nodes, builder, scope)
        return mapped(region.results, self.mapping)

    def _cond(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        states = self.touched.writes(*node.regions)
        branches = [self._region(branch, scope, (), states) for branch in node.regions]
        view = Branches.of(node, operands, [branch.graph for branch in branches])
        columns = zip(*(branch.left for branch in branches), strict=True)
        left = map(Choice, columns, _all_leaves(states))
        results = view.rebuilt(choices=(*view.choices, *left)).emit(builder)
        return _update(scope, states, results, len(view.choices))

    def _call(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        states = self.touched.writes(*node.regions)
        body = self._region(node.regions[0], scope, (), states)
        view = Call.of(node, operands, [body.graph])
        left = map(Yield, body.left, _all_leaves(states))
        results = view.rebuilt(yields=(*view.yields, *left)).emit(builder)
        return _update(scope, states, results, len(view.yields))

    # --- derivatives ----------------------------------------------------------------------------

    def _custom_derivative(
        self, node: Node, operands: Leaves, builder: Builder, scope: StateScope
    ) -> Leaves:
        """A state written by the primal, or by the rule that replaces it, is a result of both."""
        primal, forward, *backward = node.regions
        states = self.touched.writes(primal, forward)
        for state in self.touched.writes(*backward):
            raise GraphError(
                f"the backward rule of the function{at(node.loc)} writes state @{state.name}; "
                "write it in the forward rule"
            )
        inside, rule = (self._region(r, scope, (), states) for r in (primal, forward))
        regions = [inside.graph, rule.graph, *(self._region(r, scope).graph for r in backward)]
        view = CustomDerivative.of(node, operands, regions)
        left = map(Yield, inside.left, _all_leaves(states))
        new = view.rebuilt(
            yields=(*view.yields, *left),
            rule=_with_states(view.rule, rule.left, moved=view.backward is None),
        )
        if new.backward is not None:
            ignored = (*new.backward.cotangents, *_all_leaves(states))
            new = new.rebuilt(backward=new.backward._replace(cotangents=ignored))
        return _update(scope, states, new.emit(builder), len(view.yields))

    def _grad(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        view, states = self._by_states(Gradient, Yield, node, operands, scope)
        gradients, results = view.emit(builder)
        count = len(node.regions[0].results)
        return (*gradients, *_update(scope, states, results, count))

    def _jvp(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        view, states = self._by_states(Pushforward, Pushed, node, operands, scope)
        results, tangents = view.emit(builder)
        count = len(node.regions[0].results)
        # Nobody asks for the tangents of the states, which come last.
        return (*_update(scope, states, results, count), *tangents[:count])

    def _by_states(
        self,
        kind: type[Derivative],
        piece: type[Yield | Pushed],
        node: Node,
        operands: Leaves,
        scope: StateScope,
    ) -> tuple[Derivative, tuple[StateVar, ...]]:
        """Let states that are differentiated by be arguments, and those that are written yields."""
        entering = tuple(dict.fromkeys(node.attrs["states"]))
        initial, states = _values(entering, scope, node.loc), self.touched.writes(*node.regions)
        body = self._region(node.regions[0], scope, entering, states)
        view = kind.of(node, operands, [body.graph])
        params = iter(body.entered)
        leaves = {state: [next(params) for _ in state.types] for state in entering}
        changed = view.rebuilt(
            arguments=(*view.arguments, *map(Argument, initial, body.entered)),
            yields=(*view.yields, *map(piece, body.left, _all_leaves(states))),
            states=(),
            wrt=(*(leaf for state in view.states for leaf in leaves[state]), *view.wrt),
        )
        return changed, states

    # --- lanes ------------------------------------------------------------------------------------

    def _vmap(self, node: Node, operands: Leaves, builder: Builder, scope: StateScope) -> Leaves:
        lanes, inside = self.touched.lanes(node), StateScope(scope)
        entered: list[tuple[Operand, int]] = []
        for outer, axis in lanes.enter.values():
            entered += [(leaf, axis) for leaf in scope.read(outer, node.loc)]
        entered += [(self._split(node, state, builder, scope), 0) for state in lanes.split]
        for lane, outer in lanes.shared.items():
            if lane.types == outer.types:
                inside.values[lane] = scope.read(outer, node.loc)
        body = self._region(node.regions[0], inside, (*lanes.enter, *lanes.split), lanes.leave)
        view = Lanes.of(node, operands, [body.graph])
        more = (Lane(*array, param) for array, param in zip(entered, body.entered, strict=True))
        axes = [axis for lane, (_, axis) in lanes.leave.items() for _ in lane.types]
        left = map(Gathered, body.left, axes, _all_leaves(lanes.leave))
        view = view.rebuilt(
            arguments=(*view.arguments, *more),
            yields=(*view.yields, *left),
            attrs={**view.attrs, "in_states": (), "out_states": ()},
        )
        self._check_lanes(view, lanes)
        results = view.emit(builder)
        for lane, (outer, _) in lanes.leave.items():
            self.written_at[outer] = self.written_at.get(lane, node.loc)
        outers = [outer for outer, _ in lanes.leave.values()]
        before = {s: scope.read(s, node.loc) for s in outers if s.kind == "check"}
        others = _update(scope, outers, results, len(node.results))
        builder.loc = node.loc
        for state, leaves in before.items():
            stacks = scope.values[state]
            scope.values[state] = first_failure(builder, stacks) if view.size else leaves
        return others

    def _split(self, node: Node, state: StateVar, builder: Builder, scope: StateScope) -> Value:
        """Return a key for every lane, and go on with a key that comes after all of them."""
        (key,) = scope.read(state, node.loc)
        builder.loc, size = node.loc, node.attrs["size"]
        keys = builder("random_split", key, shape=(size + 1,))
        after = builder("random_split", take(builder, keys, 0), shape=(2,))
        scope.values[state] = (take(builder, after, 1),)
        self.written_at[state] = node.loc
        return part(builder, keys, 1, size + 1)

    def _check_lanes(self, view: Lanes, lanes: LaneStates) -> None:
        """Refuse what a state without a lane axis cannot hold."""
        leaves = [lane for lane in lanes.leave for _ in lane.types]
        left = view.yields[len(view.yields) - len(leaves) :]
        if all(leaf.axis is not None for leaf in left):
            return
        mapped_ = [argument.param for argument in view.arguments if argument.axis is not None]
        dependent = lane_dependent(view.body, mapped_, view.attrs.get("axis_name"))
        for state, leaf in zip(leaves, left, strict=True):
            if leaf.axis is None and leaf.inside in dependent:
                raise LaneDependentWrite(state.name, self.written_at.get(state))


def _unfailed(
    builder: Builder, states: Iterable[StateVar], leaves: Sequence[Operand], goes_on: Operand
) -> Operand:
    """Return whether a loop goes on in which no check has failed so far.

    A check that fails is told when the run is over, so what fails must come to an end.
    """
    rest = iter(leaves)
    for state in states:
        mark, *_ = [next(rest) for _ in state.types]
        if state.kind == "check" and len(state.types) == 1:  # with more, it only says what failed
            unfailed = builder("eq", mark, Literal(0, mark.type))
            goes_on = builder("and", goes_on, unfailed)
    return goes_on


def _local_states(graph: Graph) -> set[StateVar]:
    """Return the states that are not the graph's own: created in it, or names of lanes."""
    local: set[StateVar] = set()
    for node in walk(graph):
        if Effect.NEW in node.op.effects:
            local.add(node.attrs["state"])
        elif node.op.name == "vmap":
            for declared in ("in_states", "out_states"):
                local.update(lane for _, lane, _ in node.attrs.get(declared, ()))
    return local


def _update(scope: StateScope, states: Iterable[StateVar], results: Leaves, at: int) -> Leaves:
    """Give states the results that stand at a position, and return the others."""
    end = at
    for state in states:
        start, end = end, end + len(state.types)
        scope.values[state] = results[start:end]
    return results[:at] + results[end:]


def _with_states(rule: Rule, left: Leaves, moved: bool) -> Rule:
    """Let a rule yield what is left of states, and zeros for their tangents if any are asked."""
    builder = Builder()
    tangents = [leaf if leaf.type.is_key else builder.zeros(leaf.type) for leaf in left]
    rule = rule._replace(values=(*rule.values, *left))
    if not moved:
        return rule
    nodes = (*rule.nodes, *builder.nodes)
    return rule._replace(tangents=(*rule.tangents, *tangents), nodes=nodes)


def _values(states: Iterable[StateVar], scope: StateScope, loc: Loc | None = None) -> Leaves:
    return tuple(leaf for state in states for leaf in scope.read(state, loc))


def _leaves(state: StateVar) -> tuple[Value, ...]:
    """Return new values for the leaves of a state."""
    return tuple(Value(type, state.hint) for type in state.types)


def _all_leaves(states: Iterable[StateVar]) -> tuple[Value, ...]:
    return tuple(leaf for state in states for leaf in _leaves(state))

"""From jaxpr to Graph. With `opaque`, the only place that looks inside a jaxpr.

Between JAX 0.10 and 0.11 closed and open jaxprs became one class and ``scan`` changed its
parameters; both are told apart here by what they have, not by version.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.extend.core as jex
import numpy as np
from jax.core import Tracer

from ...backends import shape_struct, type_of
from ...ir import (
    Builder,
    Const,
    Graph,
    GraphError,
    Literal,
    Loc,
    Node,
    Operand,
    StateVar,
    Type,
    Value,
    find_op,
)
from .automatic_checks import differentiates, plant_behind
from .cells import Handle
from .checks import Checks
from .collectives import LaneAxis
from .equations import SPECIAL, Env, create_also, new_params, open_jaxpr
from .explain import user_loc
from .frames import within
from .locations import loc_of
from .opaque import holds_code, import_by, opaque_op
from .tracing import Traced
from .translations import TRANSLATE


@dataclass(slots=True)
class Imported:
    """A captured program.

    Attributes
    ----------
    graph : Graph
        Its consts hold the arrays that were closed over.
    handles : dict
        What the graph's states stand for.
    custom : bool
        Whether there were custom derivatives, kept or not: it matters who differentiates it.
    checks : Checks
        What the program checks while it runs.
    """

    graph: Graph
    handles: dict[StateVar, Handle]
    custom: bool
    checks: Checks


def import_traced(
    traced: Traced,
    name: str,
    *,
    rules: int,
    gathered: Checks | None = None,
    axes: Mapping[Any, LaneAxis] | None = None,
) -> Imported:
    """Turn a traced function into a graph.

    Parameters
    ----------
    traced : Traced
        The function, traced without a capture around it.
    name : str
        The graph's name.
    rules : int
        How often somebody outside may differentiate the graph: custom derivatives keep their rules
        to that order, and one more inside each `grad` and `jvp`. Rules cost tracing time.
    gathered : Checks, optional
        What gets its checks in place of the program, as far as they are of its kinds.
    axes : mapping, optional
        What the graph calls the lanes that the function is one of.
    """
    importer = Importer()
    importer.gathering = [] if gathered is None else [gathered]
    importer.rules = rules
    importer.axes.update(axes or {})
    importer.loc = user_loc()
    builder = Builder()
    env = importer.bind_consts(traced)
    params = new_params(traced.jaxpr.invars, env, traced.hints)
    with within(traced.frame):
        importer.run(builder, traced.jaxpr.eqns, env)
    results = [importer.operand(v, env) for v in traced.jaxpr.outvars]
    graph = Graph(
        name,
        params,
        tuple(builder.nodes),
        tuple(results),
        importer.outside(),
        tuple(Const(v, d) for v, d, _ in importer.consts.values()),
    )
    handles = {var: handle for (handle, _), var in importer.states.items()}
    return Imported(graph, handles, importer.custom, importer.checks)


def import_jaxpr(jaxpr: Any, name: str = "jaxpr", *, rules: int = 2) -> Graph:
    """Turn a jaxpr that somebody else has made into a graph; calls of ``jax.jit`` are inlined.

    Parameters
    ----------
    jaxpr
        Its parameters become those of the graph. What a closed one closes over becomes consts of
        the graph; the open variables of another one become its first parameters.
    name : str
        The graph's name.
    rules : int
        As for `import_traced`.
    """
    body, consts = open_jaxpr(jaxpr), getattr(jaxpr, "consts", None)
    importer, env, builder = Importer(), Env(), Builder()
    importer.rules = rules
    params: tuple[Value, ...] = ()
    if consts is None:
        params = new_params(body.constvars, env)
    else:
        env.update(zip(body.constvars, map(importer.const, consts), strict=True))
    params += new_params(body.invars, env)
    importer.run(builder, body.eqns, env)
    results = tuple(importer.operand(v, env) for v in body.outvars)
    kept = tuple(Const(v, d) for v, d, _ in importer.consts.values())
    return Graph(name, params, tuple(builder.nodes), results, (), kept)


def import_function(
    builder: Builder, function: Callable[..., Any], operands: Sequence[Operand]
) -> list[Operand]:
    """Build what a function of JAX arrays does, without States, over operands of a graph.

    Its array constants become consts by value, which only small ones should be.
    """
    closed = jax.make_jaxpr(function)(*(shape_struct(o.type) for o in operands))
    jaxpr = open_jaxpr(closed)
    importer = Importer()
    env: Env = dict(zip(jaxpr.invars, operands, strict=True))
    for var, const in zip(jaxpr.constvars, closed.consts, strict=True):
        env[var] = _inline_const(builder, const)
    importer.rules = 1
    importer.run(builder, jaxpr.eqns, env)
    return [importer.operand(v, env) for v in jaxpr.outvars]


def _inline_const(builder: Builder, const: Any) -> Operand:
    """Spell a small constant array with literals."""
    array = np.asarray(const)
    type = type_of(array)
    if array.size and (array == array.flat[0]).all():
        return builder.full(type, array.flat[0].item())
    rows = [builder("reshape", Literal(x.item(), Type(type.dtype)), shape=(1,)) for x in array.flat]
    return builder("reshape", builder("concatenate", *rows, dimension=0), shape=type.shape)


def _held(data: Any) -> Any:
    """Return an array as the graph has it: what JAX calls float0, of which there is only zero."""
    if jax.typeof(data).dtype == jax.dtypes.float0:
        return np.zeros(np.shape(data), np.bool_)
    return data


class Importer:
    """One import: what the States, constants and variables of jaxprs are in the graph."""

    def __init__(self) -> None:
        self.states: dict[tuple[Handle, tuple[Type, ...]], StateVar] = {}
        self.births: dict[Handle, tuple[Builder, Node]] = {}
        """Where the States that the program itself creates are created."""
        self.lanes: set[Handle] = set()
        """What stands for one lane of a State, in the vmaps of the program."""
        self.consts: dict[int, tuple[Value, Any, Any]] = {}
        self.rules = 0
        self.custom = False
        self.checks = Checks()
        self.gathering: list[Checks] = []
        """What gathers checks around what is being built, the innermost last."""
        self.loc: Loc | None = None
        """Where the user called what is being built: for equations with no frame of the user."""
        self.custom_regions: dict[tuple[Any, ...], list[Graph]] = {}
        self.scopes: list[Env] = []
        """What the variables of the jaxprs are that are being built, the innermost last."""
        self.axes: dict[Any, LaneAxis] = {}
        """What the graph calls the lanes that may meet, by what the user calls them."""
        self.revived = 0
        """How many tracers of traces that have ended were found among their variables."""
        self._names: set[str] = set()

    # --- values -----------------------------------------------------------------------------------

    def operand(self, atom: Any, env: Env) -> Operand:
        """Return what a variable or literal of a jaxpr is in the graph."""
        if isinstance(atom, jex.Literal):
            type = type_of(atom.aval)
            if type.shape:
                return self.const(atom.val)
            return Literal(np.asarray(_held(atom.val)).item(), type)
        return env[atom]

    def closed_over(self, data: Any) -> Operand:
        """Return what stands for a constant of a jaxpr.

        A custom rule runs after the function that it was written in was traced, and may close over
        what was traced there. JAX has no way to say what that is, so the tracer tells its variable.
        """
        if isinstance(data, Tracer):
            variable = getattr(data, "val", None)
            for env in reversed(self.scopes):
                if isinstance(variable, jex.Var) and variable in env:
                    self.revived += 1
                    return env[variable]
        return self.const(data)

    def const(self, data: Any) -> Value:
        """Return the const of the graph that holds an array."""
        found = self.consts.get(id(data))
        if found is None:
            held = _held(data)
            aval = jax.typeof(held)
            type = type_of(aval)
            if not type.is_key:
                type = Type(str(jax.dtypes.canonicalize_dtype(aval.dtype)), type.shape)
            # The array itself is kept, too: another one must not get its identity.
            found = self.consts[id(data)] = (Value(type, "const"), held, data)
        return found[0]

    def bind_consts(self, traced: Traced) -> Env:
        """Return an environment in which a function's constants are consts of the graph."""
        return {
            var: self.const(data)
            for var, data in zip(traced.jaxpr.constvars, traced.consts, strict=True)
        }

    def state(self, handle: Handle, types: tuple[Type, ...]) -> StateVar:
        """Return the symbol of a State, one for each type that it takes."""
        var = self.states.get((handle, types))
        if var is None:
            unit = unit_name(handle.state.peek()) if handle.alive else None
            var = StateVar(self._unique(handle.name), types, handle.kind, unit)
            self.states[handle, types] = var
            if handle in self.births:
                create_also(var, *self.births[handle])
        return var

    def outside(self) -> tuple[StateVar, ...]:
        """Return the symbols of States that exist outside.

        They were not created here, and are not lanes of a vmap that is here.
        """
        return tuple(
            var
            for (handle, _), var in self.states.items()
            if handle not in self.births and handle not in self.lanes
        )

    def give(self, builder: Builder, handle: Handle, leaves: Sequence[Operand]) -> None:
        """Build that a State has a value, which JAX made, from here on."""
        var = self.state(handle, tuple(o.type for o in leaves))
        if handle in self.births:
            builder.emit("state.write", leaves, {"state": var})
        else:
            builder.emit("state.new", leaves, {"state": var})
            self.births[handle] = builder, builder.nodes[-1]

    def _unique(self, name: str) -> str:
        clean = "".join(c if c.isalnum() or c in "_." else "_" for c in name)
        candidate, n = clean, 1
        while candidate in self._names:
            n += 1
            candidate = f"{clean}.{n}"
        self._names.add(candidate)
        return candidate

    def checks_of(self, kind: str) -> Checks | None:
        """Return the checks that those of a kind belong to here; None if they do not count."""
        if kind == "error":
            return self.checks
        inner = self.gathering[-1] if self.gathering else self.checks
        return inner if kind in inner.kinds else None

    def function(
        self, builder: Builder, function: Callable[..., Any], operands: Sequence[Operand]
    ) -> list[Operand]:
        """Build what a function of arrays does, over operands of the graph."""
        return import_function(builder, function, operands)

    # --- equations --------------------------------------------------------------------------------

    def run(self, builder: Builder, eqns: Sequence[Any], env: Env) -> None:
        """Build the nodes of a list of equations."""
        outer = self.loc
        self.scopes.append(env)
        for eqn in eqns:
            builder.loc = self.loc = loc_of(eqn.source_info, outer)
            invars = eqn.invars[:-1] if "anchored" in eqn.params else eqn.invars
            operands = [self.operand(v, env) for v in invars]
            special = SPECIAL.get(eqn.primitive.name)
            if special is not None:
                results = special(self, builder, eqn, operands)
            else:
                results = self.plain(builder, eqn, operands)
            if self.gathering and (special is None or differentiates(eqn)):
                plant_behind(self, builder, eqn, operands, results)
            env.update(zip(eqn.outvars, results, strict=True))
        self.scopes.pop()
        self.loc = outer

    def plain(self, builder: Builder, eqn: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        """Build an equation that has no jaxprs in it: a modelled op, or else an opaque one."""
        name = eqn.primitive.name
        translate = TRANSLATE.get(name)
        if translate is not None:
            found = translate(eqn.params, tuple(v.aval for v in eqn.invars))
            op = None if found is None else find_op(found[0])
            if found is not None and op is not None:
                try:
                    return builder.emit(op, operands, found[1])
                except GraphError:
                    pass  # JAX takes what the op does not
        op = opaque_op(eqn.primitive, bool(eqn.effects), holds_code=holds_code(eqn.params))
        return builder.emit(op, operands, eqn.params)

    def inline(self, builder: Builder, jaxpr: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Build a closed jaxpr's nodes in place."""
        body = open_jaxpr(jaxpr)
        env: Env = dict(zip(body.invars, operands, strict=True))
        consts = getattr(jaxpr, "consts", ())
        env.update((v, self.closed_over(c)) for v, c in zip(body.constvars, consts, strict=True))
        self.run(builder, body.eqns, env)
        return [self.operand(v, env) for v in body.outvars]

    def region(
        self,
        jaxpr: Any,
        captured: Sequence[Operand] = (),
        consts: Sequence[Operand] = (),
        params: int | None = None,
    ) -> Graph:
        """Build a region whose first variables are captured values, and the others parameters."""
        body = open_jaxpr(jaxpr)
        env: Env = dict(zip(body.invars[: len(captured)], captured, strict=True))
        if consts:
            env.update(zip(body.constvars, consts, strict=True))
        else:
            own = getattr(jaxpr, "consts", ())
            env.update((v, self.closed_over(c)) for v, c in zip(body.constvars, own, strict=True))
        new = new_params(body.invars[len(captured) :], env)
        builder = Builder()
        self.run(builder, body.eqns, env)
        return builder.graph(new, [self.operand(v, env) for v in body.outvars])

    def inline_function(
        self, builder: Builder, function: Callable[..., Any], operands: Sequence[Operand]
    ) -> list[Operand]:
        """Build in place what a function of arrays does."""
        avals = [shape_struct(o.type) for o in operands]
        return self.inline(builder, jax.make_jaxpr(function)(*avals), operands)

    def derived(
        self, function: Callable[..., Any], captured: Sequence[Operand], types: Sequence[Type]
    ) -> Graph:
        """Build a region from a function of arrays, of which the first are captured."""
        avals = [*(shape_struct(o.type) for o in captured), *map(shape_struct, types)]
        return self.region(jax.make_jaxpr(function)(*avals), captured)


# --- equations with jaxprs in them ----------------------------------------------------------------


# --- units ----------------------------------------------------------------------------------------


def unit_name(value: Any) -> str | None:
    """Return the name of a Quantity's unit; None for anything without one."""
    unit = getattr(value, "unit", None)
    name = getattr(unit, "dispname", None)
    return None if unit is None or name in (None, "", "1") else str(name)


import_by(import_function)

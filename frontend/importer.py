"""From jaxpr to Graph. With `opaque`, the only place that looks inside a jaxpr.

Between JAX 0.10 and 0.11 closed and open jaxprs became one class and ``scan`` changed its
parameters; both are told apart here by what they have, not by version.
"""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import brainunit
import jax
import jax.extend.core as jex
import numpy as np
from jax.extend import source_info_util

from ..backends import shape_struct, type_of
from ..ir import (
    Builder,
    Const,
    Graph,
    Literal,
    Loc,
    Node,
    Operand,
    StateVar,
    Type,
    Value,
    find_op,
    replay_region,
)
from .capture import Handle, Traced, View, user_loc
from .custom_rules import jvp_rule, vjp_rules
from .explain import HERE
from .opaque import bind, opaque_op
from .primitives import TRANSLATE
from .region import Region

# A node's location is the innermost line that is neither ours nor the unit library's.
for _library in (HERE, os.path.dirname(inspect.getfile(brainunit.Quantity))):
    source_info_util.register_exclusion(_library)


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
    """

    graph: Graph
    handles: dict[StateVar, Handle]
    custom: bool


def import_traced(traced: Traced, name: str, *, rules: int) -> Imported:
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
    """
    importer = _Importer()
    importer.rules = rules
    importer.loc = user_loc()
    builder = Builder()
    env = importer.bind_consts(traced)
    params = _new_params(traced.jaxpr.invars, env, traced.hints)
    importer.run(builder, traced.jaxpr.eqns, env)
    results = [importer.operand(v, env) for v in traced.jaxpr.outvars]
    graph = Graph(
        name,
        params,
        tuple(builder.nodes),
        tuple(results),
        importer.outside(),
        tuple(Const(v, d) for v, d in importer.consts.values()),
    )
    handles = {var: handle for (handle, _), var in importer.states.items()}
    return Imported(graph, handles, importer.custom)


def import_function(
    builder: Builder, function: Callable[..., Any], operands: Sequence[Operand]
) -> list[Operand]:
    """Build what a function of JAX arrays does, without States, over operands of a graph.

    Its array constants become consts by value, which only small ones should be.
    """
    closed = jax.make_jaxpr(function)(*(shape_struct(o.type) for o in operands))
    jaxpr = _open(closed)
    importer = _Importer()
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


Env = dict[Any, Operand]


def _new_params(
    variables: Sequence[Any], env: Env, hints: Sequence[str] | None = None
) -> tuple[Value, ...]:
    hints = [""] * len(variables) if hints is None else hints
    pairs = zip(variables, hints, strict=True)
    params = tuple(Value(type_of(v.aval), hint) for v, hint in pairs)
    env.update(zip(variables, params, strict=True))
    return params


def _open(jaxpr: Any) -> Any:
    """Return the jaxpr inside a closed one; from JAX 0.11 on they are the same."""
    return getattr(jaxpr, "jaxpr", jaxpr)


class _Importer:
    def __init__(self) -> None:
        self.states: dict[tuple[Handle, tuple[Type, ...]], StateVar] = {}
        self.births: dict[Handle, tuple[Builder, Node]] = {}
        """Where the States that the program itself creates are created."""
        self.consts: dict[int, tuple[Value, Any]] = {}
        self.rules = 0
        self.custom = False
        self.loc: Loc | None = None
        """Where the user called what is being built: for equations with no frame of the user."""
        self.custom_regions: dict[tuple[int, int], list[Graph]] = {}
        self._names: set[str] = set()

    # --- values ---

    def operand(self, atom: Any, env: Env) -> Operand:
        """Return what a variable or literal of a jaxpr is in the graph."""
        if isinstance(atom, jex.Literal):
            type = type_of(atom.aval)
            if type.shape:
                return self.const(atom.val)
            return Literal(np.asarray(atom.val).item(), type)
        return env[atom]

    def const(self, data: Any) -> Value:
        """Return the const of the graph that holds an array."""
        found = self.consts.get(id(data))
        if found is None:
            aval = jax.typeof(data)
            type = type_of(aval)
            if not type.is_key:
                type = Type(str(jax.dtypes.canonicalize_dtype(aval.dtype)), type.shape)
            found = self.consts[id(data)] = (Value(type, "const"), data)
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
                _create_also(var, *self.births[handle])
        return var

    def outside(self) -> tuple[StateVar, ...]:
        """Return the symbols of States that exist outside: not created here, nor views of lanes."""
        return tuple(
            var
            for (handle, _), var in self.states.items()
            if handle not in self.births and handle.outer is None
        )

    def _unique(self, name: str) -> str:
        clean = "".join(c if c.isalnum() or c in "_." else "_" for c in name)
        candidate, n = clean, 1
        while candidate in self._names:
            n += 1
            candidate = f"{clean}.{n}"
        self._names.add(candidate)
        return candidate

    # --- equations ---

    def run(self, builder: Builder, eqns: Sequence[Any], env: Env) -> None:
        """Build the nodes of a list of equations."""
        outer = self.loc
        for eqn in eqns:
            builder.loc = self.loc = loc_of(eqn.source_info) or outer
            operands = [self.operand(v, env) for v in eqn.invars]
            special = _SPECIAL.get(eqn.primitive.name)
            if special is not None:
                results = special(self, builder, eqn, operands)
            else:
                results = self.plain(builder, eqn, operands)
            env.update(zip(eqn.outvars, results, strict=True))
        self.loc = outer

    def plain(self, builder: Builder, eqn: Any, operands: Sequence[Operand]) -> Sequence[Operand]:
        """Build an equation that has no jaxprs in it: a modelled op, or else an opaque one."""
        name = eqn.primitive.name
        translate = TRANSLATE.get(name)
        if translate is not None:
            found = translate(eqn.params, tuple(v.aval for v in eqn.invars))
            if found is not None:
                op = find_op(found[0])
                if op is not None:
                    return builder.emit(op, operands, found[1])
        op = opaque_op(eqn.primitive, bool(eqn.effects))
        return builder.emit(op, operands, eqn.params)

    def inline(self, builder: Builder, jaxpr: Any, operands: Sequence[Operand]) -> list[Operand]:
        """Build a closed jaxpr's nodes in place."""
        body = _open(jaxpr)
        env: Env = dict(zip(body.invars, operands, strict=True))
        consts = getattr(jaxpr, "consts", ())
        env.update((v, self.const(c)) for v, c in zip(body.constvars, consts, strict=True))
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
        body = _open(jaxpr)
        env: Env = dict(zip(body.invars[: len(captured)], captured, strict=True))
        if consts:
            env.update(zip(body.constvars, consts, strict=True))
        else:
            own = getattr(jaxpr, "consts", ())
            env.update((v, self.const(c)) for v, c in zip(body.constvars, own, strict=True))
        new = _new_params(body.invars[len(captured) :], env)
        builder = Builder()
        self.run(builder, body.eqns, env)
        return builder.graph(new, [self.operand(v, env) for v in body.outvars])

    def derived(self, function: Callable[..., Any], types: Sequence[Type]) -> Graph:
        """Build a region of parameters only from a function of arrays."""
        closed = jax.make_jaxpr(function)(*map(shape_struct, types))
        return self.region(closed)


# --- equations with jaxprs in them
# ------------------------------------------------------------------


Results = Sequence[Operand]


def _state_read(importer: _Importer, builder: Builder, eqn: Any, _: Results) -> Results:
    types = tuple(type_of(v.aval) for v in eqn.outvars)
    var = importer.state(eqn.params["handle"], types)
    return builder.emit("state.read", (), {"state": var}, hints=[var.hint] * len(var.types))


def _state_write(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    var = importer.state(eqn.params["handle"], tuple(o.type for o in operands))
    builder.emit("state.write", operands, {"state": var})
    return ()


def _state_new(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    handle = eqn.params["handle"]
    if handle in importer.births:  # JAX replays what it traced once; this is another State
        del importer.births[handle]
        importer.states = {key: v for key, v in importer.states.items() if key[0] is not handle}
    var = importer.state(handle, tuple(o.type for o in operands))
    builder.emit("state.new", operands, {"state": var})
    importer.births[handle] = builder, builder.nodes[-1]
    return ()


def _create_also(var: StateVar, builder: Builder, birth: Node) -> None:
    """Create a State, where it is created, with a type that it only gets later as well."""
    before = Builder()
    before.loc = birth.loc
    before.emit("state.new", [before.zeros(type) for type in var.types], {"state": var})
    at = builder.nodes.index(birth) + 1
    builder.nodes[at:at] = before.nodes


def _jit(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    return importer.inline(builder, eqn.params["jaxpr"], operands)


def _closed_call(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    return importer.inline(builder, eqn.params["call_jaxpr"], operands)


def _remat(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    region = importer.region(eqn.params["jaxpr"])
    attrs = {"prevent_cse": bool(eqn.params["prevent_cse"])}
    return builder.emit("checkpoint", operands, attrs, [region])


def _scan(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    params = eqn.params
    if "num_consts" in params:
        consts, carries = params["num_consts"], params["num_carry"]
    else:
        groups = params["ft_in"].update(operands).unpack()
        consts, carries = (len(list(group)) for group in groups[:2])
    body = importer.region(params["jaxpr"], operands[:consts])
    attrs = {
        "carries": carries,
        "length": params["length"],
        "reverse": params["reverse"],
        "unroll": params["unroll"],
    }
    return builder.emit("for_loop", operands[consts:], attrs, [body])


def _while(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    params = eqn.params
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    condition = importer.region(params["cond_jaxpr"], operands[:nc])
    body = importer.region(params["body_jaxpr"], operands[nc : nc + nb])
    return builder.emit("while", operands[nc + nb :], {}, [condition, body])


def _cond(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    index, *rest = operands
    regions = [importer.region(branch, rest) for branch in eqn.params["branches"]]
    return builder.emit("cond", [index], {}, regions)


def _custom(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    """A custom derivative; its rules are what ``jax.jvp`` or ``jax.vjp`` make of the bound call."""
    primal = eqn.params["call_jaxpr"]
    importer.custom = True
    if not importer.rules:
        return importer.inline(builder, primal, operands)

    def function(*args: Any) -> tuple[Any, ...]:
        return bind(eqn.primitive, eqn.params, args)

    types = [o.type for o in operands]
    jvp_mode = eqn.primitive.name.startswith("custom_jvp")
    # JAX gives equations that came of one trace one and the same rule, so it is derived once.
    recorded = eqn.params["jvp_jaxpr_fun" if jvp_mode else "fwd_jaxpr_thunk"]
    key = id(recorded), importer.rules
    regions = importer.custom_regions.get(key)
    if regions is None:
        region = importer.region(primal)
        # A rule may well use the function itself, so every derivative of it would have one more.
        importer.rules -= 1
        rules = (jvp_rule if jvp_mode else vjp_rules)(importer.derived, function, types)
        importer.rules += 1
        regions = importer.custom_regions[key] = [region, *rules]
    else:
        regions = [replay_region(region, {}) for region in regions]
    attrs = {"mode": "jvp" if jvp_mode else "vjp"}
    return builder.emit("custom_derivative", operands, attrs, regions)


def _region(importer: _Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    spec: Region = eqn.params["spec"]
    rest = list(operands[spec.operands :])
    regions: list[Graph] = []
    outer = importer.rules
    importer.rules = outer + (spec.op in ("grad", "jvp"))
    for body in spec.bodies:
        count = len(body.jaxpr.constvars)
        captured, rest = rest[:count], rest[count:]
        env: Env = dict(zip(body.jaxpr.constvars, captured, strict=True))
        params = _new_params(body.jaxpr.invars, env, body.hints)
        inner = Builder()
        importer.run(inner, body.jaxpr.eqns, env)
        results = [importer.operand(v, env) for v in body.jaxpr.outvars]
        regions.append(inner.graph(params, results, name=spec.name))
    importer.rules = outer
    attrs = {key: _symbols(importer, value) for key, value in spec.attrs.items()}
    return builder.emit(spec.op, operands[: spec.operands], attrs, regions)


def _symbols(importer: _Importer, value: Any) -> Any:
    """Replace (handle, avals) pairs in an attribute by the graph's own symbols."""
    if isinstance(value, StateRef):
        return importer.state(value.handle, value.types)
    if isinstance(value, tuple):
        return tuple(_symbols(importer, v) for v in value)
    return value


@dataclass(frozen=True, slots=True, eq=False)
class StateRef:
    """A State in an attribute of a region, before the graph has a symbol for it."""

    handle: Handle
    types: tuple[Type, ...]


def state_ref(handle: Handle, view: View) -> StateRef:
    """Return a State as it stands in an attribute, where it looks like ``view``."""
    return StateRef(handle, tuple(type_of(a) for a in view.avals))


_SPECIAL: Mapping[str, Callable[[_Importer, Builder, Any, Results], Results]] = {
    "state_read": _state_read,
    "state_write": _state_write,
    "state_new": _state_new,
    "region": _region,
    "jit": _jit,
    "pjit": _jit,
    "closed_call": _closed_call,
    "core_call": _closed_call,
    "remat2": _remat,
    "checkpoint": _remat,
    "scan": _scan,
    "while": _while,
    "cond": _cond,
    "custom_jvp_call": _custom,
    "custom_vjp_call": _custom,
}


# --- source locations and units
# -----------------------------------------------------------------------


def loc_of(source_info: Any) -> Loc | None:
    """Return the user's line of an equation, our own frames left out."""
    text = source_info_util.summarize(source_info)
    return parse_summary(text)


@functools.lru_cache(maxsize=4096)
def parse_summary(text: str) -> Loc | None:
    """Read JAX's ``file:line:column (function)``."""
    place, _, function = text.partition(" (")
    parts = place.rsplit(":", 2)
    if len(parts) == 3 and parts[1].isdigit() and parts[2].isdigit():
        return Loc(parts[0], int(parts[1]), int(parts[2]), function.rstrip(")"))
    if len(parts) >= 2 and parts[-1].isdigit():
        return Loc(place.rsplit(":", 1)[0], int(parts[-1]), 0, function.rstrip(")"))
    return None


def unit_name(value: Any) -> str | None:
    """Return the name of a Quantity's unit; None for anything without one."""
    unit = getattr(value, "unit", None)
    name = getattr(unit, "dispname", None)
    return None if unit is None or name in (None, "", "1") else str(name)

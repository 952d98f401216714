"""How equations of a jaxpr that are more than calls of a primitive become nodes.

States, regions, and JAX's own control flow and functions with rules of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...backends import type_of
from ...ir import (
    Builder,
    Graph,
    Node,
    Operand,
    StateVar,
    Type,
    Value,
)
from .avals import View
from .cells import Handle
from .checks import Checks
from .collectives import COLLECTIVES, import_collective, name_axis
from .custom_rules import import_custom
from .frames import within
from .regions import Region
from .while_lanes import while_any

if TYPE_CHECKING:
    from .importer import Importer


Env = dict[Any, Operand]


Results = Sequence[Operand]

GATHER_CHECKS = "gather_checks"
"""What a region is called that becomes no op: a function, and what its checks find."""


def new_params(
    variables: Sequence[Any], env: Env, hints: Sequence[str] | None = None
) -> tuple[Value, ...]:
    hints = [""] * len(variables) if hints is None else hints
    pairs = zip(variables, hints, strict=True)
    params = tuple(Value(type_of(v.aval), hint) for v, hint in pairs)
    env.update(zip(variables, params, strict=True))
    return params


def open_jaxpr(jaxpr: Any) -> Any:
    """Return the jaxpr inside a closed one; from JAX 0.11 on they are the same."""
    return getattr(jaxpr, "jaxpr", jaxpr)


def _state_read(importer: Importer, builder: Builder, eqn: Any, _: Results) -> Results:
    types = tuple(type_of(v.aval) for v in eqn.outvars)
    var = importer.state(eqn.params["handle"], types)
    return builder.emit("state.read", (), {"state": var}, hints=[var.hint] * len(var.types))


def _state_write(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    var = importer.state(eqn.params["handle"], tuple(o.type for o in operands))
    builder.emit("state.write", operands, {"state": var})
    return ()


def _state_new(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    handle = eqn.params["handle"]
    if handle in importer.births:  # JAX replays what it traced once; this is another State
        del importer.births[handle]
        importer.states = {key: v for key, v in importer.states.items() if key[0] is not handle}
    var = importer.state(handle, tuple(o.type for o in operands))
    builder.emit("state.new", operands, {"state": var})
    importer.births[handle] = builder, builder.nodes[-1]
    return ()


def _check(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    site = eqn.params["site"]
    checks = importer.checks_of(site.kind)
    if checks is not None:
        checks.build(importer, builder, site, operands)
    return ()


def create_also(var: StateVar, builder: Builder, birth: Node) -> None:
    """Create a State, where it is created, with a type that it only gets later as well."""
    before = Builder()
    before.loc = birth.loc
    before.emit("state.new", [before.zeros(type) for type in var.types], {"state": var})
    at = builder.nodes.index(birth) + 1
    builder.nodes[at:at] = before.nodes


def _jit(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    return importer.inline(builder, eqn.params["jaxpr"], operands)


def _closed_call(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    return importer.inline(builder, eqn.params["call_jaxpr"], operands)


def _remat(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    region = importer.region(eqn.params["jaxpr"])
    attrs = {"prevent_cse": bool(eqn.params["prevent_cse"])}
    return builder.emit("checkpoint", operands, attrs, [region])


def _scan(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
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


def _while(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    params = eqn.params
    nc, nb = params["cond_nconsts"], params["body_nconsts"]
    captured, initial = operands[:nc], operands[nc + nb :]
    condition = importer.region(params["cond_jaxpr"], captured)
    body = importer.region(params["body_jaxpr"], operands[nc : nc + nb])
    if condition.results[0].type.shape:
        again = importer.region(params["cond_jaxpr"], captured)
        condition, body = while_any(condition, again, body)
    return builder.emit("while", initial, {}, [condition, body])


def _cond(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    index, *rest = operands
    regions = [importer.region(branch, rest) for branch in eqn.params["branches"]]
    return builder.emit("cond", [index], {}, regions)


def _region(importer: Importer, builder: Builder, eqn: Any, operands: Results) -> Results:
    spec: Region = eqn.params["spec"]
    rest = list(operands[spec.operands :])
    regions: list[Graph] = []
    held = sum(len(body.jaxpr.constvars) for body in spec.bodies)
    for handle, leaves in _leaves_of(spec, rest[held:]):
        importer.give(builder, handle, leaves)
    if spec.op == GATHER_CHECKS:
        results = _gather_checks(importer, builder, spec, operands)
        return (*results, *_left(importer, builder, spec, eqn.outvars[len(results) :]))
    outer = importer.rules
    importer.rules = outer + (spec.op in ("grad", "jvp"))
    attrs = dict(spec.attrs)
    axes = dict(importer.axes)
    if attrs.get("axis_name") is not None:
        attrs["axis_name"] = name_axis(importer, attrs["axis_name"], attrs["size"])
    for body in spec.bodies:
        count = len(body.jaxpr.constvars)
        captured, rest = rest[:count], rest[count:]
        env: Env = dict(zip(body.jaxpr.constvars, captured, strict=True))
        params = new_params(body.jaxpr.invars, env, body.hints)
        inner = Builder()
        with within(body.frame):
            importer.run(inner, body.jaxpr.eqns, env)
        results = [importer.operand(v, env) for v in body.jaxpr.outvars]
        regions.append(inner.graph(params, results, name=spec.name))
    importer.rules, importer.axes = outer, axes
    attrs = {key: _symbols(importer, value) for key, value in _used(importer, attrs).items()}
    results = builder.emit(spec.op, operands[: spec.operands], attrs, regions)
    return (*results, *_left(importer, builder, spec, eqn.outvars[len(results) :]))


def _gather_checks(
    importer: Importer, builder: Builder, spec: Region, operands: Results
) -> Results:
    """Build a function in place, and return what its checks find beside its results."""
    (body,) = spec.bodies
    held, own, start = operands[spec.operands :], Checks(spec.attrs["kinds"]), len(builder.nodes)
    env: Env = dict(zip(body.jaxpr.invars, operands[: spec.operands], strict=True))
    env.update(zip(body.jaxpr.constvars, held[: len(body.jaxpr.constvars)], strict=True))
    importer.gathering.append(own)
    with within(body.frame):
        importer.run(builder, body.jaxpr.eqns, env)
    importer.gathering.pop()
    results = [importer.operand(v, env) for v in body.jaxpr.outvars]
    return (*results, *own.gathered(importer, builder, start))


def _left(
    importer: Importer, builder: Builder, spec: Region, outvars: Sequence[Any]
) -> Iterator[Operand]:
    """Build what a region leaves in the States that are local to a transformation under way."""
    for handle, variables in _leaves_of(spec, outvars):
        var = importer.state(handle, tuple(type_of(v.aval) for v in variables))
        yield from builder.emit("state.read", (), {"state": var})


def _leaves_of(spec: Region, leaves: Sequence[Any]) -> Iterator[tuple[Handle, Sequence[Any]]]:
    """Yield the States that enter or leave a region as operands and results, with their leaves."""
    for handle, count in spec.local:
        yield handle, leaves[:count]
        leaves = leaves[count:]


def _used(importer: Importer, attrs: dict[str, Any]) -> dict[str, Any]:
    """Return the attributes of a region, with those lanes of States that something in it touches.

    Some are touched only by rules of custom derivatives, which ran just now.
    """
    if "in_states" in attrs:
        touched = {handle for handle, _ in importer.states}
        lanes = [lane.handle for key in ("in_states", "out_states") for _, lane, _ in attrs[key]]
        importer.lanes.update(lanes)
        attrs["in_states"] = tuple(e for e in attrs["in_states"] if e[1].handle in touched)
    return attrs


def _symbols(importer: Importer, value: Any) -> Any:
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


SPECIAL: Mapping[str, Callable[[Importer, Builder, Any, Results], Results]] = {
    "state_read": _state_read,
    "state_write": _state_write,
    "state_new": _state_new,
    "check": _check,
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
    "custom_jvp_call": import_custom,
    "custom_vjp_call": import_custom,
    **dict.fromkeys(COLLECTIVES, import_collective),
}

"""Jaxprs through our graphs: imported, rewritten by our passes, and given back as jaxprs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import jax
import jax.extend.core as jex

from ...ir import Graph, equal
from ...passes import FOREIGN_PIPELINE
from ..capture import import_jaxpr, open_jaxpr
from ..errors import IRValidationError
from ..program import run_graph

OPTIMIZATIONS = {
    "constant_fold": "simplify",
    "algebraic_simplification": "simplify",
    "copy_propagation": "simplify",
    "cse": "common-subexpressions",
    "dce": "dead-code",
}
"""What an optimization of jaxprs is called, and the pass of ours that does it."""

JIT = ("jit", "pjit")

Names = dict[Any, Any]
"""What variables of a jaxpr are called in another one."""


def optimizations_of(given: str | Sequence[str] | None) -> tuple[str, ...]:
    """Return the names of optimizations in the order in which they are done.

    Raises
    ------
    ValueError
        If one of them does not exist.
    """
    if given is None or given == "all":
        return tuple(OPTIMIZATIONS)
    names = [given] if isinstance(given, str) else list(given)
    for name in names:
        if name not in OPTIMIZATIONS:
            known = ", ".join(OPTIMIZATIONS)
            raise ValueError(f"no optimization is called {name!r}; there are {known}, and 'all'")
    return tuple(name for name in OPTIMIZATIONS if name in names)


def check_jaxpr(what: str, jaxpr: Any) -> None:
    """Refuse what is not a jaxpr.

    Raises
    ------
    IRValidationError
        Naming it.
    """
    if not isinstance(jaxpr, jex.Jaxpr | jex.ClosedJaxpr):
        raise IRValidationError(
            f"{what} takes a jaxpr, such as jax.make_jaxpr or brainir.transform.make_jaxpr makes, "
            f"not {jaxpr!r}"
        )


def optimized(
    jaxpr: Any, names: Sequence[str], rounds: int, told: Callable[[str], None] | None = None
) -> Any:
    """Return a jaxpr of the same kind that does the same with less.

    Parameters
    ----------
    jaxpr : Jaxpr or ClosedJaxpr
        Its parameters, and those of its results that are still computed, stay the same variables.
    names : sequence of str
        Keys of `OPTIMIZATIONS`, in order.
    rounds : int
        How often to do all of them at most; less if a round changes nothing.
    told : callable, optional
        Is told of every round.
    """
    wanted = dict.fromkeys(OPTIMIZATIONS[name] for name in names)
    passes = [next(p for p in FOREIGN_PIPELINE if p.name == name) for name in wanted]
    graph = import_jaxpr(jaxpr)
    for i in range(rounds):
        before = graph
        for step in passes:
            graph = step(graph)
        if told is not None:
            told(f"round {i + 1}: {len(before.nodes)} operations became {len(graph.nodes)}")
        if equal(before, graph):
            break
    return _as_jaxpr(graph, jaxpr)


def _as_jaxpr(graph: Graph, like: Any) -> Any:
    """Return a graph as a jaxpr of the kind, and with the variables, of one that it came from."""
    old, is_closed = open_jaxpr(like), hasattr(like, "consts")
    inputs = [*([] if is_closed else old.constvars), *old.invars]
    consts = [const.data for const in graph.consts]
    structs = [jax.ShapeDtypeStruct(v.aval.shape, v.aval.dtype) for v in inputs]
    made: Any = jax.make_jaxpr(lambda *given: run_graph(graph, *given, *consts))(*structs)
    new = open_jaxpr(made)
    names: Names = dict(zip(new.invars, inputs, strict=True))
    if not is_closed:  # an open jaxpr has no place for what it closes over
        pairs = zip(new.constvars, made.consts, strict=True)
        names.update((var, jex.Literal(const, var.aval)) for var, const in pairs)
    constvars = new.constvars if is_closed else old.constvars
    body = _rebuilt(old, constvars, new.eqns, new.outvars, names)
    return jex.ClosedJaxpr(body, made.consts) if is_closed else body


def _rebuilt(
    old: Any, constvars: Sequence[Any], eqns: Sequence[Any], outs: Sequence[Any], names: Names
) -> Any:
    """Return an open jaxpr of other equations, in which what ``names`` holds is called otherwise.

    Results that are computed are called as in the old jaxpr.
    """
    taken = {*old.invars, *constvars, *(v for v in names.values() if isinstance(v, jex.Var))}
    for was, now in zip(old.outvars, outs, strict=True):
        free = isinstance(was, jex.Var) and was not in taken
        if free and isinstance(now, jex.Var) and now not in names and now not in taken:
            names[now] = was
            taken.add(was)
    renamed = [
        eqn.replace(
            invars=[_named(v, names) for v in eqn.invars],
            outvars=[_named(v, names) for v in eqn.outvars],
        )
        for eqn in eqns
    ]
    results = [_named(v, names) for v in outs]
    effects = frozenset[Any]().union(*(eqn.effects for eqn in eqns))
    return jex.Jaxpr(constvars, old.invars, results, renamed, effects, old.debug_info)


def _named(atom: Any, names: Names) -> Any:
    return atom if isinstance(atom, jex.Literal) else names.get(atom, atom)


# --- calls of jax.jit -----------------------------------------------------------------------------


def inlined(jaxpr: Any, wanted: Callable[[Any], bool]) -> Any:
    """Return a jaxpr of the same kind in which calls of ``jax.jit`` that are wanted are inlined."""
    body, names = open_jaxpr(jaxpr), Names()
    eqns = list(_inlined(body.eqns, names, wanted, fresh=False))
    outs = [_named(v, names) for v in body.outvars]
    new = _rebuilt(body, body.constvars, eqns, outs, {})
    return jex.ClosedJaxpr(new, jaxpr.consts) if hasattr(jaxpr, "consts") else new


def _inlined(
    eqns: Sequence[Any], names: Names, wanted: Callable[[Any], bool], fresh: bool
) -> Iterator[Any]:
    """Yield equations; those of a body get variables of their own, since it may be there twice."""
    for eqn in eqns:
        given = [_named(v, names) for v in eqn.invars]
        if eqn.primitive.name in JIT and wanted(eqn):
            closed = eqn.params["jaxpr"]
            inner = open_jaxpr(closed)
            own = dict(zip(inner.invars, given, strict=True))
            consts = zip(inner.constvars, getattr(closed, "consts", ()), strict=True)
            own.update((var, jex.Literal(const, var.aval)) for var, const in consts)
            yield from _inlined(inner.eqns, own, wanted, fresh=True)
            results = [_named(v, own) for v in inner.outvars]
            names.update(zip(eqn.outvars, results, strict=True))
        else:
            if fresh:
                names.update((v, jex.Var(v.aval)) for v in eqn.outvars if not _is_dropped(v))
            outs = [_named(v, names) for v in eqn.outvars]
            yield eqn.replace(invars=given, outvars=outs)


def _is_dropped(variable: Any) -> bool:
    return isinstance(variable, jex.DropVar)


# --- equations ------------------------------------------------------------------------------------


def jaxpr_of_equations(
    eqns: Sequence[Any],
    invars: Sequence[Any] | None,
    outvars: Sequence[Any] | None,
    constvars: Sequence[Any] | None,
) -> Any:
    """Return an open jaxpr of equations.

    Parameters
    ----------
    eqns : sequence of JaxprEqn
        In an order in which they can be computed.
    invars, outvars, constvars : sequence of Var, optional
        By default, parameters are the variables that no equation defines, in the order of their
        first use, and results those that no equation uses.

    Raises
    ------
    IRValidationError
        If something is no equation, or a variable is used that nothing defines.
    """
    bound = list(constvars or ())
    defined, used = dict.fromkeys([*bound, *(invars or ())]), dict[Any, None]()
    for eqn in eqns:
        if not isinstance(eqn, jex.JaxprEqn):
            raise IRValidationError(f"{eqn!r} is not an equation of a jaxpr")
        for var in eqn.invars:
            if isinstance(var, jex.Literal):
                continue
            used[var] = None
            if var not in defined and invars is not None:
                raise IRValidationError(f"{var} of {eqn} is neither defined nor among invars")
            defined.setdefault(var)
        defined.update(dict.fromkeys(v for v in eqn.outvars if not _is_dropped(v)))
    made = dict.fromkeys(v for eqn in eqns for v in eqn.outvars if not _is_dropped(v))
    if invars is None:
        invars = [v for v in used if v not in made and v not in bound]
    if outvars is None:
        outvars = [v for v in made if v not in used]
    effects = frozenset[Any]().union(*(eqn.effects for eqn in eqns))
    info = jex.DebugInfo("eqns_to_jaxpr", "eqns_to_jaxpr", None, None)
    return jex.Jaxpr(bound, list(invars), list(outvars), list(eqns), effects, info)

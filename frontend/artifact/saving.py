"""`save`: a compiled function into a file."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import jax
import jax.export

from ...backends import type_of, xla
from ...ir import Effect, Graph, GraphError, parse, walk
from ..capture import resolve_opaque
from ..options import pipeline_for
from ..program import Compiled, Program, Slot, compile_program
from ..transform.jit import Jitted
from ..transform.stages import Stages
from .arrays import array_bytes
from .container import write_container
from .errors import ArtifactError
from .trees import tree_to_json

FORMAT = "brainir artifact"
VERSION = 2
"""Of the format; it grows when what is written can no longer be read by what read it before."""

META, GRAPH, CAPTURED, STABLEHLO = "meta.json", "graph.bir", "captured.bir", "module.stablehlo"
"""Names of the entries that are not arrays."""


def const_entry(index: int) -> str:
    """Return the name of the entry that holds a const."""
    return f"consts/{index}.npy"


def state_entry(index: int, leaf: int) -> str:
    """Return the name of the entry that holds one leaf of a State."""
    return f"states/{index}.{leaf}.npy"


def save(
    compiled: Stages | Jitted,
    path: str | os.PathLike[str],
    *args: Any,
    platforms: Sequence[str] = (),
    **kwargs: Any,
) -> None:
    """Write a compiled function into one file, from which `load` makes a function again.

    The file holds the graph as text, before and after the passes, the arrays that the function
    closes over, and the present values of its States: no Python code and no pickle. Static
    arguments and what was read of `environ` are part of the graph.

    Parameters
    ----------
    compiled : Stages or Jitted
        What ``jitted.trace(...)`` returned; or ``jitted`` itself, with arguments to trace it for.
    path : str or path-like
        The file to write.
    *args, **kwargs
        Example arguments, if ``compiled`` was not traced yet.
    platforms : sequence of str
        Of ``"cpu"``, ``"cuda"`` and ``"tpu"``: those for which the file also gets StableHLO, for
        others than brainir to run; see `Loaded.stablehlo`.

    Raises
    ------
    ArtifactError
        If a file cannot hold the function: an op has parameters that are not plain data (such as a
        callback), the arguments, result or a State have containers other than tuples, lists,
        dicts and Quantities, or a State changes its type while the function runs.
    TypeError
        If ``compiled`` is something else, or example arguments are given twice.

    Examples
    --------
    >>> import brainir, jax.numpy as jnp, os, tempfile
    >>> count = brainir.State(jnp.zeros(2), name="count")
    >>> @brainir.transform.jit
    ... def add(x):
    ...     count.value += x
    ...     return count.value.sum()
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "add.brainir")
    ...     brainir.save(add, path, 1.0)
    ...     loaded = brainir.load(path)
    >>> loaded(1.0), loaded(1.0), loaded.states["count"].value
    (Array(2., dtype=float32), Array(4., dtype=float32), Array([2., 2.], dtype=float32))
    """
    stages = _traced(compiled, args, kwargs)
    program = stages.program
    if program.checks:
        raise ArtifactError(
            f"{program.graph.name} cannot be saved: what its checks raise is made by Python. Save "
            "it without jit_error_if, check and debug_nan"
        )
    for slot in program.slots:
        _check_slot(slot)
    ready = compile_program(program)
    _check_readable(ready.graph)
    exported = xla.export(ready.graph, platforms) if platforms else None
    entries = {
        META: json.dumps(_meta(stages, ready, exported), indent=1).encode(),
        GRAPH: str(ready.graph).encode(),
        CAPTURED: str(program.graph).encode(),
        **_arrays(program, ready),
    }
    if exported is not None:
        entries[STABLEHLO] = exported.mlir_module_serialized
    write_container(path, entries)


def _traced(compiled: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Stages:
    if isinstance(compiled, Jitted):
        return compiled.trace(*args, **kwargs)
    if not isinstance(compiled, Stages):
        raise TypeError(
            "save takes a function made by brainir.transform.jit, or what its trace(...) returns, "
            f"not {compiled!r}"
        )
    if args or kwargs:
        raise TypeError("the function was traced already, so save takes no example arguments")
    return compiled


def _check_slot(slot: Slot) -> None:
    """Refuse a State that is left as something else than it was found."""
    name, types = slot.var.name, slot.var.types
    same = slot.before.tree == slot.after.tree and slot.before.same_types(slot.after)
    if not same or tuple(map(type_of, slot.before.avals)) != types:
        raise ArtifactError(
            f"State {name!r} changes from {slot.before} to {slot.after} while the function runs, "
            "so it could be run only once; keep structure, unit, shapes and dtypes as they are"
        )
    leaves, tree = jax.tree.flatten(slot.handle.state.peek())
    if tree != slot.before.tree or tuple(type_of(jax.numpy.asarray(x)) for x in leaves) != types:
        raise ArtifactError(
            f"State {name!r} is no longer what it was when the function was traced; trace it again"
        )


def _check_readable(graph: Graph) -> None:
    """Refuse a graph that its text does not tell in full."""
    for node in walk(graph):
        if Effect.IO in node.op.effects:
            where = f" at {node.loc}" if node.loc else ""
            raise ArtifactError(
                f"{graph.name} cannot be saved as text: it calls Python{where}. Save it without "
                "its progress bar, jax.debug.print or other callback"
            )
    try:
        parse(str(graph), f"the graph of {graph.name}", resolve_opaque)
    except GraphError as error:
        raise ArtifactError(f"{graph.name} cannot be saved as text:\n{error}") from error


def _arrays(program: Program, ready: Compiled) -> dict[str, bytes]:
    entries = {const_entry(i): array_bytes(c) for i, c in enumerate(program.consts(ready.consts))}
    for i, slot in enumerate(program.slots):
        for j, leaf in enumerate(jax.tree.leaves(slot.handle.state.peek())):
            entries[state_entry(i, j)] = array_bytes(jax.numpy.asarray(leaf))
    return entries


def _meta(stages: Stages, ready: Compiled, exported: jax.export.Exported | None) -> dict[str, Any]:
    program, us = stages.program, sys.modules[__name__.partition(".")[0]]
    return {
        "format": FORMAT,
        "version": VERSION,
        "written_by": {m.__name__: m.__version__ for m in (us, jax)},
        "pipeline": [step.name for step in pipeline_for(program.options)],
        "arguments": tree_to_json(program.in_tree, "the arguments"),
        "keywords": list(stages.keywords),
        "result": tree_to_json(program.out_tree, "the result"),
        "states": [
            tree_to_json(slot.before.tree, f"State {slot.var.name!r}") for slot in program.slots
        ],
        "custom_derivatives": program.custom,
        "stablehlo": exported
        and {
            "platforms": list(exported.platforms),
            "arguments": list(exported.module_kept_var_idx),
        },
    }

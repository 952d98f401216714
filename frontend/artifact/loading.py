"""`load`: a function from a file, which runs no code that is in the file."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...backends import Backend, Executable, backend_named, lax, shape_struct, type_of
from ...ir import Const, Graph, GraphError, StateVar, Type, numpy_dtype, parse, verify, walk
from ...passes import CAPTURE, run_pipeline
from ..capture import aval_of, current_frame, describe_tree, resolve_opaque
from ..options import in_force, pipeline_for
from ..state import State, assign_all, class_of_kind, in_foreign_trace
from .arrays import array_of_bytes
from .container import read_container
from .errors import ArtifactError
from .saving import CAPTURED, FORMAT, GRAPH, META, STABLEHLO, VERSION, const_entry, state_entry
from .trees import tree_of_json


def load(path: str | os.PathLike[str]) -> Loaded:
    """Return the function that `save` has written into a file.

    No code of the file is run, and nothing of what it says is believed unchecked: its seal, the
    sizes of its entries, the version of its format, and the graph, whose types, states and consts
    have to agree with the arrays and structures beside it.

    Raises
    ------
    ArtifactError
        If the file is damaged, of another kind, or written by a version that this one cannot read.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import brainir, os, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "double.brainir")
    ...     brainir.save(brainir.transform.jit(lambda x: {"twice": x + x}), path, 1.5)
    ...     double = brainir.load(path)
    >>> double(2.0)
    {'twice': Array(4., dtype=float32)}
    """
    entries = read_container(path)
    return Loaded(os.fspath(path), entries)


@dataclass(frozen=True, slots=True)
class StableHLO:
    """A function for others to run.

    Attributes
    ----------
    module : bytes
        Portable MLIR bytecode. Its results are the leaves of the result, then those of the States
        that are written.
    platforms : tuple of str
        What it is for. If there are several, the module takes the index of one of them first.
    arguments : tuple of int
        What the module takes then: of the leaves of the arguments, followed by the leaves of all
        States and the consts, those with these numbers; it has no use for the others.
    """

    module: bytes
    platforms: tuple[str, ...]
    arguments: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class _Meta:
    """What the file says of itself, once it is known to be of the right form."""

    arguments: Any
    keywords: tuple[str, ...]
    result: Any
    states: tuple[Any, ...]
    custom_derivatives: bool
    stablehlo: StableHLO | None


class Loaded:
    """A function that was loaded from a file; see `load`.

    It is called like the function that was saved, keyword arguments included, static ones left out.
    Arguments must have the shapes, dtypes and units that it was traced for. It reads and updates
    the States that it holds, and inside brainir's transformations it behaves like any function that
    uses States. Where the saved function has custom derivatives (such as surrogate gradients), it
    cannot be differentiated: they are not in the file. The backend that runs it is the one in force
    where it is called (`brainir.options`); its passes have run before it was saved.

    Attributes
    ----------
    states : dict of str to State
        By the names that the graph has for them; new objects, with the values that were saved.
    """

    def __init__(self, path: str, entries: dict[str, bytes]) -> None:
        self._path, self._entries = path, entries
        meta = self._meta = _read_meta(entries)
        graph = _read_graph(_entry(entries, GRAPH), f"{path}:{GRAPH}")
        _check_fit(meta, graph)
        _check_width(graph)
        self._graph = graph.with_(consts=self._consts(graph))
        self.states = {
            var.name: self._state(i, var, tree)
            for i, (var, tree) in enumerate(zip(graph.states, meta.states, strict=True))
        }
        if len(self.states) != len(graph.states):
            raise ArtifactError("two states of the graph have the same name")
        self._held = tuple(self.states.values())
        self._written = tuple(map(graph.states.index, graph.writes))
        self.__name__ = graph.name
        self._executables: dict[Backend, Executable] = {}

    def __repr__(self) -> str:
        arguments = ", ".join(str(param.type) for param in self._graph.params[: self._count])
        return f"<{self._graph.name}({arguments}) loaded from {self._path}>"

    @property
    def _count(self) -> int:
        return self._meta.arguments.num_leaves

    # --- reading ----------------------------------------------------------------------------------

    def _consts(self, graph: Graph) -> tuple[Const, ...]:
        entries = self._entries
        return tuple(
            Const(const.value, array_of_bytes(_entry(entries, name), const.value.type, name))
            for const, name in ((c, const_entry(i)) for i, c in enumerate(graph.consts))
        )

    def _state(self, index: int, var: StateVar, tree: Any) -> State[Any]:
        names = [state_entry(index, leaf) for leaf in range(len(var.types))]
        leaves = [
            array_of_bytes(_entry(self._entries, name), type, name)
            for name, type in zip(names, var.types, strict=True)
        ]
        kind = class_of_kind(var.kind)
        try:
            return kind(jax.tree.unflatten(tree, leaves), name=var.name)
        except (TypeError, ValueError) as error:
            raise ArtifactError(f"state @{var.name} cannot be {var.kind}: {error}") from error

    # --- running ----------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Run the function and update `states`.

        Raises
        ------
        TypeError
            If the arguments, or what the States hold, are not what the function was traced for.
        """
        leaves = self._argument_leaves(args, kwargs)
        held = [leaf for i in range(len(self._held)) for leaf in self._state_leaves(i)]
        outs = self._run()(*leaves, *held)
        start = self._meta.result.num_leaves
        values: list[tuple[State[Any], Any]] = []
        for i in self._written:
            stop = start + len(self._graph.states[i].types)
            value = jax.tree.unflatten(self._meta.states[i], outs[start:stop])
            values.append((self._held[i], value))
            start = stop
        assign_all(values)
        return jax.tree.unflatten(self._meta.result, outs[: self._meta.result.num_leaves])

    def _run(self) -> Callable[..., Sequence[Any]]:
        """Return what runs the graph here: on a backend, or as a part of what is being traced."""
        if current_frame() is not None:
            return self._guarded(self._in_capture)
        backend = backend_named(in_force.options.backend)
        if backend not in self._executables:
            self._executables[backend] = backend.compile(self._graph)
        executable = self._executables[backend]
        return self._guarded(executable.traced) if in_foreign_trace() else executable

    def _guarded(self, run: Callable[..., Sequence[Any]]) -> Callable[..., Sequence[Any]]:
        if self._meta.custom_derivatives:
            return _not_differentiable(self.__name__, run)
        return run

    @functools.cached_property
    def _in_capture(self) -> Callable[..., Sequence[Any]]:
        consts = [const.data for const in self._graph.consts]
        inlined = lax.jitted(self._graph)
        return lambda *arrays: inlined(*arrays, *consts)

    def _argument_leaves(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> list[Any]:
        keywords = self._meta.keywords
        if sorted(kwargs) != sorted(keywords):
            raise TypeError(
                f"{self.__name__} takes the keyword arguments {list(keywords)}, not {list(kwargs)}"
            )
        given = (*args, *(kwargs[name] for name in keywords))
        types = [param.type for param in self._graph.params[: self._count]]
        return _fitted(given, self._meta.arguments, types, f"{self.__name__} takes")

    def _state_leaves(self, index: int) -> list[Any]:
        var = self._graph.states[index]
        value, tree = self._held[index].value, self._meta.states[index]
        return _fitted(value, tree, var.types, f"{self.__name__} needs State {var.name!r} to be")

    # --- to look at it ----------------------------------------------------------------------------

    def graph(self, stage: str | None = None) -> Graph:
        """Return the graph after the pass called ``stage``; ``"capture"`` for before all.

        Without a stage it is the graph that runs, as it was saved; otherwise the captured one goes
        through the passes of today, those that the options in force ask for. Only the first has the
        data of its consts.

        Raises
        ------
        ArtifactError
            If the text of the captured graph does not tell it in full.
        ValueError
            If there is no such stage.
        """
        if stage is None:
            return self._graph
        captured = _read_graph(
            _entry(self._entries, CAPTURED), f"{self._path}:{CAPTURED}", form="any"
        )
        if stage == CAPTURE:
            return captured
        return run_pipeline(captured, pipeline_for(in_force.options), until=stage)

    @property
    def stablehlo(self) -> StableHLO:
        """The StableHLO that was saved for some platforms. Calling this function does not use it.

        Raises
        ------
        ArtifactError
            If none was saved.
        """
        if self._meta.stablehlo is None:
            raise ArtifactError(
                f"{self._path} has no StableHLO; give platforms=('cpu', ...) to brainir.save"
            )
        return self._meta.stablehlo


def _not_differentiable(name: str, run: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function whose derivatives would be wrong, such that asking for them is an error."""
    guarded = jax.custom_jvp(lambda *arrays: run(*arrays))

    @guarded.defjvp
    def refuse(primals: Any, tangents: Any) -> Any:
        raise ArtifactError(
            f"{name} was loaded from a file, which does not hold its custom derivatives (surrogate "
            "gradients, for instance), so it cannot be differentiated; save the gradient itself"
        )

    return guarded


def _entry(entries: dict[str, bytes], name: str) -> bytes:
    if name not in entries:
        raise ArtifactError(f"the file has no entry {name}")
    return entries[name]


def _read_meta(entries: dict[str, bytes]) -> _Meta:
    try:
        found = json.loads(_entry(entries, META))
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{META} is not JSON: {error}") from error
    match found:
        case {"format": str(format), "version": int(version)} if format == FORMAT:
            if version != VERSION:
                raise ArtifactError(
                    f"the file has version {version} of the format, and this is a brainir for "
                    f"version {VERSION}; it was written by {found.get('written_by')}"
                )
        case _:
            raise ArtifactError(f"{META} is not that of an artifact")
    match found:
        case {
            "arguments": arguments,
            "keywords": [*keywords],
            "result": result,
            "states": [*states],
            "custom_derivatives": bool(custom),
            "stablehlo": None | dict() as stablehlo,
        } if all(isinstance(name, str) for name in keywords):
            return _Meta(
                tree_of_json(arguments),
                tuple(keywords),
                tree_of_json(result),
                tuple(map(tree_of_json, states)),
                custom,
                None if stablehlo is None else _read_stablehlo(entries, stablehlo),
            )
    raise ArtifactError(f"{META} lacks something that an artifact has")


def _read_stablehlo(entries: dict[str, bytes], found: dict[str, Any]) -> StableHLO:
    match found:
        case {"platforms": [*platforms], "arguments": [*arguments]}:
            if {*map(type, platforms)} <= {str} and {*map(type, arguments)} <= {int}:
                module = _entry(entries, STABLEHLO)
                return StableHLO(module, tuple(platforms), tuple(arguments))
    raise ArtifactError(f"{META} does not say what the StableHLO is")


def _read_graph(data: bytes, name: str, form: str = "pure") -> Graph:
    try:
        graph = parse(data.decode(), name, resolve_opaque)
        verify(graph, form)
        if form != "any":
            verify(graph, "expanded")
    except (GraphError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"a graph in the file cannot be read:\n{error}") from error
    return graph


def _check_fit(meta: _Meta, graph: Graph) -> None:
    """Refuse a graph that does not take and give what the file says."""
    states = graph.states
    if [tree.num_leaves for tree in meta.states] != [len(state.types) for state in states]:
        raise ArtifactError("the graph does not have the states that the file describes")
    held = [type for state in states for type in state.types]
    count = meta.arguments.num_leaves
    if [p.type for p in graph.params[count:]] != held or len(graph.params) != count + len(held):
        raise ArtifactError("the graph does not take the arguments and states of the file")
    left = [type for state in graph.writes for type in state.types]
    count = meta.result.num_leaves
    if [r.type for r in graph.results[count:]] != left or len(graph.results) != count + len(left):
        raise ArtifactError("the graph does not give the results and states of the file")


def _check_width(graph: Graph) -> None:
    """Refuse to run with 32 bits what was meant for 64."""
    values = [*graph.params, *graph.results, *(const.value for const in graph.consts)]
    for node in walk(graph):
        values += [*node.operands, *node.results]
    for dtype in {value.type.dtype for value in values}:
        if dtype.endswith(("64", "128")) and jax.dtypes.canonicalize_dtype(dtype) != dtype:
            raise ArtifactError(
                f"the function computes with {dtype}; call "
                'jax.config.update("jax_enable_x64", True) before loading it'
            )


# --- fitting values to a signature ----------------------------------------------------------------


def _fitted(value: Any, tree: Any, types: Sequence[Type], what: str) -> list[Any]:
    """Return the leaves of a value, which must be of a structure and of types."""
    leaves, found = jax.tree.flatten(value)
    avals = [_aval(leaf, what) for leaf in leaves]
    if found == tree and all(map(_fits, leaves, avals, types)):
        pairs = zip(leaves, types, strict=True)
        return [_array(leaf, type) for leaf, type in pairs]
    shown = describe_tree(tree, [shape_struct(type) for type in types])
    raise TypeError(f"{what} {shown}, not {describe_tree(found, avals)}")


def _aval(leaf: Any, what: str) -> Any:
    try:
        return aval_of(leaf)
    except TypeError:
        raise TypeError(f"{what} arrays, not {leaf!r} of type {type(leaf).__name__}") from None


def _fits(leaf: Any, aval: Any, type: Type) -> bool:
    """Whether a leaf is of a type, or a Python number that can become it."""
    if hasattr(leaf, "dtype"):
        return type_of(aval) == type
    if isinstance(leaf, bool):
        return type == Type("bool")
    kinds = {complex: "c", float: "cf", int: "cfi"}.get(leaf.__class__, "")
    kind = "c" if type.is_complex else "f" if type.is_float else "i" if type.is_integer else "-"
    return not type.shape and kind in kinds


def _array(leaf: Any, type: Type) -> Any:
    return leaf if hasattr(leaf, "dtype") else np.asarray(leaf, numpy_dtype(type.dtype))

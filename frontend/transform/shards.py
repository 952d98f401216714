"""`shard_map`: a function of what each device has, over ``jax.shard_map``, with States."""

from __future__ import annotations

import functools
import math
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import jax
import jax.extend.core as jex
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from ...ir import manual_axes
from ..capture import (
    Cell,
    Frame,
    Handle,
    create,
    current_frame,
    is_container,
    merge,
    name_of,
    new_frame,
    read,
    read_leaves,
    reject_states,
    trace_token,
    within,
    write,
)
from ..program import in_capture, is_sharded
from ..state import State, catching_nothing
from .binding import check_callable, frame_here
from .devices import gather
from .lane_states import Views

_REPLICATED = PartitionSpec()


def shard_map(
    fun: Callable[..., Any],
    mesh: Any,
    in_specs: Any,
    out_specs: Any,
    *,
    state_in_specs: Any = None,
    state_out_specs: Any = None,
    check_vma: bool = True,
) -> Callable[..., Any]:
    """Return a function that runs ``fun`` on every device of a mesh, each on its own part.

    It is ``jax.shard_map`` for functions that read and write States. A State that nothing is said
    of is replicated: every device sees all of it, and must leave it the same as the others do. So
    is a random State: all devices draw the same numbers. To draw others on each, fold the number of
    the device into a key: ``jax.random.fold_in(key, jax.lax.axis_index("i"))``. No State changes if
    the function fails on any device.

    Parameters
    ----------
    fun : callable
        What one device does with its part. It may use collectives, such as ``jax.lax.psum``, over
        the axes of the mesh.
    mesh : jax.sharding.Mesh
        The devices.
    in_specs : PartitionSpec, or sequence with a pytree of them for each argument
        How arguments are split.
    out_specs : PartitionSpec, or pytree of them
        How results are put together.
    state_in_specs : PartitionSpec or {State: PartitionSpec}, optional
        How States are split: those that are named, or all but random ones. To find out which these
        are, ``fun`` is traced once more.
    state_out_specs : PartitionSpec or {State: PartitionSpec}, optional
        How new values of States are put together; by default as they were split.
    check_vma : bool
        Whether to check that what is said to be the same on all devices is. Without, the value
        of any device is taken.

    Returns
    -------
    callable
        Called with positional arguments only.

    Raises
    ------
    TypeError
        If ``fun`` is not callable, ``mesh`` is none, or the table of States holds something else.
    ValueError
        If there is not a spec for each argument, an array cannot be split evenly, a State is left
        different by devices though its spec says otherwise, or the call stands in the body of
        another ``shard_map``.

    Examples
    --------
    >>> import brainir, jax, jax.numpy as jnp
    >>> from jax.sharding import PartitionSpec as P
    >>> mesh = jax.make_mesh((1,), ("i",))
    >>> v, total = brainir.State(jnp.zeros(2)), brainir.State(jnp.float32(0))
    >>> def step(x):
    ...     v.value = v.value + x
    ...     total.value = jax.lax.psum(v.value.sum(), "i")
    ...     return 2 * x
    >>> step = brainir.transform.shard_map(step, mesh, P("i"), P("i"), state_in_specs={v: P("i")})
    >>> step(jnp.arange(2.0)), v.value, total.value
    (Array([0., 2.], dtype=float32), Array([0., 1.], dtype=float32), Array(1., dtype=float32))
    """
    check_callable("the function given to shard_map", fun)
    if not isinstance(mesh, Mesh):
        raise TypeError(f"shard_map runs on the devices of a jax.sharding.Mesh, not on {mesh!r}")
    entering = _Table.given("state_in_specs", state_in_specs)
    leaving = _Table.given("state_out_specs", state_out_specs)
    given = in_specs if isinstance(in_specs, PartitionSpec) else tuple(in_specs)
    # In the body all axes are manual, and types of arrays around it say nothing of the mesh.
    mesh = Mesh(mesh.devices, mesh.axis_names)
    shards = Shards(fun, mesh, given, out_specs, entering, leaving, check_vma)

    @functools.wraps(fun, updated=())
    def run(*args: Any) -> Any:
        return shards(args)

    return run


@dataclass(frozen=True, slots=True, eq=False)
class _Table:
    """What is said of States: the specs of some by name, and that of all others but random ones."""

    named: Mapping[State[Any], PartitionSpec]
    others: PartitionSpec | None

    @staticmethod
    def given(what: str, table: Any) -> _Table:
        """Return what a user said.

        Raises
        ------
        TypeError
            If it is nothing that can be said.
        """
        if table is None or isinstance(table, PartitionSpec):
            return _Table({}, table)
        if not isinstance(table, Mapping):
            raise TypeError(f"{what} is a PartitionSpec or {{State: PartitionSpec}}, not {table!r}")
        for state, spec in table.items():
            if not isinstance(state, Cell) or not isinstance(spec, PartitionSpec):
                raise TypeError(
                    f"{what} maps States to PartitionSpecs, but holds {state!r}: {spec!r}"
                )
        return _Table(dict(table), None)

    def spec(self, state: State[Any]) -> PartitionSpec | None:
        """Return what is said of a State; None for nothing."""
        others = None if state.kind == "rng" else self.others
        return self.named.get(state, others)


class ShardViews(Views):
    """What stands for States on one device; there is a view of each that was touched.

    Parameters
    ----------
    around : Frame
        Where ``shard_map`` is called.
    split : callable
        ``split(state, leaf)`` is the part that a device has of an array of a State which nobody
        foresaw that the function touches.
    """

    def __init__(self, around: Frame, split: Callable[[State[Any], Any], Any]) -> None:
        super().__init__()
        self.around, self._split = around, split
        self.own: Frame | None = None
        self.body: Any = None
        self._entered: dict[Handle, tuple[Any, list[Any]]] = {}

    def enter(self, handle: Handle, value: Any) -> Handle:
        """Make a view of a State that has some value on this device."""
        assert self.own is not None, "States are seen from inside only"
        self[handle] = view = Handle(handle.state, outer=handle)
        self.made.add(view)
        self._entered[handle] = value, jax.tree.leaves(value)
        with within(self.own), jex.set_current_trace(self.body):
            create(view, value)
        return view

    def get(self, handle: Handle, default: Any = None) -> Any:
        """Return what stands for a State, or the default if it was created on this device."""
        if handle in self:
            return self[handle]
        owner = self.owner(handle)
        if owner is None or owner is not self.own or handle.kind == "check" or not handle.alive:
            return default
        view = self.around.view(handle)
        if handle in self.around.lifted:
            leaves = jax.tree.leaves(self.around.lifted[handle])
        else:
            leaves = read_leaves(owner, handle, view.avals)
        state = cast(State[Any], handle.state)
        leaves = [self._split(state, leaf) for leaf in leaves]
        return self.enter(handle, jax.tree.unflatten(view.tree, leaves))

    def left(self) -> list[tuple[Handle, Any]]:
        """Return the States that this device wrote, with their values."""
        assert self.own is not None, "States are seen from inside only"
        found: list[tuple[Handle, Any]] = []
        for handle, view in self.items():
            value, before = self.own.lifted[view], self._entered[handle][1]
            leaves = jax.tree.leaves(value)
            same = len(leaves) == len(before) and all(map(operator.is_, leaves, before))
            if view in self.own.written or not same:  # a container may be changed in place
                found.append((handle, jax.tree.map(jnp.asarray, value)))
        return found

    def keeps(self, handle: Handle) -> bool:
        """Whether a State is left with the container that it came with, changed or not."""
        assert self.own is not None, "States are seen from inside only"
        value = self.own.lifted[self[handle]]
        return is_container(value) and value is self._entered[handle][0]


@dataclass(frozen=True, slots=True, eq=False)
class Shards:
    """A function over the devices of a mesh; see `shard_map`."""

    fun: Callable[..., Any]
    mesh: Any
    in_specs: Any
    out_specs: Any
    entering: _Table
    leaving: _Table
    check: bool

    def __call__(self, args: tuple[Any, ...]) -> Any:
        """Run on all devices."""
        specs = self.in_specs
        if isinstance(specs, tuple) and len(specs) != len(args):
            raise ValueError(
                f"in_specs of shard_map has {len(specs)} entries, but {name_of(self.fun)} was "
                f"called with {len(args)} arguments"
            )
        if is_sharded():
            raise ValueError(
                "shard_map stands in the body of another one, where all axes of the mesh are in "
                "use already: split by all of them at once"
            )
        written: list[State[Any]] = []
        with jax.disable_jit(False):  # devices meet, so they are no sequence of plain runs
            bind = functools.partial(self._bind, written)
            out = in_capture(bind, *self._placed(args), name=name_of(self.fun))
        if current_frame() is None:
            for state in written:
                if state.kind == "rng":  # other meshes draw from it, too
                    state.accept(gather(state.peek()))
        return out

    def _placed(self, args: tuple[Any, ...]) -> tuple[Any, ...]:
        """Put arguments onto the devices of the mesh, where they are there at all."""
        if current_frame() is not None or not args:
            return args

        def put(spec: PartitionSpec | None, part: Any) -> Any:
            if spec is None:
                return part
            sharding = NamedSharding(self.mesh, spec)
            return jax.tree.map(lambda x: jax.device_put(x, sharding) if is_here(x) else x, part)

        def is_here(array: Any) -> bool:
            return isinstance(array, jax.Array) and not isinstance(array, Tracer)

        return jax.tree.map(
            put, self.in_specs, args, is_leaf=lambda x: x is None or isinstance(x, PartitionSpec)
        )

    # --- in a capture -----------------------------------------------------------------------------

    def _bind(self, written: list[State[Any]], *args: Any) -> Any:
        frame = frame_here()
        named = {frame.resolve(state.handle): spec for state, spec in self.entering.named.items()}
        if self.entering.others is not None:
            with catching_nothing():
                touched = self._touched(frame, named, args)
            for handle in touched:
                spec = self.entering.spec(cast(State[Any], handle.state))
                named.setdefault(handle, _REPLICATED if spec is None else spec)
        out, left, views = self._run(frame, named, args)
        for handle, value in left:
            write(handle, merge(read(handle), value) if views.keeps(handle) else value)
        written[:] = [cast(State[Any], handle.state) for handle, _ in left]
        return out

    def _touched(
        self, frame: Frame, named: Mapping[Handle, PartitionSpec], args: tuple[Any, ...]
    ) -> list[Handle]:
        """Return the States that the function touches, other than those that are named."""
        found: list[Handle] = []

        def run(*args: Any) -> Any:
            return self._run(frame, named, args, found)[0]

        jax.eval_shape(run, *args)
        return found

    def _run(
        self,
        frame: Frame,
        named: Mapping[Handle, PartitionSpec],
        args: tuple[Any, ...],
        unforeseen: list[Handle] | None = None,
    ) -> tuple[Any, list[tuple[Handle, Any]], ShardViews]:
        """Return the result, the new values of States, and how devices saw them.

        With a list for them, it only finds out which States there are besides the named ones.
        """
        values = [read(handle) for handle in named]
        for (handle, spec), value in zip(named.items(), values, strict=True):
            for leaf in jax.tree.leaves(value):
                self._part_of(cast(State[Any], handle.state), jnp.shape(leaf), spec)
        split = _all_of_it if unforeseen is None else self._first_part
        views, kept = ShardViews(frame, split), list[Handle]()
        said = [*self.leaving.named.values(), self.leaving.others, *map(self._leaves_as, named)]
        specs = [*dict.fromkeys([_REPLICATED, *(spec for spec in said if spec is not None)])]

        def body(args: tuple[Any, ...], values: Sequence[Any]) -> Any:
            with jex.take_current_trace() as views.body:
                pass
            for handle, value in zip(named, values, strict=True):
                views.enter(handle, value)
            out = self.fun(*args)
            reject_states(f"the result of {name_of(self.fun)}", out)
            if unforeseen is not None:
                unforeseen.extend(handle for handle in views if handle not in named)
                return out, [[] for _ in specs]
            groups: dict[PartitionSpec, list[Any]] = {spec: [] for spec in specs}
            for handle, value in views.left():
                spec = self._leaves_as(handle)
                self._check_left(handle, value, spec)
                groups[spec].append((handle, value))
            kept.extend(handle for group in groups.values() for handle, _ in group)
            return out, [[value for _, value in group] for group in groups.values()]

        mapped = jax.shard_map(
            body,
            mesh=self.mesh,
            in_specs=(self.in_specs, list(named.values())),
            out_specs=(self.out_specs, specs),
            check_vma=self.check,
        )
        with new_frame(views) as views.own:
            with jex.take_current_trace() as views.own.origin:
                pass
            out, groups = mapped(args, values)
        frame.touched.update(views)
        if frame.trace != trace_token():
            frame.held.deep.update(views)
        new = [value for group in groups for value in group]
        return out, [*zip(kept, new, strict=True)], views

    def _leaves_as(self, handle: Handle) -> PartitionSpec:
        """Return how the new value of a State is put together."""
        state = cast(State[Any], handle.state)
        for table in (self.leaving, self.entering):
            spec = table.spec(state)
            if spec is not None:
                return spec
        return _REPLICATED

    def _first_part(self, state: State[Any], leaf: Any) -> Any:
        """Return something that looks like the part that a device has of an array of a State."""
        spec = self.entering.spec(state)
        if spec is None:
            return leaf
        part = leaf[tuple(map(slice, self._part_of(state, leaf.shape, spec)))]
        return manual_axes.cast(jax, part, _axes_in(spec)) if self.check else part

    def _part_of(
        self, state: State[Any], shape: tuple[int, ...], spec: PartitionSpec
    ) -> tuple[int, ...]:
        """Return the shape of the part that a device has of an array of a State.

        Raises
        ------
        ValueError
            If it cannot be split like that, or the mesh has no such axis.
        """
        unknown = _axes_in(spec) - {*self.mesh.axis_names}
        if unknown:
            raise ValueError(
                f"{state.describe()} is to be split by {spec}, but the mesh has only the axes "
                f"{self.mesh.axis_names}"
            )
        sizes = [math.prod(self.mesh.shape[a] for a in _axes_in([part])) for part in spec]
        even = len(sizes) <= len(shape) and not any(
            n % size for n, size in zip(shape, sizes, strict=False)
        )
        if not even:
            raise ValueError(
                f"{state.describe()} has an array of shape {shape}, which shard_map cannot split "
                f"by {spec} over {dict(self.mesh.shape)}: give it another spec in "
                "{State: PartitionSpec}"
            )
        whole = [1] * (len(shape) - len(sizes))
        return tuple(n // size for n, size in zip(shape, [*sizes, *whole], strict=True))

    def _check_left(self, handle: Handle, value: Any, spec: PartitionSpec) -> None:
        """Refuse a State that devices leave different, where its spec says they do not.

        Raises
        ------
        ValueError
            Naming the State and the axes of the mesh.
        """
        axes = [manual_axes.axes_of(jax.typeof(leaf)) for leaf in jax.tree.leaves(value)]
        differs = frozenset[str]().union(*axes) - _axes_in(spec)
        if self.check and differs:
            over = ", ".join(sorted(differs))
            raise ValueError(
                f"{handle.state.describe()} is written in shard_map with a value that differs "
                f"between devices along {over}, but {spec} says that all of them leave the same. "
                "Declare it in state_in_specs or state_out_specs, or make it the same, as by "
                "jax.lax.psum"
            )


def _all_of_it(state: State[Any], leaf: Any) -> Any:
    return leaf


def _axes_in(spec: Iterable[Any]) -> frozenset[str]:
    """Return the axes of a mesh that a spec splits by."""
    parts = (part if isinstance(part, tuple) else (part,) for part in spec)
    return frozenset(axis for part in parts for axis in part if axis is not None)

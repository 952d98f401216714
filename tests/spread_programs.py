"""Programs whose States and arguments are spread over devices, and the same on one device.

Run by `test_spread_states.py`, as a script on four devices; with three arguments, an
address, a count and a number, as one of so many processes that have four of them together. With a
folder before those, it is about checkpoints there alone: who comes first writes one, and all read.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding
from jax.sharding import PartitionSpec as P

import brainir
from brainir import transform
from brainir.frontend.program import listeners

PUT = Any  # takes an array and how it is spread, and puts it there


class Net:
    """A recurrent net of which each device may have rows, columns or all."""

    def __init__(self, put: PUT) -> None:
        draw = np.random.default_rng(0)

        def weight(*shape: int) -> Any:
            return draw.normal(size=shape).astype(np.float32) / 10

        self.w = brainir.ParamState(put(weight(6, 8), P(None, "model")), name="w")
        self.u = brainir.ParamState(put(weight(8, 8), P(None, "model")), name="u")
        self.o = brainir.ParamState(put(weight(8, 2), P()), name="o")
        self.h = brainir.HiddenState(put(np.zeros((4, 8), np.float32), P("data")), name="h")
        self.count = brainir.State(put(np.zeros((), np.float32), P()), name="count")

    @property
    def states(self) -> list[Any]:
        """All States, weights first."""
        return [self.w, self.u, self.o, self.h, self.count]

    def step(self, x: Any) -> Any:
        """Do one step."""
        self.h.value = jnp.tanh(x @ self.w.value + self.h.value @ self.u.value)
        self.count.value = self.count.value + 1
        return self.h.value @ self.o.value

    def train(self, xs: Any) -> Any:
        """Do one step of gradient descent."""

        def loss() -> Any:
            return (transform.for_loop(self.step, xs) ** 2).mean()

        gradients, value = transform.grad(loss, self.states[:3], return_value=True)()
        for state, gradient in zip(self.states, gradients, strict=False):
            state.value = state.value - gradient
        return value


def runs(put: PUT) -> tuple[Net, list[Any]]:
    """Train, compiled; run a loop by itself; map over lanes; and return what came out."""
    net = Net(put)
    xs = put(np.linspace(-1, 1, 5 * 4 * 6, dtype=np.float32).reshape(5, 4, 6), P(None, "data"))
    train = transform.jit(net.train)
    found = [train(xs) for _ in range(3)]
    found.append(transform.for_loop(net.step, xs))

    def lane(x: Any) -> Any:
        peers = jax.lax.all_gather(x, "lanes") ** 2
        return jax.lax.pmean(peers.sum() * x.sum(), "lanes") + jax.lax.axis_index("lanes")

    lanes = transform.vmap(lane, in_axes=1, axis_name="lanes")
    found.append(transform.jit(transform.grad(lambda x: lanes(x).sum()))(xs))
    return net, [*found, *(state.value for state in net.states)]


def whole(array: Any) -> Any:
    """Return all of an array that other processes may have parts of."""
    from jax.experimental.multihost_utils import process_allgather

    return np.asarray(array if array.is_fully_addressable else process_allgather(array, tiled=True))


def all_is_as_on_one_device(mesh: Any) -> None:
    """Compare values, and see that every State lies where it did."""

    def put(array: Any, spec: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, spec))

    _, expected = runs(lambda array, spec: jnp.asarray(array))
    net, found = runs(put)
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(whole(a), np.asarray(b), rtol=2e-5, atol=1e-6)
    for state, before in zip(net.states, Net(put).states, strict=True):
        ndim = state.value.ndim
        assert state.value.sharding.is_equivalent_to(before.value.sharding, ndim), state


def a_state_stays_where_it_is_put(mesh: Any) -> None:
    """Let XLA prefer another place, and move a State between calls."""
    rows, both = (NamedSharding(mesh, P(*axes)) for axes in (("data",), ("data", "model")))
    a = brainir.State(jax.device_put(jnp.zeros((4, 4)), rows))

    @transform.jit
    def add(x: Any) -> None:
        a.value = a.value + x

    x = jax.device_put(jnp.ones((4, 4)), both)
    for where in (rows, both, rows):
        a.value = jax.device_put(a.value, where)
        for _ in range(2):
            add(x)
            assert a.value.sharding == where
        transform.for_loop(lambda: a.restore_value(a.value + x), length=2)
        assert a.value.sharding == where
    np.testing.assert_array_equal(whole(a.value), 12)


def spread_states_do_not_stand_in_packs(mesh: Any) -> None:
    """Spread some of many small States, before and after they were packed."""
    cells = [brainir.HiddenState(jnp.full(4, float(i))) for i in range(6)]

    @transform.jit
    def step() -> None:
        for cell in cells:
            cell.value = cell.value * 0.5 + 1.0

    step()
    assert len(step.trace().packs()[0]) == 6
    for cell, axis in zip(cells, ("data", "model", None), strict=False):
        cell.value = jax.device_put(cell.value, NamedSharding(mesh, P(axis)))
    for cell in cells[3:]:
        cell.value = jax.device_put(cell.value, NamedSharding(mesh, P("data")))
    homes = [cell.value.sharding for cell in cells]
    listened: list[Any] = []
    listeners.append(listened.append)
    for _ in range(2):
        step()
    listeners.remove(listened.append)
    assert len(listened) == 1
    assert step.trace().packs() == ()
    for cell, home in zip(cells, homes, strict=True):
        assert cell.value.sharding.is_equivalent_to(home, 1)
    for i, cell in enumerate(cells):
        np.testing.assert_array_equal(cell.value, i / 8 + 1.75)


def messages_are_counted(mesh: Any) -> None:
    """Count those of a loop once for each step, and those outside of it once."""

    def put(array: Any, *axes: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, P(*axes)))

    def sums(xs: Any) -> Any:
        return transform.for_loop(lambda x: jax.lax.psum(x, "model"), xs)

    spread = transform.shard_map(sums, mesh, P(None, "model"), P())
    run = transform.jit(lambda xs, ys: (spread(xs), ys.sum()))
    xs, ys = put(np.ones((10, 6), "f4"), None, "model"), put(np.ones(4, "f4"), "data")
    (found,) = brainir.tools.communication(run, xs, ys)
    assert found == brainir.tools.Communication("all-reduce", 2, 11, 10 * 3 * 4 + 4)


def lanes_lie_over_an_axis_of_the_mesh(mesh: Any) -> None:
    """Map lanes over one axis that say themselves what lies over the other one."""

    def put(array: Any, *axes: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, P(*axes)))

    numbers = np.arange(3 * 8 * 4, dtype=np.float32).reshape(3, 8, 4) / 50
    xs = put(numbers, None, "data", "model")
    total = transform.shard_map(lambda x: jax.lax.psum(x.sum(), "model"), mesh, P("model"), P())

    def kinds(name: Any) -> list[str]:
        state = brainir.HiddenState(put(np.zeros(8, np.float32), "data"))

        def step(x: Any) -> Any:
            state.value = 0.5 * state.value + total(jnp.sin(x))
            return state.value

        lanes = transform.vmap(step, in_states=state, spmd_axis_name=name)

        def loss(xs: Any) -> Any:
            return (transform.for_loop(lanes, xs) ** 2).sum()

        run = transform.jit(transform.grad(loss, return_value=True))
        expected, kept = np.zeros((3, 8), np.float32), np.zeros(8, np.float32)
        for i, x in enumerate(np.sin(numbers).sum(-1)):
            expected[i] = kept = 0.5 * kept + x
        gradient, value = run(xs)
        np.testing.assert_allclose(value, (expected**2).sum(), rtol=1e-5)
        back = 2 * expected + 0
        for i in (1, 0):
            back[i] += 0.5 * back[i + 1]
        wanted = back[..., None] * np.cos(numbers)
        np.testing.assert_allclose(gradient, wanted, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(state.value, expected[-1], rtol=1e-5)
        return [found.kind for found in brainir.tools.communication(run, xs)]

    assert kinds("data") == kinds(("data",)) == ["all-reduce"]
    assert "all-gather" in kinds(None)

    def spread(x: Any, *axes: Any) -> Any:
        return jax.lax.with_sharding_constraint(x + 1, NamedSharding(mesh, P(*axes)))

    inner = transform.vmap(spread, spmd_axis_name="model")
    both = transform.jit(transform.vmap2(inner, spmd_axis_name="data"))
    home = NamedSharding(mesh, P("data", "model"))
    assert both(jnp.zeros((4, 6))).sharding.is_equivalent_to(home, 2)

    class Cell(brainir.nn.Module):
        def init_state(self) -> None:
            self.v = brainir.HiddenState(spread(brainir.random.rand(6), "model"))

        def update(self, x: Any) -> Any:
            self.v.value = spread(self.v.value + x, "model")
            return self.v.value

    cells = [Cell(), Cell()]
    transform.vmap_new_states(cells[0].init_state, axis_size=4, spmd_axis_name="data")()
    transform.vmap2_new_states(cells[1], axis_size=4, spmd_axis_name="data")
    mapped = brainir.nn.Map(Cell(), 4, spmd_axis_name="data")
    mapped.init_all_states()
    assert mapped(jnp.ones((4, 6))).sharding.is_equivalent_to(home, 2)
    mapped_cell: Any = mapped.module
    for cell in (*cells, mapped_cell):
        assert cell.v.value.sharding.is_equivalent_to(home, 2)

    for name, why in (("no", "its mesh has no axis 'no'"), ("model", "cannot appear")):
        with pytest.raises(ValueError, match=f"lanes cannot lie over '{name}'.*step.*{why}"):
            kinds(name)


def gradients_are_added_up_once(mesh: Any) -> None:
    """Spread batches, and count how often devices add up the gradients of weight and bias."""

    def put(array: Any, *axes: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, P(*axes)))

    for rows, size in ((4, 8), (64, 128), (512, 128)):
        w = brainir.ParamState(put(np.ones((size, size), "f4") / size))
        b = brainir.ParamState(put(np.ones(size, "f4")))
        h = brainir.HiddenState(put(np.zeros((rows, size), "f4"), ("data", "model")))

        def step(x: Any, w: Any = w, b: Any = b, h: Any = h) -> Any:
            h.value = jnp.tanh(x + h.value @ w.value + b.value)
            return h.value

        def loss(xs: Any, step: Any = step) -> Any:
            return (transform.for_loop(step, xs) ** 2).mean()

        xs = put(np.ones((50, rows, size), "f4"), None, ("data", "model"))
        run = transform.jit(transform.grad(loss, [w, b]))
        (found,) = brainir.tools.communication(run, xs)
        assert (found.kind, found.times) == ("all-reduce", found.places), (rows, found)
        assert found.bytes == 4 * (size**2 + size), (rows, found)


def states_of(mesh: Any, seed: int, keys: bool = True) -> list[Any]:
    """Return States with weights, activity, units and random keys, spread over a mesh."""

    def put(array: Any, spec: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, spec))

    net, key = Net(put), jax.random.key(seed)
    net.h.value = put(jnp.full((4, 8), float(seed)), P("data"))
    potential = brainir.HiddenState(u.Quantity(put(jnp.full(4, 2.0 + seed), P("model")), u.mV))
    if not keys:  # which JAX does not put where others have parts
        return [*net.states, potential]
    several = [put(key, P()), put(jax.random.split(key, 4), P("data"))]
    return [*net.states, potential, *map(brainir.State, several)]


def checkpoints_go_where_states_lie(mesh: Any) -> None:
    """Write States of four devices, and read them on four, two and one."""
    try:
        import orbax.checkpoint as ocp
    except ImportError:
        return
    kept = brainir.graph.state_arrays(states_of(mesh, 1))
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as files:
        path = Path(folder) / "states"
        files.save(path, kept)
        files.wait_until_finished()
        for shape in ((2, 2), (2, 1), (1, 1)):
            devices = mesh.devices.flat[: shape[0] * shape[1]].reshape(shape)
            here = states_of(jax.sharding.Mesh(devices, mesh.axis_names), 0)
            homes = [leaf.sharding for state in here for leaf in jax.tree.leaves(state.value)]
            read = files.restore(path, brainir.graph.state_arrays(here))
            for arrays in (read, {name: np.asarray(array) for name, array in read.items()}):
                brainir.graph.set_state_arrays(here, arrays)
                now = [leaf.sharding for state in here for leaf in jax.tree.leaves(state.value)]
                assert now == homes, shape
                for name, array in brainir.graph.state_arrays(here).items():
                    np.testing.assert_array_equal(array, kept[name])


def a_file_holds_whole_arrays(mesh: Any) -> None:
    """Save a function with spread States; parts that other processes have are asked for."""

    def put(array: Any, spec: Any) -> Any:
        return jax.device_put(array, NamedSharding(mesh, spec))

    net, xs = Net(put), np.linspace(-1, 1, 5 * 4 * 6, dtype=np.float32).reshape(5, 4, 6)
    run = transform.jit(lambda xs: transform.for_loop(net.step, xs))
    spread = put(xs, P(None, "data"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.brainir"
        if jax.process_count() > 1:
            with pytest.raises(brainir.ArtifactError, match="other processes have parts of"):
                brainir.save(run, path, spread)
            return
        brainir.save(run, path, spread)
        loaded = brainir.load(path)
        for _ in range(2):
            np.testing.assert_allclose(loaded(xs), whole(run(spread)), rtol=2e-5, atol=1e-7)


def a_checkpoint_is_of_all_processes(mesh: Any, folder: Path) -> None:
    """Write what is spread over processes, by all of them, and read it by as many as there are."""
    import orbax.checkpoint as ocp

    wanted = brainir.graph.state_arrays(states_of(mesh, 1, keys=False))
    with ocp.CheckpointManager(folder / "run") as files:
        if files.latest_step() is None:
            files.save(0, args=ocp.args.StandardSave(wanted))
            files.wait_until_finished()
        here = states_of(mesh, 0, keys=False)
        arrays = brainir.graph.state_arrays(here)
        read = files.restore(0, args=ocp.args.StandardRestore(arrays))
    brainir.graph.set_state_arrays(here, read)
    for name, array in brainir.graph.state_arrays(here).items():
        assert array.sharding == arrays[name].sharding, name
        np.testing.assert_array_equal(whole(array), whole(wanted[name]), name)


def main() -> None:
    """Run everything on a mesh of two by two devices."""
    *folder, address, count, number = sys.argv[1:] or ("", 1, 0)
    if int(count) > 1:
        brainir.tools.await_processes(address, int(count), int(number))
        jax.distributed.initialize(address, num_processes=int(count), process_id=int(number))
    mesh = jax.make_mesh((2, 2), ("data", "model"), axis_types=(AxisType.Auto,) * 2)
    if folder:
        a_checkpoint_is_of_all_processes(mesh, Path(folder[0]))
    else:
        everything(mesh)
    print("all agree on", jax.device_count(), "devices of", jax.process_count(), "processes")


def everything(mesh: Any) -> None:
    """Run all but what needs a folder; what looks at whole arrays, in one process alone."""
    all_is_as_on_one_device(mesh)
    a_file_holds_whole_arrays(mesh)
    if jax.process_count() == 1:
        a_state_stays_where_it_is_put(mesh)
        spread_states_do_not_stand_in_packs(mesh)
        messages_are_counted(mesh)
        lanes_lie_over_an_axis_of_the_mesh(mesh)
        gradients_are_added_up_once(mesh)
        checkpoints_go_where_states_lie(mesh)


if __name__ == "__main__":
    main()

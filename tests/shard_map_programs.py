"""What `shard_map` and `pmap2` do on the devices that there are, and what plain arrays do.

Run by `test_shard_map.py` here, and as a script on four devices.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType
from jax.sharding import PartitionSpec as P

import brainir
from brainir import transform

Function = Callable[..., Any]
COUNT = jax.device_count()
MESH = jax.make_mesh((COUNT,), ("i",), axis_types=(AxisType.Auto,))
X, ROW = jnp.arange(8.0) + 1, jnp.arange(8.0) * 10
SPLIT = P("i")


class Model:
    """States of several kinds, made anew for each run."""

    def __init__(self) -> None:
        self.v = brainir.State({"v": ROW, "n": (jnp.arange(8),)})
        self.w = brainir.ParamState(jnp.float32(3))
        self.total = brainir.State(jnp.float32(0))
        self.mass = brainir.State(ROW * u.mV)

    def values(self) -> Any:
        """Return what all States hold."""
        return self.v.value, self.w.value, self.total.value, self.mass.value / u.mV

    def step(self, x: Any) -> Any:
        """Do what each device does."""
        self.v.value["v"] = self.v.value["v"] * 0.5 + self.w.value * x
        self.v.value = {**self.v.value, "n": (self.v.value["n"][0] + 1,)}
        self.mass.value += x * u.mV
        self.total.value = self.total.value + jax.lax.psum(self.v.value["v"].sum(), "i")
        return {"v": self.v.value["v"] * self.total.value}

    def nested(self, x: Any) -> Any:
        """Touch States in loops, branches, lanes and derivatives on each device."""
        inner = brainir.State(jnp.float32(0))

        def tick(k: Any) -> Any:
            inner.value = inner.value + k
            scale = transform.cond(x[0] > 4, lambda: self.w.value, lambda: inner.value)
            self.v.value = {**self.v.value, "v": self.v.value["v"] * scale}
            self.total.value = jax.lax.psum(self.total.value + self.w.value, "i")
            return transform.vmap(lambda y: y * self.w.value)(self.v.value["v"])

        found = transform.for_loop(tick, jnp.arange(3.0))
        slope = transform.grad(lambda y: (y * self.v.value["v"]).sum())(x)
        return {"v": found.sum(0) + slope}

    def sharded(self, body: Function) -> Function:
        """Return a function of whole arrays that runs a body on all devices."""
        table = {self.v: SPLIT, self.mass: SPLIT}
        return transform.shard_map(body, MESH, (SPLIT,), SPLIT, state_in_specs=table)

    def by_hand(self, body: Function) -> Function:
        """Return the same over ``jax.shard_map``, with values handed in and out."""

        def local(x: Any, held: Any, shared: Any) -> Any:
            twin = Twin(held, shared)
            out = body(twin, x)
            return out, twin.held, twin.shared

        mapped = jax.shard_map(
            local, mesh=MESH, in_specs=(SPLIT, SPLIT, P()), out_specs=(SPLIT, SPLIT, P())
        )

        def run(x: Any) -> Any:
            held = self.v.value, self.mass.value
            out, held, shared = mapped(x, held, (self.w.value, self.total.value))
            self.v.value, self.mass.value = held
            self.total.value = shared[1]
            return out

        return run


class Cell:
    """A value in place of a State."""

    def __init__(self, value: Any) -> None:
        self.value = value


class Twin(Model):
    """A model without States, inside ``jax.shard_map``."""

    def __init__(self, held: Any, shared: Any) -> None:
        self.v, self.mass = map(Cell, held)  # pyright: ignore
        self.w, self.total = map(Cell, shared)  # pyright: ignore

    @property
    def held(self) -> Any:
        """What is split."""
        return self.v.value, self.mass.value

    @property
    def shared(self) -> Any:
        """What all devices have."""
        return self.w.value, self.total.value

    def nested(self, x: Any) -> Any:
        """Do in plain JAX what the model does in ours."""
        inner, rows = 0.0, []
        for k in range(3):
            inner = inner + k
            scale = jnp.where(x[0] > 4, self.w.value, inner)
            self.v.value = {**self.v.value, "v": self.v.value["v"] * scale}
            total = jax.lax.pcast(self.total.value + self.w.value, ("i",), to="varying")
            self.total.value = jax.lax.psum(total, "i")
            rows.append(self.v.value["v"] * self.w.value)
        return {"v": sum(rows) + self.v.value["v"]}


def agree(what: str, found: Any, expected: Any) -> None:
    """Compare pytrees, and say which program it was."""
    assert jax.tree.structure(found) == jax.tree.structure(expected), what
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert a.dtype == b.dtype, what
        np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=1e-5, err_msg=what)


WAYS: dict[str, Callable[[Function], Function]] = {
    "bare": lambda f: f,
    "jit": transform.jit,
    "for_loop": lambda f: (
        lambda x: jax.tree.map(lambda ys: ys[-1], transform.for_loop(f, jnp.stack([x, 2 * x])))
    ),
    "cond": lambda f: lambda x: transform.cond(x[0] > 0, lambda: f(x), lambda: {"v": x}),
    "jit of a loop": lambda f: transform.jit(WAYS["for_loop"](f)),
    "jax.jit inside": lambda f: transform.jit(lambda x: jax.jit(lambda y: f(y))(x)),
}


def states_are_split_as_values_are() -> None:
    """Compare with ``jax.shard_map`` over values, in all surroundings."""
    for name in ("step", "nested"):
        for way, wrap in WAYS.items():
            for disabled in (False, True) if way in ("bare", "for_loop") else (False,):
                ours, theirs = Model(), Model()
                with jax.disable_jit(disabled) if disabled else contextlib.nullcontext():
                    found = wrap(ours.sharded(getattr(ours, name)))(X)
                expected = wrap(theirs.by_hand(getattr(Twin, name)))(X)
                what = f"{name} {way} {disabled}"
                agree(what, found, expected)
                agree(what, ours.values(), theirs.values())


def a_spec_alone_is_for_all_states() -> None:
    """Split every State, but not the random one."""
    v, n = brainir.State(ROW), brainir.State(jnp.arange(8))
    before = brainir.random.DEFAULT.value

    def body(x: Any) -> Any:
        v.value, n.value = v.value * x, n.value + 1
        assert v.value.shape == n.value.shape == (8 // COUNT,)
        return brainir.random.rand() + 0 * x

    run = transform.jit(transform.shard_map(body, MESH, SPLIT, SPLIT, state_in_specs=SPLIT))
    noise = run(X)
    agree("bare spec", (v.value, n.value), (ROW * X, jnp.arange(8) + 1))
    agree("one draw for all", noise, jnp.full(8, noise[0]))
    assert not jnp.array_equal(
        jax.random.key_data(before), jax.random.key_data(brainir.random.DEFAULT.value)
    )
    assert jnp.ptp(brainir.random.rand(8)) > 0


def folded_keys_differ() -> None:
    """Draw other numbers on each device."""

    def body() -> Any:
        key = jax.random.fold_in(brainir.random.split_key(), jax.lax.axis_index("i"))
        return jax.random.uniform(key, (1,))

    for wrap in (WAYS["bare"], transform.jit):
        found = wrap(transform.shard_map(body, MESH, (), SPLIT))()
        assert len(set(np.asarray(found).tolist())) == COUNT, found


def a_state_may_leave_otherwise_than_it_came() -> None:
    """Gather parts that began as one value."""
    s = brainir.State(jnp.float32(2))

    def body(x: Any) -> None:
        s.value = s.value * x

    transform.shard_map(body, MESH, SPLIT, None, state_out_specs={s: SPLIT})(X)
    agree("out only", s.value, 2 * X)


def gradients_and_lanes() -> None:
    """Differentiate and map what runs on devices."""
    w, v = brainir.ParamState(jnp.float32(3)), brainir.State(ROW)

    def body(x: Any) -> Any:
        v.value = v.value + x
        return jax.lax.psum((w.value**2 * v.value * x).sum(), "i")

    run = transform.shard_map(body, MESH, SPLIT, P(), state_in_specs={v: SPLIT})
    by_state = transform.grad(lambda: run(X), grad_states=[w, v])
    for wrap in (WAYS["bare"], transform.jit, jax.disable_jit()):
        v.value = ROW
        found = wrap(lambda: by_state())()
        agree("by a State", found, [6 * ((ROW + X) * X).sum(), 9 * X])
        agree("left", v.value, ROW + X)
        v.value = ROW
        agree("by an argument", wrap(transform.grad(run))(X), 9 * (ROW + 2 * X))
    lanes = jnp.arange(3.0)
    v.value = lanes[:, None] * ROW
    each = transform.vmap(lambda k: run(k * X), in_states=v)
    agree("lanes", each(lanes), 9 * lanes**2 * ((ROW + X) * X).sum())
    agree("lanes of States", v.value, lanes[:, None] * (ROW + X))


def differing_values_are_refused() -> None:
    """Write a State that nobody split with what differs."""
    s, other = brainir.State(jnp.float32(1)), brainir.State(jnp.float32(1))

    def body(x: Any) -> Any:
        other.value = 2.0
        s.value = x.sum()
        return x

    for wrap in (WAYS["bare"], transform.jit):
        with pytest.raises(ValueError, match=r"differs between devices along i,.*state_in_specs"):
            wrap(transform.shard_map(body, MESH, SPLIT, SPLIT))(X)
        assert s.value == 1
        assert other.value == 1


def lanes_lie_on_devices() -> None:
    """Compare `pmap2` with `vmap2` on one device."""
    scale = brainir.ParamState(jnp.float32(2))
    left: list[Any] = []
    for mapping in (transform.pmap2, transform.vmap2):
        brainir.random.seed(3)
        v = brainir.ShortTermState(jnp.arange(COUNT * 2.0).reshape(COUNT, 2))

        def step(x: Any, v: Any = v) -> Any:
            v.value = v.value * scale.value + x + brainir.random.rand()
            total = jax.lax.psum(v.value.sum(), "lanes_of_mine")
            return transform.for_loop(lambda k: v.value * k + total, jnp.arange(3.0))

        mapped = mapping(step, axis_name="lanes_of_mine", state_in_axes=brainir.ShortTermState)
        xs = jnp.arange(float(COUNT))
        found = [mapped(xs), transform.jit(mapped)(xs), transform.for_loop(mapped, xs[None])]
        left.append((found, v.value))
        if mapping is transform.pmap2:
            assert len(v.value.sharding.device_set) == COUNT
            assert len(found[0].sharding.device_set) == COUNT
        assert brainir.random.rand(8).shape == (8,)
    agree("pmap2", *left)


class Drawn(brainir.nn.Module):
    """A module whose State begins at random."""

    def init_state(self, *_: Any, **__: Any) -> None:
        """Make it."""
        self.v = brainir.HiddenState(brainir.random.rand(2))


def new_states_lie_on_devices() -> None:
    """Compare `pmap2_new_states` with `vmap2_new_states`."""
    made: list[Any] = []
    for new in (transform.pmap2_new_states, transform.vmap2_new_states):
        brainir.random.seed(5)
        model = Drawn()
        assert new(model, {}, axis_size=COUNT)[0] == [model.v]
        made.append(model.v.value)
    assert len(made[0].sharding.device_set) == COUNT
    agree("pmap2_new_states", *made)


def what_was_written_before_is_seen() -> None:
    """Write States ahead of devices that read them, in the same trace and in an inner one."""
    s, d = brainir.State(jnp.float32(1)), brainir.State({"a": jnp.float32(1)})

    def body(x: Any) -> Any:
        s.value = s.value + 1
        return x * s.value + d.value["a"]

    run = transform.shard_map(body, MESH, SPLIT, SPLIT)

    def program(x: Any) -> Any:
        s.value = s.value * 2
        d.value = {"a": d.value["a"] * 5}
        first = run(x)
        s.value = s.value * 10
        d.value = {"a": d.value["a"] + 1}
        return first, run(x)

    for wrap in (WAYS["bare"], transform.jit, WAYS["jax.jit inside"]):
        s.value, d.value = jnp.float32(1), {"a": jnp.float32(1)}
        agree("order", wrap(program)(X), (3 * X + 5, 31 * X + 6))
        agree("left", (s.value, d.value), (jnp.float32(31), {"a": jnp.float32(6)}))


def callers_of_jax_may_be_around() -> None:
    """Let ``jax.jit`` and ``jax.grad`` trace what runs on devices."""
    w = brainir.ParamState(jnp.float32(3))
    run = transform.shard_map(lambda x: jax.lax.psum((w.value * x**2).sum(), "i"), MESH, SPLIT, P())
    for wrap in (WAYS["bare"], transform.jit, jax.jit):
        agree("jax.grad", wrap(jax.grad(lambda x: run(x)))(X), 6 * X)
        agree("jax.jit", wrap(jax.jit(lambda x: run(x)))(X), 3 * (X**2).sum())
        agree("jax.vmap", wrap(jax.vmap(lambda x: run(x)))(X[None]), 3 * (X**2).sum()[None])


def a_mesh_may_have_two_axes() -> None:
    """Split by both axes, at one or at two axes of an array, and reduce over one of them."""
    rows = 2 if COUNT > 1 else 1
    mesh = jax.make_mesh((rows, COUNT // rows), ("a", "b"), axis_types=(AxisType.Auto,) * 2)
    both, flat, half = (brainir.State(jnp.arange(32.0).reshape(8, 4)) for _ in range(3))
    before = both.value

    def body(x: Any) -> Any:
        both.value = both.value * x.sum()
        flat.value = flat.value * x.sum()
        half.value = half.value + jax.lax.psum(x.sum(), "b")
        return x

    table = {both: P("a", "b"), flat: P(("a", "b")), half: P("a")}
    run = transform.shard_map(body, mesh, P(("a", "b")), P(("a", "b")), state_in_specs=table)
    transform.jit(run)(X)
    part = X.reshape(rows, COUNT // rows, -1).sum(-1)
    blocks = jnp.repeat(jnp.repeat(part, 8 // rows, 0), 4 // (COUNT // rows), 1)
    agree("two axes", both.value, before * blocks)
    agree("one axis of two", flat.value, before * jnp.repeat(part.ravel(), 8 // COUNT)[:, None])
    agree("reduced", half.value, before + jnp.repeat(part.sum(1), 8 // rows)[:, None])


def a_container_may_be_changed_in_place() -> None:
    """Change entries of what States hold, split or not."""
    for wrap in (WAYS["bare"], transform.jit):
        split, whole = brainir.State({"a": ROW, "b": ROW}), brainir.State([jnp.float32(1), ROW])
        held = split.value, whole.value

        def body(x: Any, split: Any = split, whole: Any = whole) -> None:
            split.value["a"] = split.value["a"] + x
            whole.value[0] = whole.value[0] * 2

        run = wrap(transform.shard_map(body, MESH, SPLIT, None, state_in_specs={split: SPLIT}))
        run(X)
        run(X)
        agree("in place", split.value, {"a": ROW + 2 * X, "b": ROW})
        agree("in place, shared", whole.value, [jnp.float32(4), ROW])
        assert split.value is held[0]
        assert whole.value is held[1]


def axes_of_a_mesh_may_be_explicit() -> None:
    """A mesh whose axes are explicit, as JAX makes it by default, does what another does."""
    mesh = jax.make_mesh((COUNT,), ("i",), axis_types=(AxisType.Explicit,))
    for wrap in (lambda f: f, transform.jit):
        model, twin = Model(), Model()
        table = {model.v: SPLIT, model.mass: SPLIT}
        run = wrap(transform.shard_map(model.step, mesh, SPLIT, SPLIT, state_in_specs=table))
        agree("explicit", (run(X), model.values()), (twin.sharded(twin.step)(X), twin.values()))
    plain = jax.jit(transform.shard_map(lambda x: 2 * x, mesh, SPLIT, SPLIT))
    agree("explicit, in jax.jit", plain(X), 2 * X)


PROGRAMS = [
    axes_of_a_mesh_may_be_explicit,
    a_container_may_be_changed_in_place,
    a_mesh_may_have_two_axes,
    what_was_written_before_is_seen,
    callers_of_jax_may_be_around,
    states_are_split_as_values_are,
    a_spec_alone_is_for_all_states,
    folded_keys_differ,
    a_state_may_leave_otherwise_than_it_came,
    gradients_and_lanes,
    differing_values_are_refused,
    lanes_lie_on_devices,
    new_states_lie_on_devices,
]


def main() -> None:
    """Run everything."""
    for program in PROGRAMS:
        program()
    print("all agree on", COUNT)


if __name__ == "__main__":
    main()

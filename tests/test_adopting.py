"""Classes of States that are not ours: transformations see their objects as ours."""

from __future__ import annotations

import copy
import functools
import gc
import weakref
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from jax.core import Tracer

import brainir
from brainir import transform
from brainir.frontend.capture import Cell
from brainir.testing import Runner, World, programs


class Box:
    """Holds its value in a plain attribute."""

    def __init__(self, content: Any, name: str | None = None) -> None:
        self.content, self.name = content, name

    def twin(self) -> Box:
        """Return another one, made past ``__init__``."""
        new = object.__new__(Box)
        vars(new).update(vars(self))
        return new


class Weight(Box):
    """A Box of a kind of its own."""


class Slot:
    """Holds its value in a slot, behind a property that calls hooks and notes what was there."""

    __slots__ = ("__weakref__", "_held", "hooks", "past")

    def __init__(self, held: Any) -> None:
        self.hooks: list[Any] = []
        self.past: list[Any] = []
        self._held = held

    @property
    def value(self) -> Any:
        for hook in self.hooks:
            hook("read")
        return self._held

    @value.setter
    def value(self, new: Any) -> None:
        self.past.append(self._held)
        for hook in self.hooks:
            new = hook(new)
        self._held = new

    def reset(self) -> None:
        """Write past the property, as only the class itself does."""
        self._held = jnp.zeros_like(self._held)


@pytest.fixture
def boxes() -> Iterator[None]:
    with brainir.adopt(
        Box, kinds={Weight: "param"}, storage="content", value="content", copies=["twin"]
    ):
        yield


@pytest.fixture
def slots() -> Iterator[None]:
    with brainir.adopt(Slot, storage="_held", watched=lambda slot: tuple(slot.hooks) or None):
        yield


@pytest.mark.usefixtures("boxes")
def test_an_adopted_state_goes_through_every_transformation() -> None:
    box, weight = Box(jnp.float32(1.0), "leak"), Weight(jnp.arange(3.0))

    def step(x: Any) -> Any:
        box.content = 0.5 * box.content + x
        return box.content * weight.content

    def run() -> Any:
        return transform.for_loop(step, jnp.arange(4.0))

    with jax.disable_jit():
        expected = run(), box.content
    box.content = jnp.float32(1.0)
    got = transform.jit(run)(), box.content
    jax.tree.map(np.testing.assert_allclose, got, expected)

    slope = transform.grad(lambda: run().sum(), weight)()
    np.testing.assert_allclose(slope, jax.grad(lambda w: (w * slope).sum())(weight.content))
    box.content = jnp.arange(3.0)
    lanes = transform.vmap(step, in_states=box)(jnp.arange(3.0))
    assert lanes.shape == (3, 3)
    np.testing.assert_allclose(box.content, 1.5 * jnp.arange(3.0))
    took = transform.cond(jnp.bool_(True), lambda: step(jnp.zeros(3)), lambda: jnp.zeros(3))
    np.testing.assert_allclose(took, box.content * weight.content)


@pytest.mark.usefixtures("boxes")
def test_names_and_kinds_come_into_the_graph() -> None:
    box, weight = Box(jnp.float32(1.0), "leak"), Weight(2.0 * u.mV)

    def step() -> Any:
        box.content = box.content + 1.0
        return weight.content

    found = {state.name: state for state in transform.StateFinder(step)().values()}
    assert set(found.values()) == {box, weight}
    states = transform.jit(step).trace().graph(stage="capture").states
    told = [(var.name, var.kind, var.unit) for var in states]
    assert told == [("leak", "state", None), ("Weight", "param", "mV")]
    assert transform.jit(step)() == 2.0 * u.mV


@pytest.mark.usefixtures("boxes")
def test_what_fails_leaves_everything_as_it_was() -> None:
    box, own = Box(jnp.float32(1.0)), brainir.State(jnp.float32(2.0))

    @transform.jit
    def step() -> None:
        box.content = box.content + 1.0
        own.value = own.value + 1.0
        raise RuntimeError("after both")

    with pytest.raises(RuntimeError, match="after both"):
        step()
    assert (float(box.content), float(own.value)) == (1.0, 2.0)
    with pytest.raises(brainir.TraceContextError, match="plain JAX"):
        jax.jit(lambda x: setattr(box, "content", x))(1.0)
    assert float(box.content) == 1.0


@pytest.mark.usefixtures("boxes")
def test_states_made_inside_stay_inside() -> None:
    kept: list[Box] = []

    @transform.jit
    def make(x: Any) -> Any:
        box = Box(x)
        kept.append(box)
        twin = box.twin()
        twin.content = twin.content * 2.0
        return box.content + twin.content

    assert float(make(3.0)) == 9.0
    with pytest.raises(brainir.TraceContextError, match="created inside a trace that has ended"):
        _ = kept[0].content
    kept[0].content = jnp.float32(5.0)
    assert float(kept[0].content) == 5.0

    new: list[Box] = []
    transform.vmap_new_states(lambda x: new.append(Box(x)), axis_size=3)(jnp.arange(3.0))
    np.testing.assert_array_equal(new[0].content, jnp.arange(3.0))


@pytest.mark.usefixtures("boxes")
def test_a_replaced_object_is_noticed() -> None:
    holder = SimpleNamespace(box=Box(jnp.float32(1.0)))

    @transform.jit
    def read() -> Any:
        return holder.box.content

    assert float(read()) == 1.0
    holder.box = Box(jnp.float32(7.0))
    assert float(read()) == 7.0


@pytest.mark.usefixtures("boxes")
def test_a_copy_is_another_state() -> None:
    box = Box(jnp.float32(1.0))
    for other in (copy.copy(box), copy.deepcopy(box), box.twin()):
        other.content = other.content + 1.0
        assert other.handle is not box.handle  # pyright: ignore[reportAttributeAccessIssue]

        @transform.jit
        def both(other: Any = other) -> Any:
            other.content = other.content * 10.0
            return box.content, other.content

        assert [*map(float, both())] == [1.0, 20.0]


@pytest.mark.usefixtures("boxes")
def test_nothing_is_kept_alive() -> None:
    box = Box(jnp.float32(1.0))

    read = transform.jit(functools.partial(getattr, box, "content"))
    assert float(read()) == 1.0
    alive = weakref.ref(box)
    del box, read
    gc.collect()
    assert alive() is None


@pytest.mark.usefixtures("slots")
def test_their_own_property_goes_on_working() -> None:
    slot, told = Slot(jnp.float32(1.0)), []

    @transform.jit
    def double() -> Any:
        slot.value = slot.value * 2.0
        return slot.value

    assert float(double()) == 2.0
    assert slot.past == []  # nobody watches: in captures their property is passed by

    def hook(new: Any) -> Any:
        told.append(new)
        return new if isinstance(new, str) else jnp.minimum(new, 5.0)

    slot.hooks.append(hook)
    brainir.frontend.state.epoch.count += 1
    assert [float(double()) for _ in range(2)] == [4.0, 5.0]
    assert "read" in told
    assert float(slot.value) == 5.0

    slot.hooks.clear()
    brainir.frontend.state.epoch.count += 1

    @transform.jit
    def reset() -> Any:
        slot.reset()
        return slot.value + 1.0

    assert (float(reset()), float(slot.value)) == (1.0, 0.0)


@pytest.mark.usefixtures("slots")
def test_a_hook_that_refuses_what_a_program_left_keeps_all_states_as_they_were() -> None:
    slot, own = Slot(jnp.float32(1.0)), brainir.State(jnp.float32(1.0))

    def hook(new: Any) -> Any:
        if not isinstance(new, str | Tracer):
            raise ValueError("no numbers")
        return new

    @transform.jit
    def step() -> None:
        own.value = own.value + 1.0
        slot.value = slot.value + 1.0

    slot.hooks.append(hook)
    with pytest.raises(ValueError, match="no numbers"):
        step()
    slot.hooks.clear()
    assert (float(own.value), float(slot.value)) == (1.0, 1.0)


def test_the_class_is_given_back_as_it_was() -> None:
    before, members = dict(vars(Box)), set(dir(Weight))
    old = Box(jnp.float32(1.0))
    adoption = brainir.adopt(Box, kinds={Weight: "param"}, storage="content", value="content")
    assert isinstance(old, Cell)
    transform.jit(lambda: setattr(old, "content", old.content + 1.0))()
    adoption.release()
    assert dict(vars(Box)) == before
    assert set(dir(Weight)) == members
    assert not isinstance(old, Cell)
    assert (float(old.content), vars(old).keys()) == (2.0, {"content", "name"})


def test_what_cannot_be_adopted_is_told_at_once() -> None:
    class Kept:
        def __init__(self, value: Any) -> None:
            self.value = value

        def peek(self) -> Any:
            return self.value

    before = dict(vars(Kept))
    with pytest.raises(ValueError, match="it has a 'peek' of its own"):
        brainir.adopt(Kept, storage="value")
    assert dict(vars(Kept)) == before
    with pytest.raises(TypeError, match="takes a class"):
        brainir.adopt(3)  # pyright: ignore[reportArgumentType]

    class Slotted:
        __slots__ = ("value",)

    with pytest.raises(TypeError, match="cannot be referred to weakly"):
        brainir.adopt(Slotted, storage="value")
    with pytest.raises(ValueError, match="are States already"):
        brainir.adopt(brainir.ParamState)
    with (
        brainir.adopt(Box, storage="content", value="content"),
        pytest.raises(ValueError, match="are States already"),
    ):
        brainir.adopt(Weight, storage="content", value="content")


class Held:
    """What random programs work on, in the place of our own States."""

    def __init__(self, value: Any) -> None:
        self._value = value

    @property
    def value(self) -> Any:
        return self._value

    @value.setter
    def value(self, new: Any) -> None:
        self._value = new


THEIRS = SimpleNamespace(
    State=Held,
    HiddenState=Held,
    ShortTermState=Held,
    ParamState=Held,
    transform=transform,
    random=brainir.random,
)


def outcome(library: Any, recipe: Any) -> Any:
    """Return what a compiled program returns and leaves; or the class of what it raises."""
    world = World(library)

    def program(x: Any) -> Any:
        return Runner(world).block(recipe, [x])

    try:
        result = transform.jit(program)(jnp.array([0.5, -1.0, 2.0]))
    except Exception as error:
        return type(error).__name__, world.values()
    return result, world.values()


@given(programs(depth=2))
def test_random_programs_do_the_same_on_adopted_states(recipe: Any) -> None:
    ours = outcome(brainir, recipe)
    with brainir.adopt(Held):
        theirs = outcome(THEIRS, recipe)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if isinstance(one, str):
            assert one == other
        elif jnp.issubdtype(jax.typeof(one).dtype, jax.dtypes.prng_key):
            assert (jax.random.key_data(one) == jax.random.key_data(other)).all()
        else:
            np.testing.assert_array_equal(one, other)


# --- states that plain JAX transformations borrow -------------------------------------------------


def test_a_plain_transformation_may_write_what_is_put_right_afterwards(slots: Any) -> None:
    """As implicit solvers do, which write into a model to learn its derivatives."""
    slot, count = Slot(jnp.arange(3.0)), Slot(jnp.int32(0))

    def changed(y: Any) -> Any:
        slot.value = y
        count.value = count.value + 1
        transform.for_loop(
            lambda i: setattr(slot, "value", slot.value * (2.0 + i)), jnp.arange(2.0)
        )
        transform.cond(
            slot.value.sum() > 0, lambda: setattr(slot, "value", slot.value + 1.0), lambda: None
        )
        return slot.value**2

    def alone(y: Any) -> Any:
        return jnp.where((6 * y).sum() > 0, 6 * y + 1.0, 6 * y) ** 2

    @transform.jit
    def step() -> Any:
        start = slot.value
        y, pull = jax.vjp(changed, start)
        assert slot.value.shape == (3,)
        slot.value = start
        slopes = jax.jacfwd(changed)(start)
        slot.value = start
        lanes = jax.vmap(changed)(jnp.stack([start, -start]))
        slot.value = start - 0.01 * pull(y)[0]
        return slopes, lanes

    start = slot.value
    slopes, lanes = step()
    np.testing.assert_allclose(slopes, jax.jacfwd(alone)(start), rtol=1e-6)
    np.testing.assert_allclose(lanes, [alone(start), alone(-start)], rtol=1e-6)
    y, pull = jax.vjp(alone, start)
    np.testing.assert_allclose(slot.value, start - 0.01 * pull(y)[0], rtol=1e-6)
    assert int(count.value) == 3


def test_what_a_plain_transformation_leaves_in_a_state_is_refused(slots: Any) -> None:
    slot = Slot(jnp.arange(3.0))

    @transform.jit
    def leave() -> None:
        jax.vjp(lambda y: setattr(slot, "value", y) or y.sum(), slot.value)

    with pytest.raises(brainir.TraceContextError, match=r"test_adopting.py:\d+ .*plain JAX"):
        leave()

    @transform.jit
    def use() -> Any:
        start = slot.value
        jax.vjp(lambda y: setattr(slot, "value", y) or y.sum(), start)
        found = slot.value + 1.0
        slot.value = start
        return found

    with pytest.raises(jax.errors.UnexpectedTracerError):
        use()
    np.testing.assert_array_equal(slot.value, jnp.arange(3.0))


def test_a_derived_class_may_keep_its_values_in_a_slot() -> None:
    class Kept:
        __slots__ = ("__weakref__", "value")

        def __init__(self, value: Any) -> None:
            self.value = value

    class Base:
        def __init__(self, value: Any) -> None:
            self.value = value

    class Both(Base, Kept):
        def __init__(self, value: Any) -> None:
            Kept.__init__(self, value)
            Base.__init__(self, value)

    before = Both(jnp.float32(1.0))
    with brainir.adopt(Base, storage="value", value="value"):
        after = Both(jnp.float32(2.0))

        @transform.jit
        def move() -> None:
            before.value, after.value = after.value, before.value + 3.0

        move()
        assert (float(before.value), float(after.value)) == (2.0, 4.0)
    assert (float(before.value), float(after.value)) == (2.0, 4.0)

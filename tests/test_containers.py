"""Containers that States hold, changed in place: as in plain Python, or an error that says so."""

from __future__ import annotations

import dataclasses
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.frontend.capture import merge

transform: Any = brainir.transform


@jax.tree_util.register_dataclass
@dataclasses.dataclass
class Cell:
    v: Any
    gates: Any


class Model:
    """States that hold containers of every kind."""

    def __init__(self) -> None:
        self.flat = brainir.State({"v": jnp.float32(1)})
        self.deep = brainir.State({"a": [jnp.float32(1), {"b": jnp.float32(2)}]})
        self.cell = brainir.State(Cell(jnp.float32(1), {"k": jnp.float32(0)}))
        self.pair = brainir.State(([jnp.float32(1)], jnp.float32(3)))
        self.number = brainir.State({"a": 0, "b": 0})

    def leaves(self) -> list[Any]:
        return jax.tree.leaves([state.value for state in vars(self).values()])

    def step(self, x: Any) -> Any:
        """Change all of them in place."""
        self.flat.value["v"] = self.flat.value["v"] + x
        self.deep.value["a"][1]["b"] *= x + 1
        self.deep.value["a"][0] += self.flat.value["v"]
        self.cell.value.v = self.cell.value.v + 1
        self.cell.value.gates["k"] += x
        self.pair.value[0][0] += x
        self.number.value["b"] += self.number.value["a"]
        self.number.value["a"] += x
        return self.flat.value["v"] + self.number.value["b"]

    def idiom(self, x: Any) -> Any:
        """Change a container and assign it."""
        d = self.flat.value
        d["v"] = d["v"] + x
        self.flat.value = d
        return self.flat.value["v"]

    def grow(self, x: Any) -> Any:
        """Add and remove parts."""
        self.flat.value["new"] = self.flat.value["v"] * x
        self.deep.value["a"].append(x)
        del self.number.value["a"]
        return self.flat.value["new"]


XS = jnp.array([1.0, 2.0, 3.0])
PROGRAMS: Any = {
    "for_loop": lambda m: transform.for_loop(m.step, XS),
    "scan": lambda m: transform.scan(lambda c, x: (c + m.step(x), c), 0.0, XS),
    "while": lambda m: transform.while_loop(lambda v: v < 9, lambda v: v + m.step(1.0), 0.0),
    "jit": lambda m: transform.jit(m.step)(2.0),
    "cond taken": lambda m: transform.cond(XS[0] > 0, m.step, lambda x: 0 * x, 2.0),
    "cond not taken": lambda m: transform.cond(XS[0] < 0, m.step, lambda x: 0 * x, 2.0),
    "switch": lambda m: transform.switch(XS[1].astype(int), [m.step, lambda x: x, m.idiom], 2.0),
    "map": lambda m: transform.map(m.step, XS),
    "vmap": lambda m: transform.vmap(lambda x: x + m.step(1.0))(XS),
    "grad": lambda m: transform.grad(lambda x: x * m.step(x))(2.0),
    "grad by states": lambda m: transform.grad(
        lambda x: x * m.step(x), grad_states=[m.flat, m.cell, m.deep]
    )(2.0),
    "nested": lambda m: transform.for_loop(
        lambda x: transform.for_loop(m.step, XS) * m.step(x), XS
    ),
    "growing": lambda m: transform.jit(m.grow)(2.0),
    "growing, then a loop": lambda m: transform.jit(
        lambda x: (m.idiom(x), m.flat.value.update(w=x), transform.for_loop(m.idiom, XS))[2]
    )(2.0),
    "assigned": lambda m: transform.for_loop(m.idiom, XS),
}


def run(program: Any) -> list[Any]:
    model = Model()
    return [*jax.tree.leaves(program(model)), *model.leaves()]


def assert_as_plain(program: Any) -> None:
    with jax.disable_jit():
        expected = run(program)
    for wrap in (lambda f: f, transform.jit):
        found = run(lambda model, wrap=wrap: wrap(lambda: program(model))())
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-6)


def test_a_change_in_place_is_carried_from_step_to_step() -> None:
    s = brainir.State({"v": jnp.float32(1)})

    def step(x: Any) -> Any:
        s.value["v"] = s.value["v"] + x
        return s.value["v"]

    np.testing.assert_array_equal(transform.for_loop(step, jnp.ones(3)), [2, 3, 4])
    assert s.value == {"v": 4}
    compiled = transform.jit(step)
    assert [float(compiled(1.0)) for _ in range(3)] == [5, 6, 7]
    assert s.value == {"v": 7}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_change_in_place_means_what_it_means_in_plain_python(name: str) -> None:
    assert_as_plain(PROGRAMS[name])


def held_before(m: Model) -> Any:
    d, deep = m.flat.value, m.deep.value["a"]
    d["v"] = d["v"] * 3
    transform.for_loop(m.step, XS)
    m.flat.value["v"] = m.flat.value["v"] + 1
    d["v"] = d["v"] * 2
    deep[1]["b"] = deep[1]["b"] + 5
    return d["v"], m.flat.value["v"], m.deep.value["a"][1]["b"], deep[0]


def assigned_and_changed(m: Model) -> Any:
    d = {"v": m.flat.value["v"] + XS.sum()}
    m.flat.value = d
    d["v"] = d["v"] * 2
    transform.for_loop(m.step, XS)
    d["v"] = d["v"] * 2
    return m.flat.value["v"], d["v"]


def replaced(m: Model) -> Any:
    d = m.flat.value
    m.flat.value = {"v": d["v"] + 1}
    d["v"] = d["v"] * 100  # nobody's any more
    transform.for_loop(m.idiom, XS)
    return m.flat.value["v"]


def created(m: Model) -> Any:
    d = {"v": jnp.zeros(()) + m.flat.value["v"]}
    own = brainir.State(d)
    d["v"] = d["v"] + 5

    def step(x: Any) -> None:
        own.value["v"] = own.value["v"] * x

    transform.for_loop(step, XS)
    d["v"] = d["v"] + 1
    return own.value["v"]


def in_numpy(m: Model) -> Any:
    d = {"v": np.zeros(2, np.float32)}
    m.flat.value = d
    d["v"][0] = 5
    return m.flat.value["v"]


def lanes(m: Model) -> Any:
    own = brainir.State({"v": jnp.arange(3.0)})
    d = own.value

    def lane(x: Any) -> Any:
        own.value["v"] = own.value["v"] + x
        return own.value["v"]

    found = transform.vmap(lane, in_states=own)(XS)
    d["v"] = d["v"] * 2
    return found, own.value["v"]


def lanes_of_a_loop(m: Model) -> Any:
    def lane(x: Any) -> Any:
        own = brainir.State([x, {"n": 0}])

        def step(y: Any) -> Any:
            own.value[0] = own.value[0] * y
            own.value[1]["n"] += 1
            return own.value[0]

        return transform.for_loop(step, XS), own.value[1]["n"]

    return transform.vmap(lane)(XS)


def branches_that_differ(m: Model) -> Any:
    def step(x: Any) -> Any:
        return transform.cond(x > 1, m.step, m.idiom, x)

    return transform.for_loop(step, XS)


HELD = (
    held_before,
    assigned_and_changed,
    replaced,
    created,
    in_numpy,
    lanes,
    lanes_of_a_loop,
    branches_that_differ,
)


@pytest.mark.parametrize("program", HELD)
def test_who_holds_a_container_sees_what_happens_to_it(program: Any) -> None:
    assert_as_plain(program)


def test_a_container_stays_the_same_object_after_compiled_calls() -> None:
    model = Model()
    held = [state.value for state in vars(model).values()]
    transform.for_loop(model.step, XS)
    transform.jit(model.step)(1.0)
    transform.jit(model.idiom)(1.0)
    kept = [state.value is d for state, d in zip(vars(model).values(), held, strict=True)]
    assert kept == [True, True, True, False, True]  # nobody can change a tuple
    assert model.pair.value[0] is held[3][0]
    held[0]["v"] = jnp.float32(0)
    assert transform.jit(model.idiom)(1.0) == 1
    transform.jit(lambda: setattr(model.flat, "value", {"v": jnp.ones(())}))()
    assert model.flat.value is not held[0]
    assert held[0]["v"] == 1


def test_reading_a_container_writes_nothing() -> None:
    model = Model()
    graph = transform.jit(lambda: model.deep.value["a"][0] + 1).trace().graph(stage="capture")
    assert "state.write" not in str(graph)
    constant = {"v": np.zeros(2, np.float32)}

    @transform.jit
    def reset_and_step() -> Any:
        model.flat.value = constant  # may be used again by the next trace
        model.flat.value["v"] = model.flat.value["v"] + 1
        return transform.for_loop(lambda: model.idiom(jnp.ones(2)), length=2)

    np.testing.assert_array_equal(reset_and_step(), [[2, 2], [3, 3]])
    np.testing.assert_array_equal(constant["v"], [0, 0])
    np.testing.assert_array_equal(reset_and_step(), [[2, 2], [3, 3]])


def test_a_failed_call_leaves_containers_alone() -> None:
    for wrap in (lambda f: f, transform.jit):
        model = Model()
        before = model.leaves()

        def fail(x: Any, model: Model = model) -> None:
            transform.for_loop(model.step, XS)
            model.grow(x)
            transform.for_loop(lambda x: (model.step(x), 1 / 0), XS)

        with pytest.raises((ZeroDivisionError, KeyError)):
            transform.for_loop(wrap(fail), XS)
        assert all(a is b for a, b in zip(model.leaves(), before, strict=True))


def test_parts_that_come_from_step_to_step_are_refused() -> None:
    model = Model()
    with pytest.raises(ValueError, match=r"changes in the body of for_loop.*test_containers.py"):
        transform.for_loop(model.grow, XS)
    with pytest.raises(TypeError, match=r"must leave an unnamed State alike.*test_containers.py"):
        transform.cond(XS[0] > 0, model.grow, lambda x: x, 1.0)
    assert set(model.flat.value) == {"v"}


def test_a_quantity_without_a_unit_is_told_from_an_array() -> None:
    weight = brainir.ParamState(jnp.ones(3))

    def step(x: Any) -> None:
        weight.value = weight.value - x * u.get_unit(weight.value)

    parts = r"enters as float32\[3\] and leaves as Quantity\(float32\[3\]\) without a unit"
    with pytest.raises(ValueError, match=parts):
        transform.for_loop(step, XS)


# --- what cannot take effect ----------------------------------------------------------------------


def by_closure(m: Model) -> Any:
    d = m.flat.value
    return transform.for_loop(lambda x: d.update(v=d["v"] + x), XS)


def in_jax_function(m: Model) -> Any:
    return jax.lax.fori_loop(0, 3, lambda i, c: m.flat.value.update(v=c) or c, 1.0)


def before_jax_function(m: Model) -> Any:
    m.flat.value["v"] = m.flat.value["v"] * 2
    return jax.lax.fori_loop(0, 3, lambda i, c: c + m.flat.value["v"], 0.0)


def between_replays(m: Model) -> Any:
    @jax.jit
    def replayed() -> None:
        m.flat.value = {"v": m.flat.value["v"] + 1}

    replayed()
    d = m.flat.value
    replayed()
    d["w"] = XS[0]
    return m.flat.value["v"]


def after_a_branch(m: Model) -> Any:
    d = m.flat.value
    new = lambda: setattr(m.flat, "value", {"v": jnp.float32(9)})  # noqa: E731
    transform.cond(XS[0] > 0, new, lambda: None)
    d["v"] = d["v"] + 1


@pytest.mark.parametrize(
    "program", [by_closure, in_jax_function, before_jax_function, between_replays, after_a_branch]
)
def test_a_change_that_would_be_lost_is_an_error_at_its_line(program: Any) -> None:
    model = Model()
    before = model.leaves()
    place = rf"handed out at .*test_containers.py:\d+ .*{program.__name__}"
    with pytest.raises(brainir.TraceContextError, match=place) as caught:
        transform.jit(lambda: program(model))()
    assert "assign that to .value" in str(caught.value)
    assert all(a is b for a, b in zip(model.leaves(), before, strict=True))


def test_a_container_found_outside_cannot_be_changed_inside() -> None:
    model = Model()
    outside = model.flat.value

    def step(x: Any) -> Any:
        found = model.flat.value["v"]
        outside["v"] = outside["v"] + x
        return found

    for run in (lambda: transform.jit(step)(1.0), lambda: transform.for_loop(step, XS)):
        with pytest.raises(brainir.TraceContextError, match="got hold of it outside"):
            run()
        assert model.flat.value is outside
        assert outside == {"v": 1}


def test_assigning_what_may_be_another_container_settles_it() -> None:
    def program(m: Model) -> Any:
        d = m.flat.value
        new = lambda: setattr(m.flat, "value", {"v": jnp.float32(9)})  # noqa: E731
        transform.cond(XS[0] > 0, new, lambda: None)
        d["v"] = d["v"] + 1
        m.flat.value = d
        return m.flat.value["v"]

    assert_as_plain(program)


def test_merging_keeps_what_can_be_changed() -> None:
    old = {"a": [1, 2, 3], "b": ([4], 5), "c": Cell(1, {}), "d": 7, "e": (1, 2)}
    a, b, c = old["a"], old["b"][0], old["c"]
    new = {"a": [8], "b": ([9], 10), "c": Cell(2, {"k": 3}), "e": [1], "f": 11}
    assert merge(old, new) is old
    assert old == new
    assert old["a"] is a
    assert old["b"][0] is b
    assert old["c"] is c

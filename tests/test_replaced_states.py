"""A compiled function uses the States that a model holds now, wherever they were replaced."""

from __future__ import annotations

import functools
import gc
import weakref
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform  # some tests pass what its types forbid


class Cell(brainir.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.init_state()

    def init_state(self) -> None:
        self.h = brainir.HiddenState(jnp.zeros(2))

    def update(self, x: Any) -> Any:
        self.h.value = self.h.value + x
        return self.h.value


def test_a_state_that_a_module_replaces_is_noticed() -> None:
    cell = Cell()
    step = transform.jit(cell)
    step(1.0)
    old = cell.h
    brainir.nn.init_all_states(cell)
    np.testing.assert_array_equal(step(1.0), [1.0, 1.0])
    np.testing.assert_array_equal(cell.h.value, [1.0, 1.0])
    np.testing.assert_array_equal(old.value, [1.0, 1.0])


def test_a_variable_that_is_bound_to_another_state_is_noticed() -> None:
    state = brainir.State(jnp.zeros(2))
    step = transform.jit(lambda x: state.value + x)
    step(1.0)
    old, state = state, brainir.State(jnp.full(2, 9.0))
    np.testing.assert_array_equal(step(1.0), [10.0, 10.0])
    assert old.value[0] == 0


def test_a_shared_state_that_one_module_drops_is_traced_anew_once() -> None:
    cell, other = Cell(), Cell()
    other.h = cell.h
    traces = 0

    @transform.jit
    def step(x: Any) -> Any:
        nonlocal traces
        traces += 1
        return cell(x)

    step(jnp.zeros(2))
    step(jnp.zeros(()))
    other.h = brainir.HiddenState(jnp.zeros(2))
    for _ in range(3):
        step(jnp.zeros(2))
        step(jnp.zeros(()))
    assert traces == 4


class Stack(brainir.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cells = [brainir.nn.init_all_states(Cell()) for _ in range(2)]
        self.named = {"a": {"b": (brainir.nn.init_all_states(Cell()),)}}

    def update(self, x: Any) -> Any:
        for cell in (*self.cells, *self.named["a"]["b"]):
            x = cell(x)
        return x


class Simulation:
    """What users write around a model: no module."""

    def __init__(self) -> None:
        self.net = Stack()
        self.nets = [Stack()]

    def run(self, x: Any) -> Any:
        return self.nets[0](self.net(x))

    def __call__(self, x: Any) -> Any:
        return self.run(x)


def _cell() -> Cell:
    return brainir.nn.init_all_states(Cell())


def _set(container: Any, key: Any, thing: Any) -> Any:
    old = container[key]
    container[key] = thing
    return old


def _in_a_list_of_a_module() -> tuple[Any, Callable[[], Any]]:
    stack = Stack()
    return stack, lambda: _set(stack.cells, 1, _cell())


def _in_a_list_of_a_module_of_a_method() -> tuple[Any, Callable[[], Any]]:
    stack = Stack()
    return stack.update, lambda: _set(stack.cells, 1, _cell())


def _in_nested_containers_of_a_module() -> tuple[Any, Callable[[], Any]]:
    stack = Stack()
    return lambda x: stack(x), lambda: _set(stack.named["a"], "b", (_cell(),))


def _at_the_end_of_a_list() -> tuple[Any, Callable[[], Any]]:
    stack = Stack()
    return stack, lambda: stack.cells.append(_cell())


def _in_a_list_of_a_closure() -> tuple[Any, Callable[[], Any]]:
    cells = [_cell()]
    return lambda x: cells[0](x), lambda: _set(cells, 0, _cell())


def _in_an_attribute_of_the_owner_of_a_method() -> tuple[Any, Callable[[], Any]]:
    simulation = Simulation()
    return simulation.run, lambda: _set(vars(simulation), "net", Stack())


def _in_an_attribute_of_a_callable() -> tuple[Any, Callable[[], Any]]:
    simulation = Simulation()
    return simulation, lambda: _set(vars(simulation), "net", Stack())


def _in_an_attribute_of_an_object_of_a_closure() -> tuple[Any, Callable[[], Any]]:
    simulation = Simulation()
    return lambda x: simulation.run(x), lambda: _set(simulation.nets, 0, Stack())


def _in_an_argument_of_a_partial() -> tuple[Any, Callable[[], Any]]:
    stack = Stack()
    return functools.partial(Stack.update, stack), lambda: _set(stack.cells, 0, _cell())


@pytest.mark.parametrize(
    "make",
    [
        _in_a_list_of_a_module,
        _in_a_list_of_a_module_of_a_method,
        _in_nested_containers_of_a_module,
        _at_the_end_of_a_list,
        _in_a_list_of_a_closure,
        _in_an_attribute_of_the_owner_of_a_method,
        _in_an_attribute_of_a_callable,
        _in_an_attribute_of_an_object_of_a_closure,
        _in_an_argument_of_a_partial,
    ],
)
def test_what_is_replaced_is_noticed_while_the_old_is_kept(make: Callable[[], Any]) -> None:
    (function, replace), (plain, replace_too) = make(), make()
    compiled = transform.jit(function)
    x = jnp.ones(2)
    np.testing.assert_array_equal(compiled(x), plain(x))
    kept = replace(), replace_too()
    for _ in range(2):
        np.testing.assert_array_equal(compiled(x), plain(x))
    del kept  # until here, so that only looking could tell


def test_looking_keeps_nothing_alive() -> None:
    simulations = [Simulation()]
    step = transform.jit(lambda x: simulations[0].run(x))
    step(jnp.ones(2))
    (simulation,) = simulations
    dead = [weakref.ref(thing) for thing in (simulation, simulation.net, *simulation.nets)]
    simulations.clear()
    del simulation
    gc.collect()
    assert [ref() for ref in dead] == [None] * 3


def test_a_call_that_finds_everything_in_its_place_does_not_trace() -> None:
    stack, traces = Stack(), 0

    @transform.jit
    def step(x: Any) -> Any:
        nonlocal traces
        traces += 1
        return stack(x)

    for _ in range(3):
        step(jnp.ones(2))
    assert traces == 1

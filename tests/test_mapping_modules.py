"""Modules in lanes: their States made, reset and used for many lanes at once."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

import brainir

nn: Any = brainir.nn
XS = jnp.arange(6.0).reshape(3, 2)


class Cell(nn.Module):
    """A module with a State of each sort."""

    def __init__(self) -> None:
        super().__init__()
        self.w = brainir.ParamState(jnp.ones(2))

    def init_state(self, scale: float = 1.0) -> None:
        self.h = brainir.HiddenState(brainir.random.rand(2) * scale)
        self.c = brainir.ShortTermState(jnp.zeros(2))
        self.shared = brainir.NonBatchState(jnp.zeros(2))

    def reset_state(self) -> None:
        self.h.value = brainir.random.rand(2)
        self.c.value = jnp.zeros(2)

    def update(self, x: Any) -> Any:
        self.c.value = self.c.value + x * self.w.value
        return self.c.value


def shapes(module: Any) -> dict[Any, Any]:
    return {path[-1]: state.value.shape for path, state in module.states().items()}


BATCHED = {"h": (3, 2), "c": (3, 2), "shared": (2,), "w": (2,)}


def test_states_of_modules_are_made_and_reset_in_lanes() -> None:
    cell = Cell()
    assert nn.vmap_init_all_states(cell, scale=2.0, axis_size=3, state_tag="new") is cell
    assert shapes(cell) == BATCHED
    assert cell.h.tag == {"new"}
    assert len(set(np.asarray(cell.h.value).ravel().tolist())) == 6
    made, cell.c.value = cell.h, jnp.ones((3, 2))
    nn.vmap_reset_all_states(cell, axis_size=3)
    assert cell.h is made
    assert shapes(cell) == BATCHED
    np.testing.assert_array_equal(cell.c.value, np.zeros((3, 2)))
    nn.vmap_call_all_fns(cell, "init_state", axis_size=4)
    assert cell.h.value.shape == (4, 2)


def test_modules_run_in_lanes() -> None:
    cell = nn.vmap_init_all_states(Cell(), axis_size=3)
    lanes = nn.Vmap(cell, vmap_states={0: lambda path, _: path[-1] == "c"})
    np.testing.assert_array_equal(lanes(XS), XS)
    mapped = nn.Map(Cell(), 3, init_state_axes={1: brainir.HiddenState})
    with pytest.raises(ValueError, match="init_all_states first"):
        mapped(XS)
    mapped.init_all_states()
    assert mapped.module.h.value.shape == (2, 3)
    np.testing.assert_array_equal(mapped(XS), XS)
    np.testing.assert_array_equal(mapped(XS), 2 * XS)
    np.testing.assert_array_equal(mapped.map("update")(XS), 3 * XS)


def test_wrong_numbers_of_lanes_are_refused() -> None:
    for size in (None, 0, 1.5, True):
        for name, *args in (["vmap_init_all_states"], ["vmap_call_all_fns", "init_state"]):
            with pytest.raises(ValueError, match="positive integer"):
                getattr(nn, name)(Cell(), *args, axis_size=size)
    with pytest.raises(AssertionError, match="'pmap'"):
        nn.Map(Cell(), 3, behavior="other")

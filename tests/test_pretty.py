"""Models and states show themselves one attribute a line, with cycles cut short."""

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np

import brainir
from brainir import nn


class Cell(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = brainir.ParamState(jnp.ones(2))
        self.h = brainir.HiddenState(jnp.ones(3) * u.mV)


def test_a_model_is_shown_by_its_attributes():
    class Shown(nn.Dynamics):
        def __init__(self):
            super().__init__(2, name="shown")
            self.R = 1.0 * u.ohm
            self.cell = Cell()
            self._tau = jnp.arange(2.0) * u.ms
            self.trace = np.zeros((500, 100))
            self.weights = [np.zeros(3, np.int32), jnp.ones((2, 2)) * u.mV]
            self.mode = "soft"
            self.nothing = None
            self.activation = np.tanh
            self.loss = np.linalg.norm
            self.total = brainir.LongTermState({"n": jnp.int32(0), "x": 1.5}, tag="sum")
            self.V = brainir.HiddenState(jnp.full(2, 0.0) * u.mV)
            self.same = self.V
            self.me = self
            self.key = jax.random.key(0)

    assert (
        repr(Shown())
        == """\
Shown(
  name=shown,
  in_size=(2,),
  out_size=(2,),
  R=Quantity(1., "ohm"),
  cell=Cell(
    w=ParamState(
      value=float32[2]
    ),
    h=HiddenState(
      value=Quantity(float32[3], "mV")
    )
  ),
  tau=Quantity([0. 1.], "ms"),
  trace=float64[500,100],
  weights=[array([0, 0, 0], dtype=int32), Quantity(float32[2,2], "mV")],
  mode=soft,
  activation=<function tanh>,
  loss=<function norm>,
  total=LongTermState(
    value={'n': int32[], 'x': 1.5},
    tag={'sum'}
  ),
  V=HiddenState(
    value=Quantity(~float32[2], "mV")
  ),
  same=HiddenState(...),
  me=Shown(...),
  key=key<fry>[]
)"""
    )


def test_cycles_through_containers_are_cut():
    module = nn.Module()
    module.parts = parts = [1]
    parts.append(parts)  # pyright: ignore[reportArgumentType]
    assert repr(module) == "Module(\n  parts=[1, [...]]\n)"
    assert module.states() == {}


def test_equal_sizes_are_shown_twice():
    module = nn.Module()
    module.in_size = module.out_size = (3,)
    module.a = module.b = [1]
    assert repr(module) == ("Module(\n  in_size=(3,),\n  out_size=(3,),\n  a=[1],\n  b=[1]\n)")


def test_showing_a_traced_model_shows_types():
    def show(x):
        module = nn.Module()
        module.x = x
        texts.append(repr(module))
        return x

    texts: list[str] = []
    jax.jit(show)(jnp.ones(3))
    assert texts == ["Module(\n  x=float32[3]\n)"]

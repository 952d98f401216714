"""The arguments of `jit` beside the function."""

from __future__ import annotations

import functools
import pickle
import subprocess
import sys
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from tests.other_processes import environment

jit: Any = brainir.transform.jit
DEVICE = jax.devices()[0]
HERE = jax.sharding.SingleDeviceSharding(DEVICE)


def scaled(x: Any, y: Any = 1.0, *, n: int = 2) -> Any:
    return x * n + y


def test_nothing_may_be_said_by_none() -> None:
    nothing = dict.fromkeys(
        ["static_argnums", "static_argnames", "donate_argnums", "donate_argnames", "device"]
    )
    run = jit(scaled, **nothing, backend=None, in_shardings=None, out_shardings=None)
    assert run(1.0) == 3
    assert jit(scaled, keep_unused=True, inline=True)(1.0) == 3


def test_arguments_may_stand_in_the_order_of_jax() -> None:
    assert jit(scaled, None, None, None, None, ("n",))(1.0, n=3) == 4


def test_static_names_may_be_one_string() -> None:
    seen: list[Any] = []

    @functools.partial(jit, static_argnames="n")
    def run(x: Any, n: Any) -> Any:
        seen.append(n)
        return x * n

    assert (run(2.0, n=3), run(4.0, n=3), run(2.0, 5)) == (6, 12, 10)
    assert seen == [3, 5]


def donated(run: Any, *args: Any, **kwargs: Any) -> list[bool]:
    """Return which arguments are gone after a call."""
    run(*args, **kwargs)
    return [x.is_deleted() for x in (*args, *kwargs.values())]


def test_arguments_are_donated_by_number_and_by_name() -> None:
    def run(x: Any, y: Any, z: Any = 0.0) -> Any:
        return x + 1, y + 2, z + 3

    def arrays() -> Any:
        return jnp.ones(3), jnp.ones(4), jnp.ones(5)

    x, y, z = arrays()
    assert donated(jit(run, donate_argnames="y"), x, y, z) == [False, True, False]
    x, y, z = arrays()
    assert donated(jit(run, donate_argnames=["x", "z"]), x, y=y, z=z) == [True, False, True]
    x, y, z = arrays()
    assert donated(jit(run, donate_argnums=np.int64(0)), x, y, z=z) == [True, False, False]
    x, y, z = arrays()
    both = jit(run, donate_argnums=(0,), donate_argnames=("z",), static_argnames="y")
    assert both(x, 2.0, z)[1] == 4
    assert (x.is_deleted(), z.is_deleted()) == (True, True)


def test_methods_keep_what_they_were_told() -> None:
    class Model:
        @functools.partial(jit, donate_argnames="x", device=DEVICE)
        def twice(self, x: Any) -> Any:
            return x * 2

    x = jnp.ones(3)
    found = Model().twice(x)
    assert x.is_deleted()
    assert found.committed


@pytest.mark.parametrize(
    "options",
    [
        {"device": DEVICE},
        {"backend": DEVICE.platform},
        {"in_shardings": HERE},
        {"in_shardings": (HERE, None)},
        {"out_shardings": HERE},
    ],
)
def test_arrays_are_brought_where_they_belong(options: Any) -> None:
    total = brainir.State(jnp.zeros(3))

    def add(x: Any, y: Any) -> Any:
        total.value += x["a"]
        return {"sum": x["a"] + y}

    x = {"a": jnp.ones(3)}
    assert not jit(add)(x, 1.0)["sum"].committed
    run = jit(add, **options)
    found = run(x, 1.0)["sum"]
    assert found.committed
    np.testing.assert_array_equal(found, [2, 2, 2])
    np.testing.assert_array_equal(total.value, [2, 2, 2])
    nested = jit(lambda x: run(x, 1.0)["sum"])(x)
    np.testing.assert_array_equal(nested, [2, 2, 2])
    with jax.disable_jit():
        np.testing.assert_array_equal(run(x, 1.0)["sum"], [2, 2, 2])


def test_shardings_are_for_arguments_that_are_not_static() -> None:
    run = jit(scaled, in_shardings=(HERE,), static_argnums=1)
    assert run(1.0, 2.0) == 4
    with pytest.raises(ValueError, match="in_shardings are for 2"):
        jit(scaled, in_shardings=(HERE, HERE))(1.0)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"static_argnums": -1}, ValueError),
        ({"donate_argnums": 5}, ValueError),
        ({"static_argnums": 1.5}, TypeError),
        ({"static_argnames": "m"}, ValueError),
        ({"donate_argnames": ("x", "m")}, ValueError),
        ({"static_argnames": (1,)}, TypeError),
        ({"device": DEVICE, "backend": "cpu"}, ValueError),
        ({"unknown": 1}, TypeError),
    ],
)
def test_what_makes_no_sense_is_refused(options: Any, error: Any) -> None:
    with pytest.raises(error):
        jit(scaled, **options)


def test_a_placed_function_can_be_cleared_and_pickled() -> None:
    run = jit(jnp.sqrt, device=DEVICE)
    assert run(4.0) == 2
    run.clear_cache()
    assert run(9.0) == 3
    placed = jit(functools.partial(scaled, n=3), static_argnums=0)
    assert pickle.loads(pickle.dumps(placed))(2.0) == 7


SHARDED = """
import jax, jax.numpy as jnp, numpy as np
import brainir
mesh = jax.make_mesh((2,), ("i",))
halves = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("i"))
total = brainir.State(jnp.zeros(4))

def add(x, n):
    total.value += x * n
    return {"twice": 2 * x}

run = brainir.transform.jit(add, in_shardings=(halves,), out_shardings=halves, static_argnums=1)
found = run(jnp.arange(4.0), 3)["twice"]
assert found.sharding.is_equivalent_to(halves, 1), found.sharding
assert len(total.value.sharding.device_set) == 2, total.value.sharding
np.testing.assert_array_equal(found, [0, 2, 4, 6])
np.testing.assert_array_equal(total.value, [0, 3, 6, 9])
second = brainir.transform.jit(lambda x: x + 1, device=jax.devices()[1])
assert second(jnp.ones(2)).devices() == {jax.devices()[1]}
"""


def test_arrays_are_spread_over_devices() -> None:
    command = [sys.executable, "-c", SHARDED]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(2), check=False)
    assert done.returncode == 0, done.stderr

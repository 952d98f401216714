"""Programs that are written for brainstate run on our compiler, and afterwards on their own again.

It needs brainstate, and is skipped where that is not installed.
"""

from __future__ import annotations

import ast
import contextlib
import gc
import inspect
import io
import re
import subprocess
import sys
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

import brainir
from brainir.frontend.ecosystem import BrainstateMode, enter, leave
from brainir.testing import Runner, World, programs

brainstate: Any = pytest.importorskip("brainstate")


@pytest.fixture
def mode() -> Iterator[BrainstateMode]:
    with enter() as mode:
        yield mode


class Net(brainstate.nn.Module):
    """A recurrent layer and a readout, as people write them."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = brainstate.nn.GRUCell(3, 4)
        self.out = brainstate.nn.Linear(4, 2)

    def update(self, x: Any) -> Any:
        return self.out(self.cell(x))


def train(steps: int) -> list[float]:
    """Train a net for some steps, and return the losses."""
    brainstate.random.seed(0)
    net = Net()
    brainstate.nn.init_all_states(net, 5)
    weights = net.states(brainstate.ParamState)
    xs = brainstate.random.normal(size=(6, 5, 3))

    @brainstate.transform.jit
    def step() -> Any:
        brainstate.nn.init_all_states(net, 5)

        def loss() -> Any:
            return jnp.mean(brainstate.transform.for_loop(net.update, xs) ** 2)

        grads, value = brainstate.transform.grad(loss, weights, return_value=True)()
        for path, weight in weights.items():
            weight.value = jax.tree.map(lambda w, g: w - 0.5 * g, weight.value, grads[path])
        return value

    return [float(step()) for _ in range(steps)]


def test_training_gives_the_losses_that_it_gives_there() -> None:
    expected = train(5)
    with enter():
        got = train(5)
    np.testing.assert_allclose(got, expected, rtol=2e-6)
    assert expected[-1] < expected[0]


@pytest.mark.usefixtures("mode")
def test_its_names_are_ours_wherever_they_stand() -> None:
    from brainstate.nn import _delay, _rnns  # pyright: ignore[reportMissingImports]
    from brainstate.transform import for_loop  # pyright: ignore[reportMissingImports]

    assert inspect.unwrap(for_loop) is brainir.transform.for_loop
    assert _rnns.jnp is jnp
    assert inspect.unwrap(_delay.environ.get) is brainir.environ.get
    assert brainstate.BatchAxisError is brainir.BatchAxisError
    state = brainstate.State(jnp.zeros(()))
    with pytest.raises(brainstate.BatchAxisError):
        brainstate.transform.vmap(lambda x: setattr(state, "value", x))(jnp.arange(2.0))


def test_leaving_lets_everything_be_as_it_was() -> None:
    def everything() -> dict[tuple[str, str], int]:
        names = [n for n in sys.modules if n.partition(".")[0] == "brainstate"]
        classes = [brainstate.State, brainstate.random.RandomState, brainstate.graph.Node]
        found = [(name, sys.modules[name]) for name in names]
        found += [(kind.__name__, kind) for kind in classes]
        return {(where, k): id(v) for where, owner in found for k, v in vars(owner).items()}

    before, settings = everything(), brainir.environ.all()
    enter()
    jitted = brainstate.transform.jit(lambda x: x + 1)
    kept = brainstate.transform.jit
    brainstate.environ.set(gain=3.0)
    assert everything() != before
    leave()
    leave()
    assert everything() == before
    assert brainir.environ.all() == settings
    assert float(jitted(1.0)) == 2.0
    assert type(kept(lambda x: x)) is type(brainstate.transform.jit(lambda x: x))


def test_its_settings_are_ours_as_long_as_it_lasts() -> None:
    brainstate.environ.set(dt=0.5)
    try:
        with enter():
            assert brainir.environ.get_dt() == 0.5
            read = brainstate.transform.jit(lambda: brainstate.environ.get("gain") * 2.0)
            with brainstate.environ.context(gain=1.0):
                assert float(read()) == 2.0
            with brainir.environ.context(gain=4.0):
                assert float(read()) == 8.0
        assert brainstate.environ.get_dt() == 0.5
    finally:
        brainstate.environ.pop("dt")
    assert brainir.environ.get("dt", None) is None


@pytest.mark.usefixtures("mode")
def test_graphs_call_states_by_where_they_stand() -> None:
    net = Net()
    brainstate.nn.init_all_states(net, 5)
    run = brainstate.transform.jit(net.update)
    states = run.trace(jnp.zeros((5, 3))).graph(stage="capture").states
    told = {var.name: var.kind for var in states}
    assert told["GRUCell.h"] == "hidden"
    assert told["Linear.weight"] == "param"
    assert brainir.validate(net.update, jnp.ones((5, 3))).ok


@pytest.mark.usefixtures("mode")
def test_a_state_that_is_replaced_in_one_of_its_modules_is_noticed() -> None:
    net = Net()
    run = brainstate.transform.jit(lambda x: net.update(x))
    x = jnp.ones((5, 3))
    brainstate.nn.init_all_states(net, 5)
    first = run(x)
    second = run(x)
    assert not np.allclose(first, second)
    brainstate.nn.init_all_states(net, 5)
    np.testing.assert_allclose(run(x), first, rtol=1e-6)


@pytest.mark.usefixtures("mode")
def test_its_hooks_go_on_working() -> None:
    state, told = brainstate.State(jnp.float32(1.0)), []
    run = brainstate.transform.jit(lambda: setattr(state, "value", state.value * 2.0))
    run()
    handle = state.register_hook("write_before", lambda context: told.append(context.value))
    run()
    assert float(state.value) == 4.0
    assert told[-1] == 4.0
    count = len(told)
    state.unregister_hook(handle)
    run()
    assert (len(told), float(state.value)) == (count, 8.0)


@pytest.mark.usefixtures("mode")
def test_random_numbers_are_its_own() -> None:
    def draw() -> Any:
        return brainstate.transform.for_loop(
            lambda _: brainstate.random.normal(size=2), jnp.arange(3)
        )

    brainstate.random.seed(3)
    plain = [brainstate.random.normal(size=2) for _ in range(3)]
    brainstate.random.seed(3)
    np.testing.assert_allclose(brainstate.transform.jit(draw)(), plain, rtol=1e-6)
    lanes = brainstate.transform.vmap(lambda _: brainstate.random.normal(size=2))(jnp.arange(3))
    assert len({float(x) for x in lanes[:, 0]}) == 3


@pytest.mark.usefixtures("mode")
def test_copies_and_failures_leave_states_as_they_are() -> None:
    state = brainstate.HiddenState(jnp.float32(1.0), tag="slow")

    @brainstate.transform.jit
    def run(x: Any) -> Any:
        other = state.copy()
        other.value = other.value + x
        return state.value, other.value, other.tag == {"slow"}

    assert [*map(float, run(2.0))] == [1.0, 3.0, 1.0]

    @brainstate.transform.jit
    def fail() -> None:
        state.value = state.value + 1.0
        brainstate.random.normal()
        raise RuntimeError("late")

    key = brainstate.random.DEFAULT.value
    with pytest.raises(RuntimeError, match="late"):
        fail()
    assert float(state.value) == 1.0
    assert (brainstate.random.DEFAULT.value == key).all()


@pytest.mark.usefixtures("mode")
def test_nothing_is_kept_alive() -> None:
    net = Net()
    run = brainstate.transform.jit(net.out)
    run(jnp.zeros((5, 4)))
    alive = weakref.ref(net.out.weight)
    del net, run
    gc.collect()
    assert alive() is None


@pytest.mark.usefixtures("mode")
def test_what_is_saved_comes_back_by_kind(tmp_path: Path) -> None:
    net = Net()
    brainstate.nn.init_all_states(net, 5)
    x = jnp.ones((5, 3))
    file = tmp_path / "net.brainir"
    run = brainstate.transform.jit(net.update)
    brainir.save(run, file, x)
    loaded = brainir.load(file)
    np.testing.assert_allclose(loaded(x), net.update(x), rtol=1e-6)
    kinds = {name: state.kind for name, state in loaded.states.items()}
    assert kinds["GRUCell.h"] == "hidden"


def test_a_script_runs_as_it_is(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(
        "import sys, brainstate, jax.numpy as jnp\n"
        "count = brainstate.State(0)\n"
        "@brainstate.transform.jit\n"
        "def step():\n"
        "    count.value = count.value + 1\n"
        "step()\n"
        "print(type(step).__module__, int(count.value), sys.argv[1:])\n"
    )
    command = [sys.executable, "-m", "brainir", "run-as", "brainstate", str(script), "--fast"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "brainir.frontend.transform.jit 1 ['--fast']\n"


def outcome(recipe: Any) -> Any:
    """Return what a program for brainstate returns and leaves, or the class of what it raises."""
    world = World(brainstate)

    def program(x: Any) -> Any:
        return Runner(world).block(recipe, [x])

    try:
        result = brainstate.transform.jit(program)(jnp.array([0.5, -1.0, 2.0]))
    except Exception as error:
        return type(error).__name__
    return result, [state.value for state in world.states], world.count.value


@given(programs(depth=2))
def test_random_programs_do_what_ours_do(recipe: Any) -> None:
    world = World()
    try:
        result = brainir.transform.jit(lambda x: Runner(world).block(recipe, [x]))(
            jnp.array([0.5, -1.0, 2.0])
        )
        ours = result, [state.value for state in world.states], world.count.value
    except Exception as error:
        ours = type(error).__name__
    with enter():
        theirs = outcome(recipe)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for one, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        if isinstance(one, str):
            assert one == other
        else:
            np.testing.assert_allclose(one, other, rtol=2e-5, atol=1e-6)


def test_the_page_about_it_does_what_it_shows() -> None:
    text = (Path(__file__).parents[1] / "docs/with-brainstate.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(blocks) == 4
    names: dict[str, Any] = {"__name__": "page"}
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            for block in blocks:
                exec(compile(block, "with-brainstate.md", "exec"), names)
    finally:
        leave()
    shape, states, content = printed.getvalue().splitlines()
    assert shape == "(5, 4)"
    assert ("GRUCell.h", "hidden") in ast.literal_eval(states)
    assert content == "2.0"


def test_tools_show_scripts_that_are_written_for_it(tmp_path: Path) -> None:
    script = tmp_path / "model.py"
    script.write_text(
        "import sys, brainstate, jax.numpy as jnp\n"
        "total = brainstate.HiddenState(jnp.zeros(2))\n"
        "@brainstate.transform.jit\n"
        "def step(x):\n"
        "    total.value = total.value + x\n"
        "step(float(sys.argv[1]))\n"
    )
    command = [sys.executable, "-m", "brainir", "dump", "--as", "brainstate", str(script), "2.0"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "graph @step" in done.stdout
    assert "hidden" in done.stdout
    command[5] = "nothing"
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2


def test_settings_made_before_and_sentinels_of_it_are_understood() -> None:
    sandbox = brainstate.environ.EnvironmentState()
    with enter():
        brainstate.environ.set(gain=3.0, env=sandbox)
        assert brainstate.environ.get("gain", env=sandbox) == 3.0
        assert brainstate.environ.get("gain", None) is None
        another = brainstate.environ.EnvironmentState()
        brainstate.environ.set(gain=4.0, env=another)
        assert brainstate.environ.get("gain", env=another) == 4.0
        double = brainstate.transform.jit(brainstate.typing.Missing(), inline=False)
        assert float(double(lambda x: 2 * x)(3.0)) == 6.0
    assert brainstate.environ.get("gain", env=sandbox) == 3.0


@pytest.mark.usefixtures("mode")
def test_a_delay_that_runs_in_compile_time_evaluation_is_captured() -> None:
    with brainstate.environ.context(dt=0.1):
        delay = brainstate.nn.Delay(jnp.zeros(2), time=0.5, update_every=0.2)
        brainstate.nn.init_all_states(delay)
        for i in range(5):
            delay.update(jnp.ones(2) * i)
        plain = delay.write_ptr.value, delay.history.value
        brainstate.nn.init_all_states(delay)
        brainstate.transform.for_loop(lambda i: delay.update(jnp.ones(2) * i), jnp.arange(5.0))
        for mine, theirs in zip((delay.write_ptr.value, delay.history.value), plain, strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.usefixtures("mode")
def test_a_value_can_be_put_into_a_state_in_a_derivative_of_jax() -> None:
    layer = brainstate.nn.Linear(2, 1, b_init=None)
    weights = layer.weight.value

    def output(weights: Any) -> Any:
        layer.weight.restore_value(weights)
        return layer(jnp.ones(2)).sum()

    found = jax.grad(output)(weights)
    np.testing.assert_array_equal(found["weight"], jnp.ones((2, 1)))
    layer.weight.restore_value(weights)
    with pytest.raises(brainir.TraceContextError):
        jax.grad(lambda w: setattr(layer.weight, "value", w) or w.sum())(weights["weight"])


@pytest.mark.usefixtures("mode")
def test_states_that_say_themselves_that_they_are_written_are_recorded() -> None:
    """As those of braincell do, whose derivatives are attributes beside the value."""
    from brainstate._state import record_state_value_write  # pyright: ignore

    class Slope(brainstate.ShortTermState):
        @property
        def slope(self) -> Any:
            return self._slope

        @slope.setter
        def slope(self, slope: Any) -> None:
            record_state_value_write(self)
            self._slope = slope

    state = Slope(jnp.float32(1.0))

    @brainstate.transform.jit
    def step() -> Any:
        with brainstate.StateTraceStack() as trace:
            state.slope = -state.value
        assert trace.states == [state]
        assert trace.been_writen == [True]
        state.value = state.value + 0.5 * state.slope

    step()
    assert float(state.value) == 0.5

"""How long what a script compiles takes: its calls, and its loops one by one."""

import json
import textwrap

import pytest

from brainir.frontend.program import executables
from brainir.frontend.tools.cli import main
from brainir.frontend.tools.scripts import run_script

TRAINING = """
    import json, os
    import jax, jax.numpy as jnp, brainir
    V = brainir.HiddenState(jnp.zeros((4, 64)), name="V")
    W = brainir.ParamState(jnp.full((32, 64), 0.1), name="W")
    cells = [brainir.HiddenState(jnp.float32(i), name=f"cell{i}") for i in range(6)]

    def step(x):
        V.value = 0.9 * V.value + jnp.tanh(V.value) + x @ W.value
        for cell in cells:
            cell.value = 0.5 * cell.value + V.value[0, 0]
        return V.value

    @brainir.transform.jit
    def train(xs):
        loss = lambda: jnp.mean(brainir.transform.for_loop(step, xs) ** 2)
        W.value -= 0.1 * brainir.transform.grad(loss, W)()

    xs = jnp.sin(jnp.arange(100 * 4 * 32.0).reshape(100, 4, 32))
    for _ in range(3):
        train(xs)
    last = brainir.transform.for_loop(step, xs)[-1].sum()
    states = [V.value.tolist(), W.value.tolist(), *(float(cell.value) for cell in cells)]
    with open(os.path.join(os.path.dirname(__file__), "left.json"), "w") as file:
        json.dump([states, float(last)], file)
"""


@pytest.fixture
def timed(tmp_path):
    """Run the text of a script, and return its run and the timings by name."""

    def run(text, **more):
        path = tmp_path / "model.py"
        path.write_text(textwrap.dedent(text))
        found = run_script(str(path), **{"timed": True, **more})
        names = (program.graph.name for program in found.programs)
        return found, dict(zip(names, found.timings, strict=True))

    return run


def test_calls_and_parts_of_a_training_step_are_timed(timed):
    run, timings = timed(TRAINING)
    assert run.error is None
    train = timings["train"]
    usual = train.usual
    assert train.first is not None
    assert usual is not None
    assert train.first > usual > 0
    assert len(train.later) == 2
    assert train.why == ""
    titles = [part.main.op.name for part in train.parts]
    assert titles.count("dot_general") == 2  # out of the loop, and the gradient by W
    assert all(part.seconds > 0 for part in train.parts)
    product = next(part for part in train.parts if part.main.op.name == "dot_general")
    assert product.alone
    assert product.flops == 2 * 100 * 4 * 32 * 64
    assert product.main.loc is not None
    assert product.main.loc.function == "step"
    loop = timings["step"]
    assert loop.later == []
    assert loop.usual is None
    assert {"for_loop", "kernel"} & {part.main.op.name for part in loop.parts}


def test_what_a_script_computes_does_not_depend_on_being_timed(tmp_path):
    left = []
    for how in (True, False):
        path = tmp_path / "model.py"
        path.write_text(textwrap.dedent(TRAINING))
        assert run_script(str(path), timed=how).error is None
        left.append(json.loads((tmp_path / "left.json").read_text()))
    assert left[0] == left[1]


def test_a_run_that_is_not_timed_has_no_timings_and_nothing_stays_in_force(tmp_path):
    path = tmp_path / "model.py"
    path.write_text("import brainir\nbrainir.transform.jit(lambda x: x + 1)(2.0)\n")
    assert run_script(str(path), timed=True).timings[0].first is not None
    assert len(executables) == 0
    assert run_script(str(path)).timings == ()


def test_what_talks_to_the_host_is_heard_once(timed, tmp_path):
    run, timings = timed(
        """
        import os, jax, jax.numpy as jnp, brainir
        place = os.path.join(os.path.dirname(__file__), "heard")
        def hear(x):
            with open(place, "a") as file:
                file.write("x")
        @brainir.transform.jit
        def f(xs):
            def step(x):
                jax.debug.callback(hear, x)
                return x * 2
            return brainir.transform.for_loop(step, xs)
        f(jnp.ones(5))
        """
    )
    assert run.error is None
    assert (tmp_path / "heard").read_text() == "xxxxx"
    assert timings["f"].parts == ()
    assert "host" in timings["f"].why


@pytest.mark.parametrize(
    "text",
    [
        "jit(lambda x: (x + 1, 3.0, x))(jnp.ones(3))",  # a literal, and an argument, come out
        "jit(lambda x: x)(jnp.ones(3))",  # nothing is computed
        "jit(lambda x: brainir.transform.cond(x > 0, lambda: jnp.sin(x), lambda: x * x))(2.0)",
        "jit(lambda x: brainir.transform.while_loop(lambda y: y < 9.0, lambda y: y * x, x))(2.0)",
        "jit(lambda x: x + 1, donate_argnums=0)(jnp.ones(3))",
        "jax.grad(lambda x: jit(lambda y: jnp.sin(y))(x))(1.0)",  # while somebody else traces
        "jit(lambda key: jax.random.normal(key, (3,)))(jax.random.key(0))",
        "jit(lambda x: x @ x)(np.ones((3, 3)))",
        "brainir.transform.vmap(lambda x: x * 2)(jnp.ones(0))",
    ],
)
def test_every_kind_of_program_can_be_timed(timed, text):
    imports = "import jax, numpy as np, jax.numpy as jnp, brainir\njit = brainir.transform.jit\n"
    run, timings = timed(imports + f"result = {text}\nassert result is not None\n")
    assert run.error is None
    assert timings
    assert all(found.why == "" for found in timings.values())
    if "jax.grad" not in text:
        assert all(found.first > 0 for found in timings.values())


def test_a_program_of_very_many_parts_is_not_cut(timed):
    run, timings = timed(
        """
        import jax.numpy as jnp, brainir
        from brainir.transform import for_loop, jit
        def many(x):
            for _ in range(70):
                x = for_loop(lambda a: jnp.sin(a), x)
                x = x[::-1]
            return x
        jit(many, name="many")(jnp.ones(3))
        """
    )
    assert run.error is None
    assert timings["many"].parts == ()
    assert "more than" in timings["many"].why
    assert timings["many"].first > 0


def test_a_call_that_fails_is_not_counted(timed):
    run, timings = timed(
        """
        import jax, jax.numpy as jnp, brainir
        def refuse(x):
            if x > 1:
                raise ValueError("too large")
        @brainir.transform.jit
        def f(x):
            jax.debug.callback(refuse, x)
            return x + 1
        f(0.0), f(1.0), f(2.0)
        """
    )
    assert run.error is not None
    assert "too large" in run.error
    assert len(timings["f"].later) == 1


def test_the_command_tells_it_and_can_leave_it_out(tmp_path):
    path, output = tmp_path / "model.py", tmp_path / "out.json"
    path.write_text(textwrap.dedent(TRAINING))
    for flags in ((), ("--no-time",)):
        command = ["report", str(path), "--no-xla", "--format", "json", "-o", str(output)]
        assert main([*command, *flags]) == 0
        data = json.loads(output.read_text())
        train = next(fn for fn in data["functions"] if fn["name"] == "train")
        if flags:
            assert train["timed"] is None
            continue
        assert train["timed"]["later"] == 2
        assert train["timed"]["total"] >= train["timed"]["usual"] > 0
        graph = [stage for stage in train["stages"] if "graph" in stage][-1]["graph"]
        linked = [part for part in train["timed"]["parts"] if "item" in part]
        assert len(linked) >= 3
        for part in linked:
            item = graph["items"][part["item"]]
            assert item["m"] == pytest.approx(part["seconds"] * 1e6, abs=0.1)
            assert part["title"].startswith(item["l"])

"""What all backends share: the protocol, options that choose one, the law that holds for each."""

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir
from brainir.backends import BACKENDS, Executable, Memory, backend_named, processor, reference, xla
from brainir.ir import Builder, Const, Graph, Type, Value
from brainir.passes import PASSES
from brainir.testing import check_backend


class Tracing:
    """A backend of somebody's own: it notes what it compiles, and leaves the rest to XLA."""

    name, title, traceable, donates = "tracing", "Tracing", False, False

    def __init__(self) -> None:
        self.compiled: list[str] = []
        self.calls = 0

    def advice(self) -> Mapping[str, Mapping[str, Any]]:
        return {}

    def compile(
        self, graph: Graph, *, donate: Any = (), options: Any = None, around: Any = None
    ) -> Executable:
        assert not donate
        self.compiled.append(graph.name)
        flat = xla.compile(graph).function

        def counted(*arrays: Any) -> Any:
            self.calls += 1
            return flat(*arrays)

        return Executable(self, graph, counted if around is None else around(counted))


@pytest.fixture
def tracing() -> Iterator[Tracing]:
    backend = BACKENDS["tracing"] = Tracing()
    yield backend
    del BACKENDS["tracing"]


def test_a_backend_of_ones_own_runs_all_that_runs_graphs(
    tracing: Tracing, tmp_path: Path, brainir_command: Any
) -> None:
    total = brainir.State(jnp.zeros(()), name="total")

    @brainir.transform.jit(donate_argnums=0)  # which this backend does not do
    def add(x: Any, *, twice: Any) -> Any:
        total.value = total.value + x * twice
        return {"total": total.value}

    with brainir.options(backend="tracing"):
        assert add(2.0, twice=3.0)["total"] == 6
        assert add(2.0, twice=3.0)["total"] == 12
        assert (tracing.compiled, tracing.calls) == (["add"], 2)
        brainir.transform.for_loop(lambda x: add(x, twice=1.0), jnp.ones(3))
        assert (len(tracing.compiled), tracing.calls, total.value) == (2, 3, 15)

        brainir.save(add, tmp_path / "add.brainir", 1.0, twice=1.0)
        loaded = brainir.load(tmp_path / "add.brainir")
        assert loaded(1.0, twice=2.0)["total"] == 17
        assert (len(tracing.compiled), tracing.calls) == (3, 4)
        assert brainir.transform.jit(lambda x: loaded(x, twice=x))(3.0)["total"] == 26
        assert (len(tracing.compiled), tracing.calls) == (4, 5)

        report = brainir.validate(add, 1.0, twice=2.0)
        assert report.ok
        assert report.stages["tracing"] == 0
        assert len(tracing.compiled) > 4

        with pytest.raises(NotImplementedError, match="'tracing' does not lower graphs"):
            add.lower(1.0, twice=2.0)
        assert brainir.tools.xla_statistics(add.trace(1.0, twice=2.0).graph()).arguments == 12
    assert add(1.0, twice=1.0)["total"] == 16

    count = tracing.calls
    path = tmp_path / "double.bir"
    path.write_text("graph @f(%x: f32[]) -> (f32[]) {\n %0 = add %x, %x : f32[]\n return %0\n}\n")
    code, out, _ = brainir_command("run", str(path), "--backend", "tracing", "--arg", "x=2")
    assert (code, out) == (0, "0: f32[] = 4.\n")
    assert tracing.calls == count + 1


@pytest.mark.parametrize(
    ("device", "asked", "distributed"),
    [
        ("cpu", {}, True),
        ("gpu", {}, False),
        ("gpu", {"memory": 2**20}, True),
        ("cpu", {"memory": 0}, False),
    ],
)
def test_loops_are_distributed_where_that_pays_or_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, device: str, asked: Mapping[str, int], distributed: bool
) -> None:
    v, w = brainir.HiddenState(jnp.zeros(4)), jnp.ones((4, 4))

    def step(x: Any) -> Any:
        v.value = jnp.tanh(v.value) + x @ w
        return v.value

    @brainir.transform.jit
    def simulate(xs: Any) -> Any:
        return brainir.transform.for_loop(step, xs)

    monkeypatch.setattr(jax, "default_backend", lambda: device)
    with brainir.options(passes={"distribute-loops": asked}):
        traced = simulate.trace(jnp.ones((9, 4)))
    (loop,) = (n for n in traced.graph("distribute-loops").nodes if n.op.name == "for_loop")
    assert ("dot_general" not in [n.op.name for n in loop.regions[0].nodes]) is distributed


def test_a_backend_that_is_gone_is_unknown_again(tracing: Tracing) -> None:
    del BACKENDS["tracing"]
    with pytest.raises(ValueError, match="no backend is called 'tracing'; there are reference"):
        backend_named("tracing")
    BACKENDS["tracing"] = tracing  # for the fixture


def test_programs_on_the_reference_do_what_they_do_on_xla() -> None:
    def results() -> Any:
        state = brainir.HiddenState(jnp.zeros(3) * u.mV)
        weights = brainir.ParamState(jnp.linspace(0, 1, 3))

        @brainir.transform.jit(donate_argnums=0, static_argnums=1)
        def run(xs: Any, scale: float) -> Any:
            def step(x: Any) -> Any:
                state.value = scale * state.value + weights.value * x * u.mV
                return {"V": state.value, "spike": state.value > 1.0 * u.mV}

            return brainir.transform.for_loop(step, xs)

        def loss() -> Any:
            return (run(jnp.ones((4, 3)), 0.5)["V"] / u.mV).sum()

        brainir.random.seed(3)
        noise = brainir.transform.vmap(lambda x: x + brainir.random.normal(size=()))(jnp.zeros(4))
        ran = run(np.ones((4, 3)), 0.5), run(jnp.ones((4, 3)), 0.25)
        slopes = brainir.transform.grad(loss, grad_states=weights)()
        return ran, slopes, noise, state.value

    expected = results()
    with brainir.options(backend="reference"):
        found = results()
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    for mine, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        assert isinstance(mine, jax.Array)
        assert (mine.dtype, mine.weak_type) == (theirs.dtype, theirs.weak_type)
        np.testing.assert_allclose(mine, theirs, rtol=1e-5)


def test_the_reference_keeps_what_is_donated_and_shares_no_memory() -> None:
    with brainir.options(backend="reference"):
        same = brainir.transform.jit(lambda x: (x, x), donate_argnums=0)
        x = jnp.ones(3)
        first, second = same(x)
        brainir.transform.jit(lambda x: x + 1.0, donate_argnums=0)(first)
    brainir.transform.jit(lambda x: x + 1.0, donate_argnums=0)(first)
    np.testing.assert_array_equal(x, np.ones(3))
    np.testing.assert_array_equal(second, np.ones(3))


def test_results_of_the_reference_are_not_the_memory_of_what_was_given() -> None:
    rows = np.zeros(1024 + 16, np.float32)
    start = -rows.ctypes.data % 64 // rows.itemsize  # where JAX could take it as it is
    given = rows[start : start + 1024]
    x = Value(Type("float32", (1024,)))
    graph = Builder().graph([x], [x], "same")
    (found,) = BACKENDS["reference"].compile(graph)(given)
    given[:] = 5
    np.testing.assert_array_equal(found, np.zeros(1024))


def test_what_cannot_be_traced_says_so_in_somebody_elses_trace() -> None:
    total = brainir.State(jnp.zeros(()))

    @brainir.transform.jit
    def add(x: Any) -> Any:
        total.value = total.value + x
        return total.value

    def loop(x: Any) -> Any:
        return brainir.transform.for_loop(lambda v: v + 1.0, x * jnp.ones(2))

    with brainir.options(backend="reference"):
        add(1.0)
        tries: list[Callable[[], Any]] = [
            lambda: jax.jit(add)(1.0),
            lambda: jax.jit(lambda: add(1.0))(),
            lambda: jax.grad(add)(1.0),
            lambda: jax.vmap(add)(jnp.ones(2)),
            lambda: jax.jit(loop)(1.0),
        ]
        for attempt in tries:
            message = "the backend 'reference' cannot run inside a JAX transformation of your own"
            with pytest.raises(NotImplementedError, match=message):
                attempt()
        assert total.value == 1
        assert add(1.0) == 2


def test_a_backend_says_what_it_knows_and_what_it_does_not() -> None:
    x, const = (Value(Type("float32", (100,))) for _ in range(2))
    b = Builder()
    data = Const(const, np.ones(100, np.float32))
    graph = b.graph([x], [b("mul", x, const)], "scale").with_(consts=(data,))
    executable = BACKENDS["reference"].compile(graph)
    assert executable.memory() == Memory(arguments=800, results=400)
    with pytest.raises(NotImplementedError, match="@scale: the backend 'reference' does not say"):
        executable.cost()
    with pytest.raises(NotImplementedError, match="does not lower graphs: it runs them as they"):
        executable.lower()
    with pytest.raises(ValueError, match="the reference backend has no options"):
        BACKENDS["reference"].compile(graph, options={"fast": True})
    compiled = BACKENDS["xla"].compile(graph)
    assert compiled.cost().flops == 100
    assert compiled.memory().arguments == 800
    (one,), (other,) = executable(np.ones(100)), compiled(np.ones(100, np.float32))
    np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["reference", "xla"])
def test_what_is_around_an_executable_takes_containers(name: str) -> None:
    x, y = (Value(Type("float32", (3,))) for _ in range(2))
    b = Builder()
    graph = b.graph([x, y], [b("add", x, y), b("sub", x, y)])

    def around(flat: Any) -> Any:
        def function(pair: Any, *, scale: Any) -> Any:
            added, subtracted = flat(pair["x"], pair["y"])
            return {"sum": added * scale, "difference": subtracted}

        return function

    executable = BACKENDS[name].compile(graph, around=around)
    found = executable.function({"x": jnp.array([1.0, 2.0, 3.0]), "y": jnp.ones(3)}, scale=2.0)
    np.testing.assert_array_equal(found["sum"], [4, 6, 8])
    np.testing.assert_array_equal(found["difference"], [0, 1, 2])


@pytest.mark.parametrize("layer", ["ir", "passes", "frontend"])
def test_only_backends_make_programs_of_emitted_graphs(layer: str) -> None:
    folder = Path(__file__).parent.parent / layer
    for path in folder.rglob("*.py"):
        text = path.read_text()
        assert "compiler_options" not in text, path
        emitting = re.findall(r"lax\.emit\(", text)
        assert not emitting or path.name == "foreign.py", path


@pytest.mark.parametrize("name", sorted(BACKENDS))
def test_a_backend_gives_what_graphs_mean(name):
    check_backend(name)


def test_a_backend_that_computes_something_else_is_noticed():
    class Wrong:
        name, title, traceable, donates = "wrong", "Wrong", False, False

        def advice(self):
            return {}

        def compile(self, graph, *, donate=(), options=None, around=None):
            flat = reference.compile(graph).function
            return Executable(self, graph, lambda *arrays: [x[None][0] * 0 for x in flat(*arrays)])

    with pytest.raises(AssertionError, match="backend wrong: it gives what the graph means"):
        check_backend(Wrong(), dtypes=("float32",), transformations=False)


def test_what_a_processor_can_do_is_read_from_its_description(tmp_path: Path) -> None:
    for i, size in enumerate(("48K\n", "1024K\n", "32M\n")):
        (tmp_path / f"index{i}").mkdir()
        (tmp_path / f"index{i}" / "size").write_text(size)
    assert processor.last_cache(tmp_path) == 32 * 2**20
    assert processor.last_cache(tmp_path / "not there") == processor.CACHE
    found = processor.flags("processor : 0\nflags : fpu avx2\n\nflags : fpu")
    assert found == {"flags", ":", "fpu", "avx2"}
    assert processor.flags("") == processor.WIDE
    advice = processor.advice()
    assert min(advice.values()) > 0
    assert PASSES["distribute-loops"].with_options(**advice).options == advice

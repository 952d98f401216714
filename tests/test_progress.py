"""Progress bars: wherever loops take them, they end at their last step and are told of no more."""

from __future__ import annotations

import sys
import types
from typing import Any

import brainunit as u
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import brainir

transform: Any = brainir.transform
ProgressBar = transform.ProgressBar


class Bar:
    """What stands in for tqdm: it keeps what it is told."""

    def __init__(self, total: int, desc: str, **options: Any) -> None:
        self.total, self.descriptions, self.options = total, [desc], options
        self.updates: list[int] = []
        self.closed = 0

    def set_description(self, desc: str, refresh: bool = True) -> None:
        assert not self.closed
        self.descriptions.append(desc)

    def update(self, steps: int) -> None:
        assert not self.closed
        self.updates.append(steps)

    def close(self) -> None:
        self.closed += 1

    @property
    def complete(self) -> bool:
        return sum(self.updates) == self.total and self.closed == 1


@pytest.fixture
def bars(monkeypatch: pytest.MonkeyPatch) -> list[Bar]:
    shown: list[Bar] = []

    def new(*args: Any, **kwargs: Any) -> Bar:
        shown.append(Bar(*args, **kwargs))
        return shown[-1]

    monkeypatch.setitem(sys.modules, "tqdm.auto", types.SimpleNamespace(tqdm=new))
    return shown


def settled(bars: list[Bar]) -> list[Bar]:
    """Return the bars, when all that was compiled has told of its progress."""
    jax.effects_barrier()
    return bars


def loop(pbar: Any, **options: Any) -> Any:
    return lambda xs: transform.for_loop(lambda x: x * 2, xs, pbar=pbar, **options)


def scan(pbar: Any, **options: Any) -> Any:
    return lambda xs: transform.scan(lambda c, x: (c + x, c), 0.0, xs, pbar=pbar, **options)[1]


def grouped_loop(pbar: Any) -> Any:
    return lambda xs: transform.checkpointed_for_loop(lambda x: x * 2, xs, base=3, pbar=pbar)


def grouped_scan(pbar: Any) -> Any:
    return lambda xs: transform.checkpointed_scan(
        lambda c, x: (c + x, c), 0.0, xs, base=3, pbar=pbar
    )[1]


LONG = ProgressBar(10)


LOOPS = [loop, scan, grouped_loop, grouped_scan]


@pytest.mark.sampled(3)
@pytest.mark.parametrize("pbar", [3, True, np.int64(4), LONG, ProgressBar(3), ProgressBar(count=4)])
@pytest.mark.parametrize("make", LOOPS)
def test_a_bar_ends_at_its_last_step(make: Any, pbar: Any, bars: list[Bar]) -> None:
    xs = jnp.arange(10.0)
    expected = make(None)(xs)
    for run in (make(pbar), transform.jit(make(pbar))):
        np.testing.assert_array_equal(run(xs), expected)
    with jax.disable_jit():
        np.testing.assert_array_equal(make(pbar)(xs), expected)
    count = 3 if make in (loop, scan) else len(bars)
    assert [bar.complete for bar in settled(bars)] == [True] * count
    assert all(len(bar.updates) > 1 for bar in bars) is (pbar is not LONG)


@pytest.mark.parametrize("make", LOOPS)
def test_a_gradient_shows_one_bar(make: Any, bars: list[Bar]) -> None:
    xs = jnp.arange(7.0)

    def loss(scale: Any, pbar: Any = None) -> Any:
        return (make(pbar)(scale * xs) ** 2).sum()

    for around in (lambda f: f, transform.jit):
        found = around(transform.grad(lambda scale: loss(scale, 2)))(1.5)
        np.testing.assert_allclose(found, transform.grad(loss)(1.5), rtol=1e-6)
    assert [bar.complete for bar in settled(bars)] == [True, True]


@pytest.mark.parametrize("make", LOOPS)
def test_lanes_share_one_bar(make: Any, bars: list[Bar]) -> None:
    xs = jnp.arange(18.0).reshape(2, 9)
    found = transform.vmap(make(2))(xs)
    np.testing.assert_array_equal(found, transform.vmap(make(None))(xs))
    assert [bar.complete for bar in settled(bars)] == [True]


def test_lanes_share_one_description(bars: list[Bar]) -> None:
    pbar = ProgressBar(2, desc=("y is {y}", lambda d: {"y": d["y"]}))
    transform.vmap(loop(pbar))(jnp.arange(10.0).reshape(2, 5))
    (bar,) = settled(bars)
    assert bar.complete
    assert bar.descriptions == ["", "y is 2.0", "y is 6.0", "y is 8.0"]


@pytest.mark.parametrize("make", [loop, scan])
def test_a_loop_from_the_end_shows_its_progress_from_the_start(make: Any, bars: list[Bar]) -> None:
    pbar = ProgressBar(4, desc=("{i}", lambda d: {"i": d["i"]}))
    make(pbar, reverse=True)(jnp.arange(10.0))
    (bar,) = settled(bars)
    assert bar.updates == [4, 4, 2]
    assert bar.descriptions == ["", "3", "7", "9"]


def test_each_run_of_an_inner_loop_has_a_bar_of_its_own(bars: list[Bar]) -> None:
    @transform.jit
    def run() -> Any:
        return transform.for_loop(lambda x: loop(2)(x + jnp.arange(4.0)), jnp.arange(3.0), pbar=1)

    run()
    run()
    totals = sorted(bar.total for bar in settled(bars))
    assert totals == [3] * 2 + [4] * 6
    assert all(bar.complete for bar in bars)


def test_a_description_is_of_the_step_the_carry_and_what_it_returns(bars: list[Bar]) -> None:
    def fill(d: Any) -> Any:
        return {"i": d["i"], "carry": d["carry"], "y": d["y"]["twice"].mean(), "word": "step"}

    def step(carry: Any, x: Any) -> Any:
        return carry + x, {"twice": 2 * x}

    pbar = ProgressBar(2, desc=["{word} {i}: {carry} {y:.2f}", fill])

    def run(xs: Any) -> Any:
        return transform.scan(step, 0 * u.mV, xs * u.mV, pbar=pbar)

    for around in (lambda f: f, transform.jit):
        around(run)(jnp.arange(5.0))
    with jax.disable_jit():
        run(jnp.arange(5.0))
    for bar in settled(bars):
        assert bar.descriptions[1:] == [
            "step 1: 1. mV 2.00 mV",
            "step 3: 6. mV 6.00 mV",
            "step 4: 10. mV 8.00 mV",
        ], bar.descriptions
    assert len(bars) == 3


def test_a_description_may_read_states(bars: list[Bar]) -> None:
    total = brainir.State(jnp.float32(0))

    def step(x: Any) -> None:
        total.value += x

    pbar = ProgressBar(2, desc=("{t}", lambda d: {"t": total.value}))
    transform.for_loop(step, jnp.ones(4), pbar=pbar)
    assert settled(bars)[0].descriptions == ["", "2.0", "4.0"]


def test_loops_with_new_descriptions_do_not_compile_anew(bars: list[Bar]) -> None:
    from brainir.frontend.program import executables

    def run(word: str) -> Any:
        pbar = ProgressBar(3, desc=("{w} {y}", lambda d: {"w": word, "y": d["y"]}))
        return loop(pbar)(jnp.arange(6.0))

    run("first")
    before = len(executables)
    run("second")
    assert len(executables) == before
    assert settled(bars)[1].descriptions == ["", "second 4.0", "second 10.0"]


@pytest.mark.parametrize("make", LOOPS)
@pytest.mark.parametrize(
    ("pbar", "error"),
    [
        (0, ValueError),
        (-1, ValueError),
        (11, ValueError),
        ("yes", TypeError),
        (2.0, TypeError),
        (ProgressBar(count=11), ValueError),
    ],
)
def test_bars_that_cannot_be_drawn_are_refused(make: Any, pbar: Any, error: Any) -> None:
    with pytest.raises(error):
        make(pbar)(jnp.arange(10.0))


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"freq": 2, "count": 2}, ValueError),
        ({"freq": 2.5}, ValueError),
        ({"count": 0}, ValueError),
        ({"desc": 3}, TypeError),
        ({"desc": ("a",)}, ValueError),
        ({"desc": ("a", "b")}, TypeError),
        ({"desc": (1, dict)}, TypeError),
    ],
)
def test_descriptions_of_the_wrong_kind_are_refused(options: Any, error: Any) -> None:
    with pytest.raises(error, match="progress bar"):
        ProgressBar(**options)


def test_a_description_that_is_no_dict_is_refused() -> None:
    with pytest.raises(TypeError, match="returns a dict"):
        loop(ProgressBar(2, desc=("{i}", lambda d: d["i"])))(jnp.arange(4.0))


def test_a_loop_without_steps_shows_nothing(bars: list[Bar]) -> None:
    assert loop(3)(jnp.zeros((0, 2))).shape == (0, 2)
    assert not settled(bars)


def test_options_go_to_tqdm(bars: list[Bar]) -> None:
    loop(ProgressBar(2, desc="running", leave=False, total=3))(jnp.arange(4.0))
    (bar,) = settled(bars)
    assert (bar.total, bar.options, bar.descriptions) == (4, {"leave": False}, ["running"])


@pytest.mark.sampled(2)
@pytest.mark.parametrize("freq", [16, 24])  # all updates are as far apart; the last is nearer
@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("kind", ["for_loop", "scan"])
def test_a_loop_over_blocks_is_the_loop_over_steps(
    kind: str, reverse: bool, freq: int, bars: list[Bar]
) -> None:
    total = brainir.State(jnp.float32(0))
    xs = {
        "a": np.arange(64, dtype=np.float32) * u.mV,
        "key": jax.random.split(jax.random.key(0), 64),
    }

    def step(x: Any) -> Any:
        total.value = total.value * 0.5 + (x["a"] / u.mV)
        return {"t": total.value * u.mV, "random": jax.random.uniform(x["key"])}

    def run(scale: Any, pbar: Any) -> Any:
        total.value = jnp.float32(0)
        given = {**xs, "a": xs["a"] * scale}
        if kind == "for_loop":
            return None, transform.for_loop(step, given, reverse=reverse, pbar=pbar)

        def carried(carry: Any, x: Any) -> Any:
            return carry + x["a"], step(x)

        return transform.scan(carried, 0 * u.mV, given, reverse=reverse, pbar=pbar)

    told: Any = "{i} {t:.4g}", lambda d: {"i": d["i"], "t": (d["y"]["t"] / u.mV)}
    expected = run(2.0, None)
    found = transform.jit(lambda scale: run(scale, ProgressBar(freq, desc=told)))(2.0)
    for mine, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-6)

    def loss(scale: Any, pbar: Any) -> Any:
        return (run(scale, pbar)[1]["t"] / u.mV).sum()

    slopes = [transform.grad(lambda s, p=p: loss(s, p))(2.0) for p in (None, ProgressBar(freq))]
    np.testing.assert_allclose(*slopes, rtol=1e-6)
    first, second = settled(bars)
    assert first.complete
    assert second.complete
    done = [min(n, 64) for n in range(freq, 64 + freq, freq)]
    totals = (expected[1]["t"] / u.mV)[::-1] if reverse else expected[1]["t"] / u.mV
    assert first.descriptions[1:] == [f"{n - 1} {float(totals[n - 1]):.4g}" for n in done]


def test_steps_between_updates_talk_to_nobody() -> None:
    def run(xs: Any, freq: int) -> Any:
        return transform.for_loop(lambda x: 2 * x, xs, pbar=freq)

    def inner(freq: int) -> list[list[str]]:
        graph = transform.jit(lambda xs: run(xs, freq)).trace(jnp.ones(100)).graph("hoist-state")
        (outer,) = (node for node in graph.nodes if node.op.name == "for_loop")
        loops = [node for node in outer.regions[0].nodes if node.op.name == "for_loop"]
        return [[node.op.name for node in loop.regions[0].nodes] for loop in loops]

    assert inner(25) == [["mul"]]
    assert inner(30) == [], "blocks of 10 steps are short"
    assert inner(33) == [], "so are blocks of 1"

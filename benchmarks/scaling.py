"""How the compiler itself scales: print, parse, fingerprint and the pipeline on growing graphs.

The graph is a vmap of a loop over cells that drive each other, each with a state of its own; with
a gradient around it, reverse mode is part of the pipeline. Seconds are processor time. The last
column is the growth of the pipeline's time over the row before, divided by that of n log n.

Run: ``python benchmarks/scaling.py``
"""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable
from typing import Any

from brainir.ir import (
    Builder,
    Graph,
    Literal,
    StateVar,
    Type,
    Value,
    equal,
    fingerprint,
    parse,
    walk,
)
from brainir.passes import PIPELINE, run_pipeline

CELL = Type("float32", (4,))
ROW = Type("float32", (5, 4))


def trial(builder: Builder, cells: int, row: Value) -> Value:
    """Build a loop over cells that are created inside, and return what the last one did."""
    states = [StateVar(f"V{i}", (CELL,)) for i in range(cells)]
    for state in states:
        builder.emit("state.new", [builder.zeros(CELL)], {"state": state})
    step = Builder()
    drive = current = Value(CELL)
    for state in states:
        (held,) = step.emit("state.read", (), {"state": state})
        rise = step("add", step("mul", held, Literal(0.9, Type("float32"))), current)
        fires = step("gt", rise, Literal(1.0, Type("float32")))
        current = step("select_n", fires, rise, held)
        step.emit("state.write", [current], {"state": state})
    body = step.graph([drive], [current])
    (spikes,) = builder.emit("for_loop", [row], {"carries": 0, "length": 5}, [body])
    return spikes


def trials(cells: int, gradient: bool) -> Graph:
    """Return ten trials at once, or their gradients by the input."""
    outer, lane = Builder(), Builder()
    inputs, row = Value(Type("float32", (10, 5, 4))), Value(ROW)
    if gradient:
        inner, x = Builder(), Value(ROW)
        loss = inner("reduce_sum", trial(inner, cells, x), axes=(0, 1))
        attrs = {"wrt": (0,), "states": (), "losses": 1}
        result = lane.emit("grad", [row], attrs, [inner.graph([x], [loss])])[0]
    else:
        result = trial(lane, cells, row)
    axes = {"in_axes": (0,), "out_axes": (0,), "in_states": (), "out_states": ()}
    attrs = {"size": 10, "axis_name": None, **axes}
    return outer.graph([inputs], outer.emit("vmap", [inputs], attrs, [lane.graph([row], [result])]))


def seconds(run: Callable[[], Any]) -> tuple[float, Any]:
    """Return the processor time of a call, and its result."""
    gc.collect()
    start = time.process_time()
    result = run()
    return time.process_time() - start, result


def main() -> None:
    """Print a row for each size, without and with a gradient."""
    print(f"{'':9}{'nodes':>8}{'print':>9}{'parse':>9}{'fingerprint':>13}{'pipeline':>10}  growth")
    for gradient in (False, True):
        before: tuple[float, float] | None = None
        for size in (1_000, 3_000, 10_000, 30_000):
            graph = trials(size // 7, gradient)
            nodes = sum(1 for _ in walk(graph))
            printing, text = seconds(lambda graph=graph: str(graph))
            parsing, again = seconds(lambda text=text: parse(text))
            hashing, _ = seconds(lambda graph=graph: fingerprint(graph))
            passing, _ = seconds(lambda graph=graph: run_pipeline(graph, PIPELINE))
            assert equal(graph, again)
            work = nodes * math.log(nodes)
            growth = "" if before is None else f"{(passing / before[0]) / (work / before[1]):.2f}"
            before = passing, work
            print(
                f"{'gradient' if gradient else 'forward':9}{nodes:8}{printing:9.2f}{parsing:9.2f}"
                f"{hashing:13.3f}{passing:10.2f}  {growth}"
            )


if __name__ == "__main__":
    main()

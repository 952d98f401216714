"""The pipeline takes time in proportion to the graph."""

import time

from brainir.ir import Builder, Graph, Literal, StateVar, Type, Value, walk
from brainir.passes import PIPELINE, run_pipeline

CELL = Type("float32", (4,))
LIMIT = 10.0
"""Seconds of processor time for ten thousand nodes; about a quarter of it is needed."""


def trials(cells: int) -> Graph:
    """Ten trials of a loop over cells that drive each other, each with a state of its own."""
    states = [StateVar(f"V{i}", (CELL,)) for i in range(cells)]
    outer, lane, step = Builder(), Builder(), Builder()
    inputs, row = Value(Type("float32", (10, 5, 4))), Value(Type("float32", (5, 4)))
    for state in states:
        lane.emit("state.new", [lane.zeros(CELL)], {"state": state})
    drive = current = Value(CELL)
    for state in states:
        (held,) = step.emit("state.read", (), {"state": state})
        rise = step("add", step("mul", held, Literal(0.9, Type("float32"))), current)
        fires = step("gt", rise, Literal(1.0, Type("float32")))
        current = step("select_n", fires, rise, held)
        step.emit("state.write", [current], {"state": state})
    attrs = {"carries": 0, "length": 5, "reverse": False, "unroll": 1}
    spikes = lane.emit("for_loop", [row], attrs, [step.graph([drive], [current])])
    axes = {"in_axes": (0,), "out_axes": (0,), "in_states": (), "out_states": ()}
    body = lane.graph([row], spikes)
    results = outer.emit("vmap", [inputs], {"size": 10, "axis_name": None, **axes}, [body])
    return outer.graph([inputs], results)


def test_ten_thousand_nodes_take_seconds():
    graph = trials(1400)
    assert sum(1 for _ in walk(graph)) > 9_000
    start = time.process_time()
    run_pipeline(graph, PIPELINE)
    assert time.process_time() - start < LIMIT

"""The command ``stats``: what graphs cost."""

from __future__ import annotations

import json
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TypeVar

from ...passes import PIPELINE, run_pipeline
from .command import Command, Problem, UsageError, add_script, add_select, add_stage, table
from .costs import Statistics, XlaStatistics, statistics, xla_statistics
from .graph_files import labels, read_graphs
from .scripts import ScriptGraphs, graphs_of_script

T = TypeVar("T")


def _configure(parser: ArgumentParser) -> None:
    add_script(
        parser, "a Python script (.py), or graphs in text, or an artifact; - for stdin", "FILE"
    )
    add_stage(parser)
    add_select(parser)
    parser.add_argument(
        "--xla",
        action=BooleanOptionalAction,
        default=True,
        help="also compile each graph and tell what XLA says of it",
    )
    parser.add_argument(
        "--format",
        choices=("text", "json"),
        default="text",
        help="text is the default; json: one line for each graph",
    )


def _execute(options: Namespace) -> int:
    found = _graphs(options)
    for graph, label in zip(found.graphs, labels(found.graphs), strict=True):
        ours, theirs = statistics(graph), None
        if options.xla:
            theirs = _or_problem(lambda graph=graph: xla_statistics(graph))
        if options.format == "json":
            print(json.dumps({**ours.data(), "xla": None if theirs is None else theirs.data()}))
        else:
            print(_text(label, ours, theirs))
    return found.report()


def _or_problem(make: Callable[[], T]) -> T:
    try:
        return make()
    except (ValueError, NotImplementedError) as error:
        raise Problem(str(error)) from error


def _graphs(options: Namespace) -> ScriptGraphs:
    if options.script.endswith(".py"):
        return graphs_of_script(options.script, options.arguments, options.select, options.stage)
    if options.arguments:
        raise UsageError(f"{options.script} is not a script, so it takes no arguments")
    graphs = read_graphs(options.script, options.select)
    if options.stage is not None:
        graphs = [
            _or_problem(lambda g=g: run_pipeline(g, PIPELINE, until=options.stage)) for g in graphs
        ]
    return ScriptGraphs(tuple(graphs), ())


def _text(label: str, ours: Statistics, theirs: XlaStatistics | None) -> str:
    unknown = "" if ours.bounded else ", and more for each further step of a while"
    lines = [
        f"@{label}: {ours.nodes:,} nodes, {ours.flops:,} flops, {ours.bytes:,} B moved{unknown}",
        f"  states: {ours.states:,} with {ours.state_bytes:,} B",
        f"  consts: {ours.consts:,} with {ours.const_bytes:,} B",
        f"  residuals: {ours.residual_bytes:,} B that loops keep for loops in reverse",
    ]
    if theirs is not None:
        lines += _xla_lines(theirs)
    rows = [(op.op, op.nodes, op.flops, op.bytes) for op in ours.ops]
    lines += ["", table(("op", "nodes", "flops", "bytes"), rows, "  ")]
    if ours.loops:
        loops = [tuple(asdict(loop).values()) for loop in ours.loops]
        headers = ("loop", "where", "steps", "nodes", "carried B", "stacked B", "for reverse B")
        lines += ["", table(headers, loops, "  ")]
    return "\n".join([*lines, ""])


def _xla_lines(said: XlaStatistics) -> Iterator[str]:
    work = {"flops": said.flops, "transcendentals": said.transcendentals, "B moved": said.bytes}
    text = ", ".join(f"{count:,.0f} {what}" for what, count in work.items() if count is not None)
    yield f"  XLA, after fusion, every loop as if it ran once: {text or 'does not say'}"
    sizes = {name: getattr(said, name) for name in ("arguments", "results", "temporaries", "code")}
    text = ", ".join(f"{name} {size:,} B" for name, size in sizes.items() if size is not None)
    yield f"  XLA, memory: {text or 'does not say'}"


COMMAND = Command(
    "stats",
    "tell what graphs cost: work, memory, states",
    "Count nodes, arithmetic and memory traffic, by op and by loop, and what loops keep for a "
    "gradient. A loop counts as often as it runs, a while as if it ran once, a cond with its most "
    "expensive branch; nothing is taken to be fused.",
    ("stats model.py", "stats model.bir --select train --no-xla"),
    _configure,
    _execute,
)

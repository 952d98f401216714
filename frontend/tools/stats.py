"""The command ``stats``: what graphs cost."""

from __future__ import annotations

import json
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import TypeVar

from ...backends import Backend, backend_named
from ...passes import DEFAULTS, Options, run_pipeline
from ..options import pipeline_for
from .command import (
    Command,
    Problem,
    UsageError,
    add_options,
    add_script,
    add_select,
    add_stage,
    asked_options,
    shown_options,
    table,
)
from .costs import Statistics, XlaStatistics, statistics, xla_statistics
from .dump import options_data
from .graph_files import labels, read_graphs
from .scripts import ScriptGraphs, graphs_of_script

T = TypeVar("T")


def _configure(parser: ArgumentParser) -> None:
    add_script(
        parser, "a Python script (.py), or graphs in text, or an artifact; - for stdin", "FILE"
    )
    add_stage(parser)
    add_select(parser)
    add_options(parser)
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
    for graph, label, asked in zip(found.graphs, labels(found.graphs), found.options, strict=True):
        ours, theirs = statistics(graph), None
        if options.xla:
            theirs = _or_problem(lambda g=graph, asked=asked: xla_statistics(g, asked))
        if options.format == "json":
            said = None if theirs is None else theirs.data()
            print(json.dumps({**ours.data(), "xla": said, **options_data(asked)}))
        else:
            print(_text(label, ours, theirs, asked))
    return found.report()


def _or_problem(make: Callable[[], T]) -> T:
    try:
        return make()
    except (ValueError, NotImplementedError) as error:
        raise Problem(str(error)) from error


def _graphs(options: Namespace) -> ScriptGraphs:
    asked = asked_options(options)
    if options.script.endswith(".py"):
        return graphs_of_script(
            options.script,
            options.arguments,
            options.select,
            options.stage,
            asked,
            options.library,
        )
    if options.arguments or options.library:
        raise UsageError(f"{options.script} is not a script, so it takes no arguments and no --as")
    graphs = read_graphs(options.script, options.select)
    if options.stage is not None:
        passes = pipeline_for(asked)
        graphs = [
            _or_problem(lambda g=g: run_pipeline(g, passes, until=options.stage)) for g in graphs
        ]
    return ScriptGraphs(tuple(graphs), (), (asked,) * len(graphs))


def _text(label: str, ours: Statistics, theirs: XlaStatistics | None, asked: Options) -> str:
    unknown = "" if ours.bounded else ", and more for each further step of a while"
    lines = [
        f"@{label}: {ours.nodes:,} nodes, {ours.flops:,} flops, {ours.bytes:,} B moved{unknown}",
        f"  states: {ours.states:,} with {ours.state_bytes:,} B",
        f"  consts: {ours.consts:,} with {ours.const_bytes:,} B",
        f"  residuals: {ours.residual_bytes:,} B that loops keep for loops in reverse",
    ]
    if asked != DEFAULTS:
        lines.insert(1, f"  {shown_options(asked).rstrip()}")
    if theirs is not None:
        lines += _xla_lines(theirs, backend_named(asked.backend))
    rows = [(op.op, op.nodes, op.flops, op.bytes) for op in ours.ops]
    lines += ["", table(("op", "nodes", "flops", "bytes"), rows, "  ")]
    if ours.loops:
        loops = [tuple(asdict(loop).values()) for loop in ours.loops]
        headers = ("loop", "where", "steps", "nodes", "carried B", "stacked B", "for reverse B")
        lines += ["", table(headers, loops, "  ")]
    return "\n".join([*lines, ""])


def _xla_lines(said: XlaStatistics, backend: Backend) -> Iterator[str]:
    work = {"flops": said.flops, "transcendentals": said.transcendentals, "B moved": said.bytes}
    text = ", ".join(f"{count:,.0f} {what}" for what, count in work.items() if count is not None)
    counted = "after fusion, every loop as if it ran once" if backend.traceable else "work"
    yield f"  {backend.title}, {counted}: {text or 'does not say'}"
    sizes = {name: getattr(said, name) for name in ("arguments", "results", "temporaries", "code")}
    text = ", ".join(f"{name} {size:,} B" for name, size in sizes.items() if size is not None)
    yield f"  {backend.title}, memory: {text or 'does not say'}"


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

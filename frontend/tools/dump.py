"""The command ``dump``: the graphs of everything that a script compiles."""

from __future__ import annotations

import json
from argparse import ArgumentParser, Namespace
from collections.abc import Callable

from ...ir import Graph
from ...passes import DEFAULTS, Options
from ..export import annotated_text, kernel_code, to_dot
from .command import (
    Command,
    add_options,
    add_script,
    add_select,
    add_stage,
    asked_options,
    shown_options,
)
from .graph_data import graph_data
from .scripts import graphs_of_script

FORMATS: dict[str, Callable[[Graph, Options], str]] = {
    "text": lambda graph, asked: f"{shown_options(asked, '# ')}{annotated_text(graph)}\n",
    "json": lambda graph, asked: json.dumps({**graph_data(graph), **options_data(asked)}),
    "python": lambda graph, asked: f"{shown_options(asked, '# ')}{_python(graph)}",
    "dot": lambda graph, asked: f"{shown_options(asked, '// ')}{to_dot(graph)}",
    "llvm": lambda graph, asked: f"{shown_options(asked, '; ')}{kernel_code(graph)}",
}


def _python(graph: Graph) -> str:
    """Return a graph as Python source, which ends by saying what it needs beside it."""
    source = graph.to_python()
    if not source.constants:
        return source.text
    return f"{source.text}# needs constants: {', '.join(source.constants)}\n"


def options_data(asked: Options) -> dict[str, str]:
    """Return what was asked of the compiler as plain data; nothing if all is as usual."""
    return {} if asked == DEFAULTS else {"options": str(asked)}


def _configure(parser: ArgumentParser) -> None:
    add_script(parser, "the Python script to run; it need not know of brainir's tools")
    add_stage(parser)
    add_select(parser)
    add_options(parser)
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="text",
        help="text: with your source lines as comments; brainir reads it back (the default); "
        "json: one line for each graph; python: source that needs nothing but JAX; dot: for "
        "Graphviz; llvm: the code of kernels, before LLVM's own passes",
    )


def _execute(options: Namespace) -> int:
    found = graphs_of_script(
        options.script,
        options.arguments,
        options.select,
        options.stage,
        asked_options(options),
        options.library,
    )
    for graph, asked in zip(found.graphs, found.options, strict=True):
        print(FORMATS[options.format](graph, asked))
    return found.report()


COMMAND = Command(
    "dump",
    "print the graphs of everything that a script compiles",
    "Run a script as Python would, and print the graph of everything that it compiles, each once, "
    "after all passes unless --stage names another stage. "
    "Options that are not the usual ones stand in a comment above the graph. "
    "What the script itself prints goes to the standard error. If it fails, what it had compiled "
    "is still printed, and the exit code is 1.",
    (
        "dump model.py --stage capture --select 'update*'",
        "dump model.py -- --steps 100",
        "dump model.py -O 'distribute-loops{memory=4}' --leave-out simplify",
        "dump model.py --select update --format python > update.py",
        "dump model.py --select update --format dot | dot -Tsvg > update.svg",
        "dump model.py --format llvm",
    ),
    _configure,
    _execute,
)

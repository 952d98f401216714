"""The command ``opt``: runs passes over graphs in text."""

from __future__ import annotations

import re
import sys
from argparse import ArgumentParser, Namespace

from ...ir import Graph, VerificationError, verify, walk
from ...passes import PIPELINE, Pass, parse_pass, run_pipeline
from .command import Command, Problem, UsageError, add_select, table
from .graph_files import read_graphs

ALL = "all"
"""Stands for the whole pipeline."""


def parse_passes(text: str) -> list[Pass]:
    """Return the passes that text such as ``hoist-state,expand-vmap{option=1}`` names.

    Raises
    ------
    UsageError
        If there is no such pass, or it has no such option.
    """
    passes: list[Pass] = []
    for part in re.split(r",(?![^{]*})", text):
        if part.strip() == ALL:
            passes += PIPELINE
            continue
        if not part.strip():
            raise UsageError(f"-p {text}: there is no pass between two commas, or at an end")
        try:
            passes.append(parse_pass(part))
        except ValueError as error:
            raise UsageError(f"-p {part.strip()}: {error}") from error
    return passes


class _Watcher:
    """Looks on while passes run: prints, measures and verifies."""

    def __init__(self, options: Namespace) -> None:
        self._options = options
        self._done: list[str] = []
        self._times: list[tuple[str, float, int]] = []

    def __call__(self, step: Pass, before: Graph, after: Graph, seconds: float) -> None:
        self._done.append(step.name)
        self._times.append((step.name, seconds, sum(1 for _ in walk(after))))
        if self._options.print_after_all:
            print(f"# after {step.name}\n{after}\n", file=sys.stderr)
        if self._options.verify:
            self._verify(step, after)

    def _verify(self, step: Pass, after: Graph) -> None:
        # A pass promises its form of what came through the passes before it.
        whole = self._done == [step.name for step in PIPELINE[: len(self._done)]]
        try:
            verify(after, step.form if whole else "any")
        except VerificationError as error:
            raise Problem(f"after {step.name}, the graph is wrong:\n{error}") from error

    def times(self) -> str:
        """Return a table of what each pass took."""
        total = sum(seconds for _, seconds, _ in self._times)
        rows = [(name, round(seconds * 1e3, 2), nodes) for name, seconds, nodes in self._times]
        return table(("pass", "ms", "nodes after"), [*rows, ("total", round(total * 1e3, 2), "")])


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a graph in text, or an artifact; - for stdin")
    parser.add_argument(
        "-p",
        "--passes",
        metavar="PASSES",
        default="",
        help="names with commas between, options of a pass in braces; "
        f"{ALL} for the whole pipeline; without it the graph is only read and printed",
    )
    parser.add_argument(
        "--print-after-all",
        action="store_true",
        help="also print the graph after every pass, on the standard error",
    )
    parser.add_argument("--time", action="store_true", help="print what each pass took, likewise")
    parser.add_argument(
        "--verify", action="store_true", help="check the graph before and after every pass"
    )
    add_select(parser)


def _execute(options: Namespace) -> int:
    passes = parse_passes(options.passes) if options.passes else []
    for graph in read_graphs(options.file, options.select):
        if options.verify:
            verify(graph)
        watcher = _Watcher(options)
        try:
            graph = run_pipeline(graph, passes, observers=[watcher])
        except (ValueError, NotImplementedError) as error:
            raise Problem(str(error)) from error
        print(f"{graph}\n")
        if options.time:
            print(watcher.times(), file=sys.stderr)
    return 0


COMMAND = Command(
    "opt",
    "run passes over graphs in text",
    "Read graphs, run passes over each of them, and print what comes out. `brainir passes` lists "
    "the passes.",
    ("opt model.bir -p hoist-state,expand-vmap --verify", "opt - -p all --time < model.bir"),
    _configure,
    _execute,
)

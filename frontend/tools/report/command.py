"""The command ``report``: one page that shows everything that a script compiles."""

from __future__ import annotations

import itertools
import json
import sys
from argparse import ArgumentParser, BooleanOptionalAction, Namespace
from pathlib import Path

from ..command import Command, Problem, add_options, add_script, add_select, asked_options
from ..graph_files import selected
from ..scripts import NOTHING, run_script
from .collect import report_data
from .page import render_page


def _configure(parser: ArgumentParser) -> None:
    add_script(parser, "the Python script to run; it need not know of brainir's tools")
    add_select(parser)
    add_options(parser)
    parser.add_argument(
        "-o",
        "--output",
        metavar="FILE",
        default="report.html",
        help="where the page goes; report.html by default",
    )
    parser.add_argument(
        "--xla",
        action=BooleanOptionalAction,
        default=True,
        help="also compile each graph, and tell how long that takes and what XLA says",
    )
    parser.add_argument(
        "--time",
        action=BooleanOptionalAction,
        default=True,
        help="also time the calls of the script, and at the first one each loop by itself",
    )
    parser.add_argument(
        "--format",
        choices=("page", "json"),
        default="page",
        help="a page, or its data as JSON for other programs, also where nothing was compiled",
    )


def _execute(options: Namespace) -> int:
    asked = asked_options(options)
    run = run_script(options.script, options.arguments, asked, options.library, options.time)
    graphs = set(selected([program.graph for program in run.programs], options.select))
    chosen = [program for program in run.programs if program.graph in graphs]
    pairs = itertools.zip_longest(run.programs, run.timings)
    timings = [timed for program, timed in pairs if timed and program.graph in graphs]
    if run.error is not None:
        print(f"{run.error}\nbrainir: {options.script} failed", file=sys.stderr)
    if not chosen and options.format == "page":
        raise Problem(NOTHING)
    data = report_data(options.script, chosen, run.error, options.xla, run.place, timings)
    if options.format == "json":
        text = json.dumps({**data, "files_of_script": run.files})
    else:
        text = render_page(data)
        count = f"{len(chosen)} function{'s' if len(chosen) > 1 else ''}"
        print(f"{options.output}: {count}", file=sys.stderr)
    Path(options.output).write_text(text, encoding="utf-8")
    return 1 if run.error is not None else 0


COMMAND = Command(
    "report",
    "write a page that shows everything that a script compiles",
    "Run a script as Python would, and write one page to open in a browser: every function that it "
    "compiled at every stage, drawn and as text, beside the source; its states, what nodes cost, "
    "where the memory of gradients goes, and what took time. The page needs no network.",
    ("report model.py -o report.html", "report model.py --select 'train*' -- --steps 10"),
    _configure,
    _execute,
)

"""The command ``run-as``: runs a script of another library on our compiler."""

from __future__ import annotations

import os
import runpy
from argparse import REMAINDER, ArgumentParser, Namespace

from ..ecosystem import LIBRARIES
from .command import Command, Problem
from .scripts import as_main, check_is_there


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("library", choices=LIBRARIES, help="what the script is written for")
    parser.add_argument("script", metavar="SCRIPT", help="a Python script")
    parser.add_argument("arguments", metavar="ARGS", nargs=REMAINDER, help="its own arguments")


def _execute(options: Namespace) -> int:
    check_is_there(options.script)
    path = os.path.abspath(options.script)
    try:
        with as_main(path, options.arguments, options.library):
            runpy.run_path(path, run_name="__main__")
    except SystemExit as exit:
        if exit.code not in (None, 0):
            raise Problem(f"the script exited with {exit.code!r}") from exit
    return 0


COMMAND = Command(
    "run-as",
    "run a script of another library on our compiler",
    "Run a script that was written for brainstate as it is, on our transformations: as if its "
    "first line were `import brainir.as_brainstate`.",
    ("run-as brainstate train.py --epochs 3",),
    _configure,
    _execute,
)

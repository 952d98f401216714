"""The command line: ``brainir COMMAND ...``, or ``python -m brainir COMMAND ...``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from ...ir import GraphError
from ..errors import BrainIRError
from . import diff, dump, listing, opt, report, run, stats
from .command import Command, Problem, UsageError

COMMANDS: tuple[Command, ...] = (
    dump.COMMAND,
    stats.COMMAND,
    report.COMMAND,
    opt.COMMAND,
    run.COMMAND,
    diff.COMMAND,
    listing.OPS,
    listing.PASSES_COMMAND,
)

EXIT_CODES = "Exit codes: 0 if all is well, 1 if a problem was found, 2 for a wrong command line."


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit code."""
    try:
        options = parse_arguments(sys.argv[1:] if argv is None else argv)
    except SystemExit as exit:  # how argparse ends, after help as well as after errors
        return int(exit.code or 0)
    try:
        code = options.command.execute(options)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # Whoever read our output has seen enough; nothing may be flushed into the pipe at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UsageError as error:
        return _fail(options, str(error), 2)
    except (OSError, EOFError) as error:
        return _fail(options, str(error), 2)
    except (Problem, GraphError, BrainIRError) as error:
        return _fail(options, str(error), 1)


def _fail(options: argparse.Namespace, message: str, code: int) -> int:
    print(f"brainir {options.command.name}: {message}", file=sys.stderr)
    return code


def parse_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read a command line; what follows ``--`` is for the user's script.

    Raises
    ------
    SystemExit
        After help was printed, or an error.
    """
    argv = list(argv)
    split = argv.index("--") if "--" in argv else len(argv)
    parser = make_parser()
    options = parser.parse_args(argv[:split])
    rest = argv[split + 1 :]
    if rest and not hasattr(options, "arguments"):
        parser.error(f"{options.command.name} runs no script that could take {' '.join(rest)}")
    if rest:
        options.arguments += rest
    return options


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line."""
    parser = argparse.ArgumentParser(
        prog="brainir",
        description="Look at the graphs that brainir compiles, and work with them as text.",
        epilog=f"{EXIT_CODES} `brainir COMMAND --help` tells more.",
        allow_abbrev=False,
    )
    version = sys.modules[__name__.partition(".")[0]].__version__
    parser.add_argument("--version", action="version", version=f"brainir {version}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for command in COMMANDS:
        added = commands.add_parser(
            command.name,
            help=command.summary,
            description=command.description,
            epilog=EXIT_CODES,
            allow_abbrev=False,
        )
        command.configure(added)
        added.set_defaults(command=command)
    return parser

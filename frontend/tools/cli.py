"""The command line: ``brainir COMMAND ...``, or ``python -m brainir COMMAND ...``."""

from __future__ import annotations

import argparse
import io
import os
import sys
import textwrap
from collections.abc import Sequence

from ...ir import GraphError
from ..errors import BrainIRError
from . import diff, dump, explore, listing, opt, report, run, run_as, stats
from .command import Command, Problem, UsageError

COMMANDS: tuple[Command, ...] = (
    dump.COMMAND,
    stats.COMMAND,
    report.COMMAND,
    explore.COMMAND,
    opt.COMMAND,
    run.COMMAND,
    run_as.COMMAND,
    diff.COMMAND,
    listing.OPS,
    listing.PASSES_COMMAND,
)

EXIT_CODES = "Exit codes: 0 if all is well, 1 if a problem was found, 2 for a wrong command line."


def entry() -> int:
    """Run the command line as a process of its own, and return its exit code."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # it was closed
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115
    if not sys.stdout.isatty() and isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8")  # which is what commands read
    code = main()
    try:
        sys.stdout.flush()
    except OSError:
        _lead_output_to(os.open(os.devnull, os.O_WRONLY))  # there it cannot fail again
    else:
        _lead_output_to(sys.stderr.fileno())  # what a script does at exit is not among graphs
    return code


def _lead_output_to(descriptor: int) -> None:
    os.dup2(descriptor, sys.stdout.fileno())


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
        _lead_output_to(os.open(os.devnull, os.O_WRONLY))
        return 0
    except UsageError as error:
        return _fail(options, str(error), 2)
    except OSError as error:
        where = "" if error.filename is None else f"{error.filename}: "
        return _fail(options, f"{where}{error.strerror or error}", 2)
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
    options, unknown = parser.parse_known_args(argv[:split])
    if unknown:
        _refuse(options, unknown)
    rest = argv[split + 1 :]
    if rest and not hasattr(options, "arguments"):
        parser.error(f"{options.command.name} runs no script that could take {' '.join(rest)}")
    if rest:
        options.arguments += rest
    return options


def _refuse(options: argparse.Namespace, unknown: Sequence[str]) -> None:
    """Say that there are no such arguments, and where those of a script go."""
    hint = ""
    if hasattr(options, "arguments"):
        hint = f"\nIf they are for the script: brainir {options.command.name} ... -- "
        hint += " ".join([*options.arguments, *unknown])
    options.parser.error(f"unrecognized arguments: {' '.join(unknown)}{hint}")


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
            description=textwrap.fill(command.description, 78),
            epilog=_epilog(command),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,
        )
        command.configure(added)
        added.set_defaults(command=command, parser=added)
    return parser


def _epilog(command: Command) -> str:
    examples = "\n".join(f"  brainir {example}" for example in command.examples)
    return f"examples:\n{examples}\n\n{textwrap.fill(EXIT_CODES, 78)}"

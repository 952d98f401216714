"""The command ``explore``: a local page that follows a script as it is edited."""

from __future__ import annotations

import functools
import sys
import threading
from argparse import ArgumentParser, BooleanOptionalAction, Namespace

from ..command import Command, add_options, add_script, add_select, asked_options
from ..scripts import check_is_there
from .following import Follower
from .serving import Server


def _configure(parser: ArgumentParser) -> None:
    add_script(parser, "the Python script to follow; it need not know of brainir's tools")
    add_select(parser)
    add_options(parser)
    parser.add_argument(
        "--xla",
        action=BooleanOptionalAction,
        default=False,
        help="also compile each graph, each time, and tell what XLA says",
    )
    parser.add_argument(
        "--time",
        action=BooleanOptionalAction,
        default=False,
        help="also time the calls of the script, and at the first one each loop by itself",
    )
    parser.add_argument(
        "--port", type=int, default=0, metavar="N", help="the port; one that is free by default"
    )


def _execute(options: Namespace) -> int:
    check_is_there(options.script)
    asked_options(options)  # so that what is wrong with them is said at once
    follower = Follower(options.script, functools.partial(report_command, options))
    with Server(follower, options.port) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        print(f"{options.script}: {server.address}\nCtrl-C ends it.", file=sys.stderr, flush=True)
        try:
            follower.follow()
        except KeyboardInterrupt:
            pass
        finally:
            server.shutdown()
    return 0


def report_command(options: Namespace, output: str) -> list[str]:
    """Return the command that writes the data of the page into a file."""
    command = [sys.executable, "-m", "brainir", "report", options.script, "--format=json"]
    command += ["--xla" if options.xla else "--no-xla"]
    command += ["--time" if options.time else "--no-time", f"--output={output}"]
    for name, values in {
        "--select": options.select,
        "--option": options.option,
        "--leave-out": options.leave_out,
        "--backend": [options.backend],
        "--as": [options.library],
    }.items():
        command += [f"{name}={value}" for value in values if value is not None]
    return [*command, "--", *options.arguments]


COMMAND = Command(
    "explore",
    "follow a script, as it is edited, on a page in the browser",
    "Serve the page of a report on this machine only, run the script again whenever it or a module "
    "beside it changes, and show what it compiles then: each stage as a drawing and as text, "
    "beside the source. If the script fails, the page says how, and at which line.",
    ("explore model.py", "explore model.py --select 'train*' -- --steps 10"),
    _configure,
    _execute,
)

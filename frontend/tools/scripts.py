"""Running a user's script, unchanged, and noting what it compiles."""

from __future__ import annotations

import contextlib
import os
import runpy
import sys
import traceback
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import jax

from ...backends import Backend, backend_named
from ...ir import Graph, GraphError, Loc, fingerprint
from ...passes import DEFAULTS, Options
from ..capture import is_users
from ..ecosystem import LIBRARIES
from ..errors import BrainIRError
from ..options import options
from ..program import Listener, Program, executables, listeners, optimise
from .command import Problem, UsageError
from .graph_files import selected
from .timings import Timed, Timings

NOTHING = (
    "the script compiled nothing: it never called what brainir.transform makes (jit, for_loop, "
    "vmap, grad, ...)"
)


@dataclass(frozen=True, slots=True)
class ScriptRun:
    """What a script compiled, each graph once, and how it failed if it did.

    Attributes
    ----------
    programs : tuple of Program
        What it compiled.
    error : str or None
        How it failed, with the traceback from the script on.
    place : Loc or None
        The last line of the user's own that was at work then.
    files : tuple of str
        The script, and the modules from its folder that it imported.
    timings : tuple of Timings
        How long calls of each program took; empty unless that was asked for.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import brainir
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.py"
    >>> lines = ["import brainir", "brainir.transform.jit(lambda x: x + 1)(2.0)", "1 / 0"]
    >>> written = path.write_text("\\n".join(lines))
    >>> run = brainir.tools.run_script(str(path))
    >>> len(run.programs), run.error.splitlines()[-1]
    (1, 'ZeroDivisionError: division by zero')
    """

    programs: tuple[Program, ...]
    error: str | None
    place: Loc | None = None
    files: tuple[str, ...] = ()
    timings: tuple[Timings, ...] = ()


def run_script(
    path: str,
    arguments: Sequence[str] = (),
    asked: Options = DEFAULTS,
    library: str | None = None,
    timed: bool = False,
) -> ScriptRun:
    """Run a script as Python would, and note every graph that it compiles.

    What it prints goes to the standard error, so that the standard output is free for graphs.
    Graphs of one name that compute the same, under the same options, count once. The script may
    have options of its own, beside those that are asked for here. It may be written for another
    library, see ``brainir.as_brainstate``. Where it is ``timed``, every call waits for its results,
    and the first one of each graph runs its parts one by one before, to find how long they take.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    UsageError
        If it is a graph, or the library is not installed.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import brainir
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "model.py"
    >>> lines = ["import brainir", "brainir.transform.jit(lambda x: x + 1, name='step')(2.0)"]
    >>> written = path.write_text("\\n".join(lines))
    >>> run = brainir.tools.run_script(str(path))
    >>> [program.graph.name for program in run.programs], run.error
    (['step'], None)
    """
    check_is_there(path)
    if path.endswith(".bir"):
        raise UsageError(f"{path} is a graph, not a script; stats, opt, run and diff read graphs")
    found: dict[Hashable, tuple[Program, Timings]] = {}

    def note(program: Program) -> Backend | None:
        key = program.graph.name, fingerprint(program.graph), program.options
        _, timings = found.setdefault(key, (program, Timings()))
        return Timed(backend_named(program.options.backend), timings) if timed else None

    executables.clear()  # what is kept from before would not be compiled again
    path = os.path.abspath(path)
    with options(asked), _listening(note), as_main(path, arguments, library), _output_to_stderr():
        error, place = _run(path)
        jax.effects_barrier()
    executables.clear()  # what is timed is nothing for others
    programs = tuple(program for program, _ in found.values())
    timings = tuple(timings for _, timings in found.values()) if timed else ()
    return ScriptRun(programs, error, place, _files_of(path), timings)


@dataclass(frozen=True, slots=True)
class ScriptGraphs:
    """The graphs of a script, the options of each, and what there is to say of those missing."""

    graphs: tuple[Graph, ...]
    errors: tuple[str, ...]
    options: tuple[Options, ...]

    def report(self) -> int:
        """Print the errors on the standard error, and return the exit code of a command."""
        for error in self.errors:
            print(error, file=sys.stderr)
        if not self.graphs and not self.errors:
            print(f"brainir: {NOTHING}", file=sys.stderr)
        return 1 if self.errors else 0


def graphs_of_script(
    path: str,
    arguments: Sequence[str],
    select: Sequence[str],
    stage: str | None,
    asked: Options = DEFAULTS,
    library: str | None = None,
) -> ScriptGraphs:
    """Run a script, and bring those graphs that are selected to a stage of the pipeline.

    Raises
    ------
    OSError
        If there is no such file, or it cannot be read.
    """
    run = run_script(path, arguments, asked, library)
    errors = [] if run.error is None else [f"{run.error}\nbrainir: {path} failed"]
    chosen: set[Graph] = set()
    try:
        chosen.update(selected([program.graph for program in run.programs], select))
    except Problem as problem:
        errors.append(f"brainir: {problem}")
    graphs: list[tuple[Graph, Options]] = []
    for program in run.programs:
        if program.graph in chosen:
            try:
                graphs.append((optimise(program, until=stage), program.options))
            except (GraphError, BrainIRError, ValueError, NotImplementedError) as error:
                errors.append(f"brainir: {program.graph.name} has no such stage: {error}")
    return ScriptGraphs(
        tuple(graph for graph, _ in graphs), tuple(errors), tuple(asked for _, asked in graphs)
    )


@contextlib.contextmanager
def _listening(listener: Listener) -> Iterator[None]:
    listeners.append(listener)
    try:
        yield
    finally:
        listeners.remove(listener)


@contextlib.contextmanager
def _output_to_stderr() -> Iterator[None]:
    """Lead the standard output to the standard error, also that of other programs."""
    standard = [stream for stream in (sys.stdout, sys.__stdout__) if stream is not None]
    for stream in standard:
        stream.flush()
    kept = os.dup(1)
    try:
        os.dup2(2, 1)
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        for stream in standard:
            stream.flush()
        os.dup2(kept, 1)
        os.close(kept)


def check_is_there(path: str) -> None:
    """Tell a script that is not there from one that misses a file.

    Raises
    ------
    OSError
        If it cannot be read.
    """
    with open(path, "rb"):
        pass


@contextlib.contextmanager
def as_main(path: str, arguments: Sequence[str], library: str | None) -> Iterator[None]:
    """Set up what a script finds: its own arguments, its folder to import from, its library.

    Raises
    ------
    UsageError
        If the library is not installed.
    """
    try:
        mode = contextlib.nullcontext() if library is None else LIBRARIES[library]()
    except ModuleNotFoundError as error:
        raise UsageError(f"{library} is not installed: {error}") from error
    argv, folders = sys.argv, sys.path
    sys.argv, sys.path = [path, *arguments], [os.path.dirname(path), *folders]
    try:
        with mode:
            yield
    finally:
        sys.argv, sys.path = argv, folders


def _run(path: str) -> tuple[str | None, Loc | None]:
    """Run the script and return what went wrong, and where."""
    try:
        runpy.run_path(path, run_name="__main__")
    except SystemExit as exit:
        fine = exit.code in (None, 0)
        return (None if fine else f"the script exited with {exit.code!r}"), None
    except (Exception, KeyboardInterrupt) as error:  # whatever a script may raise
        return _traceback_in(path, error), _place_in(path, error)
    return None, None


def _traceback_in(path: str, error: BaseException) -> str:
    """Return the traceback of an error from the script's own first frame on."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename != path:
        frames = frames.tb_next
    return "".join(traceback.format_exception(type(error), error, frames)).rstrip()


def _place_in(path: str, error: BaseException) -> Loc | None:
    """Return the last of the user's own lines that led to an error."""
    if isinstance(error, SyntaxError) and error.filename and _is_beside(path, error.filename):
        return Loc(error.filename, error.lineno or 1)
    frames = reversed(traceback.extract_tb(error.__traceback__))
    own = (frame for frame in frames if _is_beside(path, frame.filename))
    return next((Loc(frame.filename, frame.lineno or 1, 0, frame.name) for frame in own), None)


def _files_of(path: str) -> tuple[str, ...]:
    """Return the script and the modules that it has imported from its folder."""
    loaded = (getattr(module, "__file__", None) for module in list(sys.modules.values()))
    return path, *sorted({file for file in loaded if file and _is_beside(path, file)} - {path})


def _is_beside(path: str, file: str) -> bool:
    """Whether a file is in the folder of the script, and of no library."""
    return file.startswith(os.path.join(os.path.dirname(path), "")) and is_users(file)

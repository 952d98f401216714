"""Plants one mistake after the other in the compiler, and says which test notices each.

    python tests/mutation_check.py [--all | --sample | WORD ...]

``--sample`` tries a few that are noticed within seconds, as `.ci/run` does; with words, those whose
name or file has one of them; otherwise all of them, which takes an hour or so. The exit code is 1
if a mutant survives, which means that a test is missing, or if one no longer fits its file. Each
mutant has a process of its own, in which the file is changed as it is imported, and so it is in
those that this one starts; the file itself stays as it is.
"""

from __future__ import annotations

import inspect
import io
import os
import signal
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import brainunit  # noqa: F401  # the slow imports, once for all mutants
import jax  # noqa: F401
import networkx  # noqa: F401
import numpy  # noqa: F401
import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT / "tests"), str(ROOT)]

from mutations import MUTANTS, SAMPLE, Mutant  # noqa: E402

SECONDS = 600
"""How long the laws of one mutant may take; a mutant that makes a test run for ever is noticed."""


def main(words: list[str]) -> int:
    """Try mutants and print a table of them."""
    try:
        chosen = choose(words)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    laws = tuple(dict.fromkeys(law for mutant in chosen for law in mutant.laws))
    failed, by = run(Mutant("nothing", "tests/mutation_check.py", "", "", laws))
    if failed:
        print(f"with no mistake planted, {by} fails")
        return 1
    survivors = 0
    for mutant in chosen:
        start = time.monotonic()
        noticed, by = run(mutant)
        survivors += not noticed
        mark = "caught  " if noticed else "SURVIVED"
        print(f"{mark} {time.monotonic() - start:5.0f} s  {mutant.name}", flush=True)
        print(f"                  {mutant.file}: {by}", flush=True)
    print(f"{len(chosen)} mutants, {survivors} survived")
    return 1 if survivors else 0


def choose(words: list[str]) -> list[Mutant]:
    """Return the mutants that somebody asks for.

    Raises
    ------
    ValueError
        If there are none, or an option is unknown.
    """
    if words == ["--sample"]:
        named = {mutant.name: mutant for mutant in MUTANTS}
        return [replace(named[name], laws=(law,)) for name, law in SAMPLE.items()]
    if words in ([], ["--all"]):
        return list(MUTANTS)
    options = [word for word in words if word.startswith("-")]
    if options:
        raise ValueError(f"{options[0]} is not --all or --sample alone")
    chosen = [m for m in MUTANTS if any(word in m.name or word in m.file for word in words)]
    if not chosen:
        raise ValueError(f"no mutant has {' or '.join(words)} in its name or file")
    return chosen


def run(mutant: Mutant) -> tuple[bool, str]:
    """Return whether a mutant is noticed, and by which test, or what else became of it."""
    text = (ROOT / mutant.file).read_text()
    if text.count(mutant.old) != 1 and mutant.old != mutant.new:
        return False, f"the text to replace occurs {text.count(mutant.old)} times"
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            os.write(writing, _notice(mutant, text).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        answer = pipe.read()
    os.waitpid(child, 0)
    if not answer:
        return True, f"no end after {SECONDS} s"
    return answer.startswith("!"), answer[1:]


def _notice(mutant: Mutant, text: str) -> str:
    """Plant a mistake in this process, and return the verdict of its laws."""
    with TemporaryDirectory() as folder:
        if mutant.old != mutant.new:
            signal.alarm(SECONDS)
            planted = text.replace(mutant.old, mutant.new)
            plant(str(ROOT / mutant.file), planted)
            plant_in_children(str(ROOT / mutant.file), planted, Path(folder))
        os.chdir(ROOT)
        return _verdict(mutant)


def _verdict(mutant: Mutant) -> str:
    """Run the laws; an answer with ``!`` names the one that fails."""
    laws = _Laws(mutant.laws)
    files = list(dict.fromkeys(law.partition("::")[0] for law in mutant.laws))
    how = ["-x", "-q", "-p", "no:cacheprovider", "--all-cases"]
    with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()):
        code = pytest.main([*how, *files], plugins=[laws])
    if laws.failed is not None:
        return f"!{laws.failed}"
    return f" {laws.passed} tests pass" if code == 0 else f" {output.getvalue()[-2000:]}"


def plant(path: str, text: str) -> None:
    """Let a file be imported as if it had another text.

    Its source runs in other processes, too, so what it needs is imported here.
    """
    import os
    from importlib.machinery import SourceFileLoader

    original = SourceFileLoader.get_code

    def get_code(self, fullname):  # pyright: ignore
        if os.path.realpath(self.get_filename(fullname)) == path:
            return compile(text, path, "exec", dont_inherit=True)
        return original(self, fullname)

    SourceFileLoader.get_code = get_code  # pyright: ignore[reportAttributeAccessIssue]


def plant_in_children(path: str, text: str, folder: Path) -> None:
    """Plant it in all processes that this one starts: Python runs a module of that name first."""
    lines = inspect.getsource(plant), f"plant({path!r}, {text!r})\n"
    (folder / "sitecustomize.py").write_text("\n\n".join(lines))
    sys.path.insert(0, str(folder))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")])


class _Laws:
    """Chooses the tests to run, in order, and notes the first that fails."""

    def __init__(self, laws: tuple[str, ...]) -> None:
        self._laws = laws
        self.failed: str | None = None
        self.passed = 0

    def pytest_sessionstart(self) -> None:
        # That it fails is all there is to know, so nothing need be made small.
        from hypothesis import Phase, settings

        settings.register_profile("unshrunk", settings(), phases=[Phase.explicit, Phase.generate])
        settings.load_profile("unshrunk")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        places = {id(item): self._place(item.nodeid) for item in items}
        items[:] = [item for item in items if places[id(item)] is not None]
        items.sort(key=lambda item: places[id(item)] or 0)

    def _place(self, name: str) -> int | None:
        starts = (i for i, law in enumerate(self._laws) if _is_one_of(name, law))
        return next(starts, None)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed and self.failed is None:
            self.failed = f"{report.nodeid} (as it is imported)"

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and self.failed is None:
            self.failed = report.nodeid
        self.passed += report.when == "call" and report.passed


def _is_one_of(name: str, law: str) -> bool:
    return name == law or name.startswith((f"{law}[", f"{law}::"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

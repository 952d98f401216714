"""Running a script again whenever one of its files changes, each time in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

POLL = 0.15
"""How many seconds lie between two looks at the files, which must be alike in both to be whole."""

AROUND = 2
"""How many lines are shown before and after one that failed."""

Stamps = dict[str, tuple[int, int] | None]


@dataclass(frozen=True, slots=True)
class Seen:
    """What there is to see of a script.

    Attributes
    ----------
    data : mapping
        What the page shows: that of the last run that compiled something, if any did.
    number : int
        Which data that is.
    running : bool
        Whether the script is running.
    error : str
        How a later run failed that compiled nothing; empty if none did.
    place : dict or None
        The ``file`` and the ``line`` of that.
    lines : tuple of (int, str)
        What stands there, with the numbers of the lines.
    """

    data: Mapping[str, Any]
    number: int = 0
    running: bool = False
    error: str = ""
    place: Mapping[str, Any] | None = None
    lines: tuple[tuple[int, str], ...] = ()

    def told(self) -> dict[str, Any]:
        """Return what a page is told that shows some data already."""
        told = {"number": self.number, "running": self.running, "error": self.error}
        return {**told, "place": self.place, "lines": self.lines}


@dataclass(eq=False)
class Follower:
    """Runs a command that writes the data of a report, and again when its files have changed.

    Parameters
    ----------
    script : str
        The script.
    command : callable
        ``command(file)`` is what is run to have the data written into a file.
    """

    script: str
    command: Callable[[str], Sequence[str]]
    seen: Seen = field(init=False)
    _files: set[str] = field(init=False)
    _changed: threading.Condition = field(init=False, default_factory=threading.Condition)
    _ended: threading.Event = field(init=False, default_factory=threading.Event)

    def __post_init__(self) -> None:
        empty: dict[str, Any] = {name: [] for name in ("files", "places", "lines", "functions")}
        title = Path(self.script).name
        self.seen = Seen({"title": title, "error": None, "failed": -1, "versions": "", **empty})
        self.script = os.path.abspath(self.script)
        self._files = {self.script}

    def wait(self, last: Seen | None, seconds: float) -> Seen:
        """Return what there is to see as soon as it is not what was seen last, or after a time."""
        with self._changed:
            self._changed.wait_for(lambda: self.seen is not last, seconds)
            return self.seen

    def follow(self) -> None:
        """Run the script now and after each change, until `end` is called."""
        while not self._ended.is_set():
            stamps = self._settled()
            self._show(replace(self.seen, running=True))
            data = self._run(stamps)
            if data is not None:
                self._files.update(data.get("files_of_script", ()))
                stamps.update(_stamps(self._files - set(stamps)))
                self._show(self._with(data))
            while _stamps(stamps) == stamps and not self._ended.wait(POLL):
                pass

    def end(self) -> None:
        """Let `follow` return soon, and the script end that it runs."""
        self._ended.set()

    def _show(self, seen: Seen) -> None:
        with self._changed:
            self.seen = seen
            self._changed.notify_all()

    def _settled(self) -> Stamps:
        """Return the stamps of the files when they no longer change, and the script is there."""
        last: Stamps = {}
        while (now := _stamps(self._files)) != last or now[self.script] is None:
            if self._ended.wait(POLL):
                break
            last = now
        return now

    def _run(self, stamps: Stamps) -> dict[str, Any] | None:
        """Return what the command wrote, or nothing if the files change meanwhile."""
        with tempfile.TemporaryDirectory() as folder:
            output = os.path.join(folder, "report.json")
            process = subprocess.Popen(self.command(output), stdin=subprocess.DEVNULL)
            try:
                while process.poll() is None:
                    if self._ended.wait(POLL) or _stamps(stamps) != stamps:
                        return None
            finally:
                process.kill()
                process.wait()
            if os.path.exists(output):
                return json.loads(Path(output).read_text(encoding="utf-8"))
        code = process.returncode
        return {"functions": [], "error": f"The script's process ended with exit code {code}."}

    def _with(self, data: dict[str, Any]) -> Seen:
        """Return what is to be seen after a run."""
        seen = self.seen
        if data["functions"] or not seen.data["functions"]:
            number = seen.number + 1
            return Seen({**seen.data, **data, "number": number}, number)
        error = data["error"] or "The script compiled nothing."
        failed = data.get("failed", -1)
        if failed < 0:
            return replace(seen, running=False, error=error, place=None, lines=())
        file, line, _ = data["places"][failed]
        path, lines = data["files"][file]["path"], data["files"][file]["lines"]
        first = max(0, line - 1 - AROUND)
        shown = tuple(enumerate(lines[first : line + AROUND], first + 1))
        place = {"file": Path(path).name, "line": line}
        return replace(seen, running=False, error=error, place=place, lines=shown)


def _stamps(files: Iterable[str]) -> Stamps:
    return {file: _stamp(file) for file in files}


def _stamp(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size

"""The pages of the reference: every public name, written anew whenever the site is built.

A *room* is a module that a user sees. Its page has what its ``__all__`` names, by the files of the
source that they come from, since each file is a family. What several rooms have is explained in one
of them. When the site has been built, a name without an entry is a warning.
"""

from __future__ import annotations

import ast
import inspect
import logging
import sys
import textwrap
import types
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import brainir
import brainir.testing

FOLDER = Path(__file__).parent / "reference"
SAME = "brainir.frontend"
"""A module whose names are those of another room."""


class Name(NamedTuple):
    """A public name, and what it stands for."""

    room: str
    name: str
    thing: Any

    @property
    def full(self) -> str:
        """How users write it."""
        return f"{self.room}.{self.name}"

    @property
    def kind(self) -> str:
        """What Python, and Sphinx, call such a thing."""
        if isinstance(self.thing, types.ModuleType):
            return "module"
        if inspect.isclass(self.thing):
            return "class"
        return "function" if inspect.isroutine(self.thing) else "data"

    @property
    def home(self) -> str:
        """The file that defines it, as a module; that of the room where Python does not know."""
        if self.kind == "data":
            return self._assignment[0]
        return self.thing.__module__ if self.is_ours else self.room

    @property
    def is_ours(self) -> bool:
        """Whether a class or function is of brainir, and not from another library."""
        module = getattr(self.thing, "__module__", None) or ""
        return module in sys.modules and module.startswith("brainir.")

    @property
    def doc(self) -> str:
        """Its docstring. That of a value stands below it in the source; Python does not keep it."""
        if self.kind == "data":
            return self._assignment[1]
        if self.kind == "module" or self.is_ours:
            return inspect.getdoc(self.thing) or ""
        return f"``{self.thing.__module__}.{self.thing.__qualname__}``."

    @property
    def _assignment(self) -> tuple[str, str]:
        found = [
            (home, doc)
            for home, doc in assigned().get(self.name, ())
            if getattr(sys.modules[home], self.name) is self.thing
        ]
        return max(found, key=lambda one: (bool(one[1]), one), default=(self.room, ""))


@cache
def rooms() -> dict[str, types.ModuleType]:
    """Return the modules that say what is public in them, by the names users know them by."""
    found = {"brainir": brainir, "brainir.testing": brainir.testing}
    left = list(found)
    while left:
        room = left.pop()
        for name in found[room].__all__:
            part, full = getattr(found[room], name), f"{room}.{name}"
            if isinstance(part, types.ModuleType) and hasattr(part, "__all__") and full != SAME:
                found[full] = part
                left.append(full)
    return dict(sorted(found.items()))


@cache
def public_names() -> dict[str, list[Name]]:
    """Return the names of each room that are not rooms themselves."""
    return {
        room: [
            Name(room, name, getattr(module, name))
            for name in sorted(module.__all__, key=str.lower)
            if f"{room}.{name}" not in rooms() and f"{room}.{name}" != SAME
        ]
        for room, module in rooms().items()
    }


@cache
def assigned() -> dict[str, list[tuple[str, str]]]:
    """Return the modules that assign each name at their top level, and what they say of it."""
    found: dict[str, list[tuple[str, str]]] = {}
    for home, module in sorted(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if home.startswith("brainir.") and home == module.__name__ and file is not None:
            for name, doc in _assignments(Path(file).read_text()):
                found.setdefault(name, []).append((home, doc))
    return found


def _assignments(source: str) -> Iterator[tuple[str, str]]:
    body = ast.parse(source).body
    for line, after in zip(body, [*body[1:], None], strict=True):
        targets = line.targets if isinstance(line, ast.Assign) else [getattr(line, "target", None)]
        doc = ""
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant):
            doc = inspect.cleandoc(str(after.value.value))
        yield from ((target.id, doc) for target in targets if isinstance(target, ast.Name))


@cache
def explained() -> dict[tuple[int, str], Name]:
    """Return where each thing is explained: in the room nearest to the file that defines it."""
    found: dict[tuple[int, str], Name] = {}
    for names in public_names().values():
        for name in names:
            other = found.setdefault(_key(name), name)
            if _nearness(name) > _nearness(other):
                found[_key(name)] = name
    return found


def _key(name: Name) -> tuple[int, str]:
    # Python may keep one object for two constants that happen to be equal, such as numbers.
    return id(name.thing), name.name if name.kind == "data" else ""


def _nearness(name: Name) -> int:
    room = rooms()[name.room].__name__
    return len(room) if f"{name.home}.".startswith(f"{room}.") else 0


def first_line(thing: object) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(thing) or "").partition("\n")[0]


def pages() -> dict[str, str]:
    """Return the text of each room's page, and of the page that lists the rooms."""
    made = {f"{room}.rst": _room_page(room) for room in rooms()}
    rows = ((f":doc:`{room}`", first_line(module)) for room, module in rooms().items())
    listed = "".join(f"   {room}\n" for room in rooms())
    made["index.rst"] = (
        f"{_title('Reference', '=')}Every public name, by the module that has it.\n\n{_table(rows)}"
        f".. toctree::\n   :hidden:\n\n{listed}"
    )
    return made


def _room_page(room: str) -> str:
    about = f"{inspect.getdoc(rooms()[room])}\n\n.. py:currentmodule:: {room}\n\n"
    parts = [_title(room, "="), about]
    families: dict[str, list[Name]] = {}
    for name in public_names()[room]:
        families.setdefault(name.home, []).append(name)
    for home, names in sorted(families.items(), key=lambda family: _heading(room, family[0])):
        parts.append(_title(_heading(room, home), "-"))
        if home != room:
            parts.append(f"{first_line(sys.modules[home])}\n\n")
        rows = ((f":py:obj:`~{name.full}`", name.doc.partition("\n")[0]) for name in names)
        parts.append(_table(rows))
        parts.extend(map(_entry, names))
    return "".join(parts)


def _heading(room: str, home: str) -> str:
    if home == room:
        return "Values and types"
    return home.rpartition(".")[2].strip("_").replace("_", " ").capitalize()


def _entry(name: Name) -> str:
    first = explained()[_key(name)]
    if name.kind in ("class", "function") and name.is_ours and first == name:
        members = "   :members:\n" if name.kind == "class" else ""
        return f".. auto{name.kind}:: {name.full}\n{members}\n"
    if name.kind == "module":
        back = f".. py:currentmodule:: {name.room}"
        return f".. py:module:: {name.full}\n\n{first_line(name.thing)}\n\n{back}\n\n"
    shown = name.kind == "data" and isinstance(name.thing, str | int | tuple)
    value = f"   :value: {name.thing!r}\n" if shown else ""
    text = name.doc if first == name else f"The same as :py:obj:`{first.full}`."
    return f".. py:{name.kind}:: {name.name}\n{value}\n{textwrap.indent(text, '   ')}\n\n"


def _table(rows: Iterable[tuple[str, str]]) -> str:
    cells = "".join(f"   * - {left}\n     - {right}\n" for left, right in rows)
    return f".. list-table::\n   :widths: 30 70\n\n{cells}\n"


def _title(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n\n"


def write_pages(app: Any, config: Any) -> None:
    """Write the pages that are not as they were, before Sphinx looks for files."""
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        file = FOLDER / name
        if not file.exists() or file.read_text() != text:
            file.write_text(text)


def skip_fields(app: Any, what: str, name: str, thing: object, skip: bool, options: Any) -> bool:
    """Leave out the fields of named tuples, which the class itself explains."""
    return skip or type(thing).__name__ == "_tuplegetter"


def check_index(app: Any, env: Any) -> None:
    """Warn of public names that have no entry."""
    known = env.domains["py"].objects
    for name in (name for names in public_names().values() for name in names):
        if name.full not in known:
            logging.getLogger(f"sphinx.{__name__}").warning("no entry for %s", name.full)


def setup(app: Any) -> dict[str, bool]:
    """Write the pages before they are read, and look for what is missing after."""
    app.connect("config-inited", write_pages)
    app.connect("autodoc-skip-member", skip_fields)
    app.connect("env-check-consistency", check_index)
    return {"parallel_read_safe": True, "parallel_write_safe": True}

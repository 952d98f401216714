"""Docstrings and rulers have the form that CONTRIBUTING asks for."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = ("ir", "passes", "backends", "frontend", "brainir")
FILES = sorted(
    path
    for layer in LAYERS
    for path in (ROOT / layer).rglob("*.py")
    if path.relative_to(ROOT / layer).parts[0] not in LAYERS
)

SECTIONS = (
    *("Parameters", "Returns", "Yields", "Raises", "Warns", "Warnings", "Attributes", "Methods"),
    *("Examples", "Notes", "See Also", "References", "Other Parameters"),
)
"""How numpydoc spells sections."""


RULER = re.compile(r"\s*# --- \S.* -{3,}$")
"""A comment that divides a file."""


def docstrings(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the docstrings of a file, each with its place."""
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            doc = ast.get_docstring(node)
            if doc is not None:
                yield f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}", doc


def faults_of_doc(doc: str) -> list[str]:
    """Say in what a docstring differs from its form."""
    lines = doc.split("\n")
    faults = []
    summary = lines[0]
    if len(lines) > 1 and lines[1].strip():
        faults.append("the summary is longer than a line")
    elif not summary.rstrip().endswith((".", "::", ":", "?")):
        faults.append("the summary does not end with a full stop")
    for i, line in enumerate(lines):
        bare = line.strip()
        if i and set(bare) == {"-"} and len(bare) > 2:
            title = lines[i - 1].strip()
            if title not in SECTIONS:
                faults.append(f"no section is called {title!r}")
            elif len(bare) != len(title):
                faults.append(f"the line under {title!r} is not as long")
            elif i > 1 and lines[i - 2].strip():
                faults.append(f"no empty line before {title!r}")
        elif re.search(r"\b(?:" + "|".join(SECTIONS) + r")\s+-{3,}", line):
            faults.append(f"a section has run together: {bare!r}")
        elif bare.rstrip(":") in SECTIONS and lines[i + 1 : i + 2] and i and not lines[i - 1]:
            if set(lines[i + 1].strip()) != {"-"}:
                faults.append(f"{bare!r} has no line under it")
        elif re.search(r"[a-z,] -{4,}", line) and "::" not in line:
            faults.append(f"a ruler inside text: {bare!r}")
    return faults


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_docstrings_have_their_form(path: Path) -> None:
    found = docstrings(path)
    faults = [f"{place}: {fault}" for place, doc in found for fault in faults_of_doc(doc)]
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_rulers_are_whole(path: Path) -> None:
    broken = broken_rulers(path.read_text())
    assert not broken, "\n".join(broken)


def broken_rulers(text: str) -> list[str]:
    """Return the comments that should divide a text but are not ``# --- words ---`` on one line."""
    lines = enumerate(text.split("\n"), 1)
    rulers = [(i, line) for i, line in lines if re.match(r"\s*# ?[-=]{3}", line)]
    return [f"{i}: {line}" for i, line in rulers if not RULER.match(line) or len(line) > 100]


@pytest.mark.parametrize(
    "text", ["# --- words\n# -------------", "# ---------", "#--- words ---", "# --- words"]
)
def test_a_broken_ruler_is_noticed(text: str) -> None:
    assert broken_rulers(text)
    assert not broken_rulers("    # --- words ---\n# --- more words " + "-" * 60)


@pytest.mark.parametrize(
    "doc",
    [
        "No full stop",
        "Two\nlines.",
        "Good.\n\nParameter\n---------\nx : int",
        "Good.\n\nNotes -----\nMore.",
        "Good.\n\nNotes\n----\nMore.",
        "Good.\n\nReturns\nint",
        "Good.\nNotes\n-----\nMore.",
    ],
)
def test_a_docstring_of_another_form_is_noticed(doc: str) -> None:
    assert faults_of_doc(doc)


def test_a_docstring_in_form_is_left_alone() -> None:
    assert not faults_of_doc("Good.\n\nParameters\n----------\nx : int\n    What.\n\nMore text.")

"""The notebooks of the site run, and what their hidden cells say of their results is true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import brainir

NOTEBOOKS = sorted(Path(__file__).parent.parent.glob("docs/tutorials/*.md"))
CELL = re.compile(r"^```\{code-cell\}\n((?::[^\n]*\n)*)(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def as_new():
    """Leave the environment and the random numbers as they were."""
    with brainir.environ.context(), brainir.random.seed_context(0):
        kept = brainir.environ.all()
        yield
        for name in set(brainir.environ.all()) - set(kept):
            brainir.environ.pop(name)


@pytest.mark.sampled(2)
@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(notebook, as_new, monkeypatch):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    monkeypatch.setenv("MPLBACKEND", "Agg")
    text = notebook.read_text()
    cells = list(CELL.finditer(text))
    assert any("remove-cell" in cell[1] for cell in cells)
    names: dict[str, object] = {"__name__": "__main__"}
    for cell in cells:
        line = text.count("\n", 0, cell.start(2))
        exec(compile("\n" * line + cell[2], str(notebook), "exec"), names)

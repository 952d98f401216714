"""The pages in `docs/` and the README show what really happens."""

from __future__ import annotations

import contextlib
import doctest
import re
from pathlib import Path

import jax
import pytest

from brainir.ir import temporary_ops

ROOT = Path(__file__).parent.parent
PAGES = sorted([ROOT / "README.md", *ROOT.glob("docs/*.md"), *ROOT.glob("docs/tutorials/*.md")])
LIBRARIES = {"training": ("optax", "orbax.checkpoint", "safetensors"), "nir": ("nir",)}
"""What pages use beside us."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


class Checker(doctest.OutputChecker):
    """Compares output without the places in the source that graphs tell of."""

    def check_output(self, want: str, got: str, optionflags: int) -> bool:
        """Return whether what came out is what is shown."""
        return super().check_output(want, re.sub(r" +# \S.*:\d+ .*", "", got), optionflags)


def sessions(text: str) -> list[tuple[int, str]]:
    """Return the interactive sessions among the blocks of code of a page, and where they begin."""
    blocks = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return [
        (text.count("\n", 0, block.start(1)), block[1]) for block in blocks if ">>> " in block[1]
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_what_happens(page):
    names: dict[str, object] = {"__name__": "__main__"}
    failures: list[str] = []
    runner = doctest.DocTestRunner(Checker(), optionflags=FLAGS)
    for library in LIBRARIES.get(page.stem, ()):
        pytest.importorskip(library)
    others = page.stem in LIBRARIES  # whose code may promote dtypes
    promotion = jax.numpy_dtype_promotion("standard") if others else contextlib.nullcontext()
    with temporary_ops(), promotion:
        for line, block in sessions(page.read_text()):
            example = doctest.DocTestParser().get_doctest(block, names, page.name, page.name, line)
            runner.run(example, out=failures.append, clear_globs=False)
            names.update(example.globs)
    assert not failures, "".join(failures)


def test_links_between_pages_lead_somewhere():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in link and not link.startswith("reference/"):  # which the site writes
                assert (page.parent / link).exists(), f"{page.name} links to {link}"

"""The site: its reference has every public name, and its pages can be found."""

from __future__ import annotations

import re
import types
from pathlib import Path

import public_names
import pytest

import brainir

DOCS = Path(__file__).parent.parent / "docs"
ENTRY = re.compile(r"^\.\. (?:auto|py:)(?:class|function|data|module):: (\S+)$", re.MULTILINE)


def names_of(thing: types.ModuleType, room: str) -> set[str]:
    """Return all that a module, and the public modules in it, say is public."""
    found: set[str] = set()
    for name in thing.__all__:
        part, full = getattr(thing, name), f"{room}.{name}"
        found.add(full)
        if isinstance(part, types.ModuleType) and hasattr(part, "__all__"):
            found |= names_of(part, full)
    return {name for name in found if not name.startswith("brainir.frontend")}


def test_the_reference_has_every_public_name():
    entries = {
        full if full.startswith("brainir") else f"{page.removesuffix('.rst')}.{full}"
        for page, text in public_names.pages().items()
        for full in ENTRY.findall(text)
    }
    rooms = {page.removesuffix(".rst") for page in public_names.pages()}
    assert names_of(brainir, "brainir") <= entries | rooms
    assert {"brainir.transform.grad", "brainir.testing.check_op"} <= entries


@pytest.mark.parametrize("room", public_names.rooms())
def test_every_name_is_explained(room):
    assert [name.full for name in public_names.public_names()[room] if not name.doc] == []


def test_a_thing_with_two_names_is_explained_once():
    text = public_names.pages()
    assert ".. autoclass:: brainir.passes.Options\n" in text["brainir.passes.rst"]
    assert "The same as :py:obj:`brainir.passes.Options`" in text["brainir.rst"]


def test_every_page_is_in_the_contents():
    listed = set(re.findall(r"^[\w/-]+$", (DOCS / "index.md").read_text(), re.MULTILINE))
    pages = [*DOCS.glob("*.md"), *DOCS.glob("tutorials/*.md")]
    found = {page.relative_to(DOCS).with_suffix("").as_posix() for page in pages}
    assert found - {"index"} <= listed

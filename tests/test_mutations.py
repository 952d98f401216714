"""Planted mistakes fit the files in which they are planted."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from mutations import MUTANTS, PARTS, SAMPLE, Mutant

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mistake_can_be_planted_in_one_place(mutant: Mutant) -> None:
    assert (ROOT / mutant.file).read_text().count(mutant.old) == 1
    assert mutant.old != mutant.new
    for law in mutant.laws:
        assert (ROOT / law.partition("::")[0]).exists(), law


def test_mistakes_are_told_apart_by_their_names() -> None:
    assert [name for name, times in Counter(m.name for m in MUTANTS).items() if times > 1] == []


def test_the_sample_has_something_of_every_layer() -> None:
    named = {mutant.name: mutant for mutant in MUTANTS}
    layers = {named[name].file.partition("/")[0] for name in SAMPLE}
    assert layers == {"ir", "passes", "frontend"}
    assert all(part.MUTANTS for part in PARTS)

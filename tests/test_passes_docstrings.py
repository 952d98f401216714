"""The example in the docstring of every pass is what the pass does."""

import inspect
import re
import textwrap

import pytest

from brainir.ir import equal, parse, verify
from brainir.passes import PASSES

BLOCK = re.compile(r"\*(before|after)\*::\n\n(.*?)(?=\n\S|\n *\*after\*::|\Z)", re.DOTALL)


def example_of(function):
    """The graphs before and after, from the docstring of a pass."""
    doc = inspect.getdoc(function) or ""
    return {name: parse(textwrap.dedent(text)) for name, text in BLOCK.findall(doc)}


@pytest.mark.parametrize("name", PASSES)
def test_the_docstring_of_a_pass_tells_what_it_does(name):
    step = PASSES[name]
    example = example_of(step.function)
    assert set(example) == {"before", "after"}
    after = step(example["before"])
    verify(after, step.form)
    assert equal(after, example["after"]), f"\n{after}"


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_called_like_its_file(name):
    function = PASSES[name].function
    assert function.__name__ == name.removesuffix("-again").replace("-", "_")
    assert function.__module__ == f"brainir.passes.{function.__name__}"

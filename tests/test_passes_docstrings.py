"""The example in the docstring of every pass is what the pass does."""

import inspect
import re
import textwrap

import pytest

from brainir.ir import equal, parse, verify
from brainir.passes import PASSES, parse_pass

BLOCK = re.compile(
    r"\*(before|after)\*(?:, with ``(\w+=\w+)``)?::\n\n(.*?)(?=\n\S|\n *\*after\*|\Z)", re.DOTALL
)


def example_of(step):
    """The pass as its docstring says, and the graphs before and after."""
    blocks = BLOCK.findall(inspect.getdoc(step.function) or "")
    for _, option, _ in blocks:
        if option:
            step = parse_pass(f"{step.name}{{{option}}}")
    return step, {name: parse(textwrap.dedent(text)) for name, _, text in blocks}


@pytest.mark.parametrize("name", PASSES)
def test_the_docstring_of_a_pass_tells_what_it_does(name):
    step, example = example_of(PASSES[name])
    assert set(example) == {"before", "after"}
    after = step(example["before"])
    verify(after, step.form)
    assert equal(after, example["after"]), f"\n{after}"


@pytest.mark.parametrize("name", PASSES)
def test_a_pass_is_called_like_its_file(name):
    function = PASSES[name].function
    assert function.__name__ == name.removesuffix("-again").replace("-", "_")
    assert function.__module__ == f"brainir.passes.{function.__name__}"

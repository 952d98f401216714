"""Every example in a docstring or in the README does what it says."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import brainir

README = Path(__file__).parent.parent / "README.md"
MODULES = [module.name for module in pkgutil.walk_packages(brainir.__path__, "brainir.")]


@pytest.mark.parametrize("name", ["brainir", *MODULES])
def test_the_examples_of_a_module_give_what_they_show(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert failed == 0


def test_the_quick_start_of_the_readme_runs():
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(), re.DOTALL)
    names = {}
    exec(program, names)
    assert names["potentials"].shape == (100, 4)

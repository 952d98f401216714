"""Every example in a docstring does what it says."""

import doctest
import importlib
import pkgutil

import pytest

import brainir

ACTS = {"brainir.as_brainstate"}  # on import, and only where brainstate is installed
MODULES = {m.name for m in pkgutil.walk_packages(brainir.__path__, "brainir.")} - ACTS


@pytest.mark.parametrize("name", ["brainir", *sorted(MODULES)])
def test_the_examples_of_a_module_give_what_they_show(name):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    failed, _ = doctest.testmod(importlib.import_module(name), optionflags=flags)
    assert failed == 0

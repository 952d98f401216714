"""The command ``run``: runs a graph."""

from __future__ import annotations

import ast
import zipfile
import zlib
from argparse import ArgumentParser, Namespace
from typing import Any

import numpy as np

from ...backends import BACKENDS
from ...ir import Type, key_words, type_of_array
from ..validation.running import (
    Array,
    InputError,
    Outcome,
    inputs_for,
    leaf_names,
    run_on,
    storable,
)
from .command import Command, Problem, UsageError, add_select
from .graph_files import read_one


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", help="a graph in text, or an artifact; - for stdin")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="reference",
        help="reference: numpy, node by node, the graph as it is (the default); all others, such "
        "as xla: after all passes",
    )
    parser.add_argument(
        "--arg",
        metavar="NAME=VALUE",
        action="append",
        default=[],
        help="one input as a Python number or list of them; may be repeated",
    )
    parser.add_argument("--inputs", metavar="NPZ", help="a file of numpy arrays by name")
    parser.add_argument(
        "--seed",
        metavar="NUMBER",
        type=int,
        default=0,
        help="for what is not given, which is random (default: 0)",
    )
    parser.add_argument("--output", metavar="NPZ", help="also write results and states there")
    add_select(parser)


def _execute(options: Namespace) -> int:
    if options.seed < 0:
        raise UsageError(f"--seed {options.seed}: expected a whole number from 0 on")
    graph = read_one(options.file, options.select)
    try:
        inputs = inputs_for(graph, _given(options), options.seed)
        outcome = run_on(options.backend, inputs)
    except InputError as error:
        raise UsageError(str(error)) from error
    except (ValueError, NotImplementedError) as error:
        raise Problem(str(error)) from error
    units = graph.result_units or (None,) * len(graph.results)
    for i, (array, unit) in enumerate(zip(outcome.results, units, strict=True)):
        print(_shown(str(i), array, unit))
    for state, leaves in outcome.states.items():
        for name, leaf in zip(leaf_names(state), leaves, strict=True):
            print(_shown(name, leaf, state.unit))
    if options.output:
        with open(options.output, "wb") as file:  # a name would get an ending
            np.savez(file, **_named(outcome))
    return 0


def _given(options: Namespace) -> dict[str, Any]:
    given: dict[str, Any] = {}
    if options.inputs:
        given.update(_read_arrays(options.inputs))
    for text in options.arg:
        name, _, value = text.partition("=")
        try:
            given[name] = ast.literal_eval(value.strip())
        except (ValueError, SyntaxError) as error:
            raise UsageError(f"--arg {text}: expected NAME=VALUE, a number or list") from error
    return given


def _read_arrays(path: str) -> dict[str, Any]:
    with open(path, "rb") as file:
        if not zipfile.is_zipfile(file):
            raise UsageError(f"{path} is not an .npz file, such as numpy.savez writes")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            return dict(arrays)
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{path} has something in it that is no array: {error}") from error


def _named(outcome: Outcome) -> dict[str, Any]:
    named: dict[str, Any] = {str(i): storable(array) for i, array in enumerate(outcome.results)}
    for state, leaves in outcome.states.items():
        named.update(zip(leaf_names(state), map(storable, leaves), strict=True))
    return named


def _shown(name: str, array: Array, unit: str | None) -> str:
    type: Type = type_of_array(array)
    numbers = key_words(array) if type.is_key else array
    text = np.array2string(numbers, separator=", ", threshold=100)
    joint = "\n" if "\n" in text else " "
    return f"{name}: {type}{f' {unit}' if unit else ''} ={joint}{text}"


COMMAND = Command(
    "run",
    "run a graph on given or random inputs",
    "Run one graph at any stage, and print its results and what it leaves in its states. Inputs "
    "are called as in the text: x for %x, and @V for a state (or @V.0, @V.1 for its leaves). With "
    "xla, the graph goes through all passes first.",
    ("run model.bir --arg x=1.5 --arg '@V=[0, 1, 2]'", "run model.bir --backend xla --seed 1"),
    _configure,
    _execute,
)

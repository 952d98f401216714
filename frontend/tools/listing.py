"""The commands ``ops`` and ``passes``: what there is."""

from __future__ import annotations

import inspect
import json
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence

from ...ir import NOT_DIFFERENTIABLE, ZERO, Linear, Op, Partials, Rules, Type, all_ops
from ...passes import PASSES, Pass
from .command import Command, table

_FORMS = {Partials: "partials", Linear: "linear", Rules: "rules", NOT_DIFFERENTIABLE: "none"}


def derivative_of(op: Op) -> str:
    """Return in a word or two how an op is differentiated."""
    if op.derivative is None:
        return "by structure"
    form = type(op.derivative)
    return "zero" if op.derivative is ZERO else _FORMS.get(form, form.__name__)


def weight_of(op: Op) -> str:
    """Return how an op compares with storing its result: free, cheap, heavy; or that it varies."""
    matrix = Type("float32", (2, 2))
    try:
        return op.cost((matrix,) * 3, (matrix,), {}).weight.name.lower()
    except (LookupError, TypeError):  # the rule asks for attributes
        return "varies"


def options_of(step: Pass) -> str:
    """Return the options of a pass with their defaults, as they are written in braces."""
    parameters = list(inspect.signature(step.function).parameters.values())[1:]
    return ", ".join(
        p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters
    )


def _op_rows() -> list[tuple[str, ...]]:
    return [
        (
            op.name,
            "derived" if op.opaque else "modelled",
            derivative_of(op),
            weight_of(op),
            op.doc,
        )
        for op in all_ops()
    ]


def _pass_rows() -> list[tuple[str, ...]]:
    return [
        (step.name, step.form, options_of(step), _first_sentence(step.function.__doc__))
        for step in PASSES.values()
    ]


def _first_sentence(doc: str | None) -> str:
    return " ".join((doc or "").split("\n\n")[0].replace("``", "`").split())


def _configure(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--format", choices=("text", "json"), default="text", help="text is the default"
    )


def _print(options: Namespace, headers: Sequence[str], rows: Sequence[Sequence[str]]) -> int:
    if options.format == "json":
        print(json.dumps([dict(zip(headers, row, strict=True)) for row in rows], indent=1))
    else:
        print(table(headers, rows))
    return 0


OPS = Command(
    "ops",
    "list the operations that graphs are made of",
    "List all operations: whether their rules are modelled or derived from a JAX primitive, how "
    "they are differentiated, how running one compares with storing its result, and what they do.",
    ("ops | grep dot", "ops --format json"),
    _configure,
    lambda options: _print(options, ("op", "rules", "derivative", "cost", "meaning"), _op_rows()),
)

PASSES_COMMAND = Command(
    "passes",
    "list the passes in the order of the pipeline",
    "List the passes: the form of graph that holds after them, their options, and what they do.",
    ("passes",),
    _configure,
    lambda options: _print(options, ("pass", "form", "options", "what it does"), _pass_rows()),
)

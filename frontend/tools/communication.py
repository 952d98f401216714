"""What the devices of a compiled program tell each other."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ..program import compile_program
from ..transform import Jitted

KINDS = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute|collective-broadcast"
_COLLECTIVE = re.compile(rf"= (.*?) ({KINDS})(?:-done)?\(")  # one that takes its time is a pair
_ARRAY = re.compile(r"\b([a-z]+)(\d+)?[a-z0-9]*\[([\d,]*)\]")
_CALLED = re.compile(
    r"(?:body|to_apply|calls|true_computation|false_computation|branch_computations)="
    r"\{?(%[^,\s}]+(?:, %[^,\s}]+)*)"
)
_COUNT = re.compile(r'"known_trip_count":\{"n":"(\d+)"\}')


@dataclass(frozen=True, slots=True)
class Communication:
    """All collectives of one kind in a compiled program; see `communication`.

    Attributes
    ----------
    kind : str
        What XLA calls it: ``"all-reduce"``, ``"all-gather"``, ...
    places : int
        How many there are in the program.
    times : int
        How often they run; in a loop of unknown length, as if it had one step.
    bytes : int
        What comes out of them on each device, of all times.

    Examples
    --------
    >>> Communication("all-reduce", 1, 100, 400).bytes
    400
    """

    kind: str
    places: int
    times: int
    bytes: int


def communication(function: Jitted, *args: Any) -> tuple[Communication, ...]:
    """Return what devices tell each other in a call of a compiled function, as XLA has made it.

    Arguments and States count as they are spread over devices now. The function does not run.

    Examples
    --------
    On one device there is nothing to tell.

    >>> import brainir, jax.numpy as jnp
    >>> brainir.tools.communication(brainir.transform.jit(jnp.sum), jnp.ones(8))
    ()
    """
    program = function.trace(*args).program
    compiled = compile_program(program, set(range(len(program.slots))))
    leaves = jax.tree.leaves(args)
    given = [*leaves, *program.state_leaves(), *program.consts(compiled.consts)]
    text = compiled.executable().lower(*given).compile().as_text() or ""
    places, times, sizes = Counter[str](), Counter[str](), Counter[str]()
    for kind, count, size in _collectives(text):
        places[kind] += 1
        times[kind] += count
        sizes[kind] += count * size
    return tuple(Communication(kind, places[kind], times[kind], sizes[kind]) for kind in places)


def _collectives(text: str) -> Iterator[tuple[str, int, int]]:
    """Yield kind, times and bytes of each collective in XLA's text of a program."""
    bodies: dict[str, list[str]] = {}
    entry, lines = "", list[str]()
    for line in text.splitlines():
        if line.endswith("{") and not line.startswith((" ", "HloModule")):
            name = line.removeprefix("ENTRY ").split(" ", 1)[0]
            entry = name if line.startswith("ENTRY ") else entry
            lines = bodies.setdefault(name, [])
        else:
            lines.append(line)
    stack = [(entry, 1)]
    while stack:
        name, times = stack.pop()
        for line in bodies.get(name, ()):
            found = _COLLECTIVE.search(line)
            if found is not None:
                yield found[2], times, _bytes(found[1])
                continue
            count = _COUNT.search(line)
            for called in _CALLED.findall(line):
                repeats = times * (int(count[1]) if count else 1)
                stack.extend((one, repeats) for one in called.split(", "))


def _bytes(types: str) -> int:
    """Return the bytes of the arrays in the text of a type, such as ``(f32[2,3]{1,0}, s32[])``."""
    sizes = [
        int(np.prod([int(n) for n in shape.split(",") if n])) * max(1, int(bits or 8) // 8)
        for _, bits, shape in _ARRAY.findall(types)
    ]
    return sum(sizes)

"""Writing a graph, with what it runs on, to files that ``brainir run`` takes."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ...ir import Printer, print_graph
from .running import Inputs, inputs_for, leaf_names, storable


def file_name(name: str) -> str:
    """Return a name without what files had better not have in theirs."""
    return "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def write_inputs(path: Path, inputs: Inputs, why: str) -> None:
    """Write a graph as text and, if it needs them, its inputs beside it."""
    comment = "".join(f"# {line}\n" for line in why.split("\n"))
    path.write_text(f"{comment}{print_graph(inputs.graph)}\n")
    typical = inputs_for(inputs.graph, {}, 0)
    name = Printer(inputs.graph).operand
    needed = {name(p)[1:]: a for p, a in zip(inputs.graph.params, inputs.arguments, strict=True)}
    usual = list(typical.arguments)
    for state, leaves in inputs.states.items():
        needed.update(zip(leaf_names(state), leaves, strict=True))
        usual += typical.states[state]
    arrays = path.with_suffix(".npz")
    arrays.unlink(missing_ok=True)
    if any(map(_are_different, needed.values(), usual)):
        with zipfile.ZipFile(arrays, "w") as archive:
            for entry, array in needed.items():
                with archive.open(f"{entry}.npy", "w") as file:
                    np.lib.format.write_array(file, storable(array), allow_pickle=False)


def _are_different(array: Any, other: Any) -> bool:
    return storable(array).tobytes() != storable(other).tobytes()

"""Samples of an op: operands and attributes on which its laws are tried."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
from hypothesis import strategies as st

from ...backends import shape_struct
from ...ir import Builder, Graph, Op, Type, Value, get_op, type_of_array
from .graph_draft import arrays

Array = np.ndarray[Any, Any]

MOST_OPERANDS = 4
"""How many operands of an op are tried when nobody says which it takes."""


@dataclass(frozen=True, eq=False)
class Sample:
    """An op applied to arrays.

    Parameters
    ----------
    name : str
        The op.
    operands : tuple of numpy arrays
        What it is applied to.
    attrs : dict
        Its attributes.
    slopes : str
        What derivatives can be compared with: ``"smooth"`` (finite differences and JAX),
        ``"kinks"`` (JAX alone), ``"ours"`` (finite differences alone, where JAX has a fault),
        ``"none"``, or ``"unknown"``: finite differences, at those elements where the differences
        ahead and behind agree.
    rtol : float
        Bounds the relative error where it must be looser than that of the dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from brainir.testing import Sample
    >>> print(Sample("add", (np.ones(3, "float32"), np.ones(3, "float32"))))
    add(f32[3],f32[3])
    """

    name: str
    operands: tuple[Array, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    slopes: str = "smooth"
    rtol: float = 0.0

    @property
    def op(self) -> Op:
        """The record of the op."""
        return get_op(self.name)

    @property
    def types(self) -> tuple[Type, ...]:
        """The types of the operands."""
        return tuple(map(type_of_array, self.operands))

    @property
    def result_types(self) -> tuple[Type, ...]:
        """The types of the results, as inference has them."""
        return self.op.result_types(self.types, self.attrs, ())

    def with_operands(self, operands: Sequence[Array]) -> Sample:
        """Return a sample that differs in its operands only."""
        return Sample(self.name, tuple(operands), self.attrs, self.slopes, self.rtol)

    def graph(self) -> Graph:
        """Return a graph with the op as its only node."""
        builder, params = Builder(), [Value(t) for t in self.types]
        return builder.graph(params, builder.emit(self.op, params, self.attrs), "sample")

    def __str__(self) -> str:
        attrs = [f"{name}={value}" for name, value in self.attrs.items()]
        return f"{self.name}({','.join([*map(str, self.types), *attrs])})".replace(" ", "")


# --- samples that nobody gave ---------------------------------------------------------------------

SHAPES: tuple[tuple[int, ...], ...] = ((3,), (2, 3), (), (0,), (3, 3), (1,))
DTYPES = ("float32", "int32", "bool", "complex64", "uint8")


def signatures(op: Op) -> list[tuple[Type, ...]]:
    """Return types of operands, of small shapes, that the inference of an op accepts.

    Raises
    ------
    ValueError
        If there are none, or the op has attributes without which it means nothing.
    """
    parameters = tuple(inspect.signature(op.infer).parameters.values())
    needed = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if needed:
        raise ValueError(
            f"{op.name} needs {', '.join(needed)}: give samples, such as "
            f'Sample("{op.name}", (array,), {{"{needed[0]}": ...}})'
        )
    found = [types for types in _tried() if _accepts(op, types)]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        counts = {count for count in range(1, MOST_OPERANDS + 1) if _takes(op, found, count)}
        found = [types for types in found if len(types) in counts]
    if not found:
        raise ValueError(
            f"{op.name} accepts no operands that were tried, up to {MOST_OPERANDS} of "
            f"{', '.join(DTYPES)}, without attributes: give samples of it"
        )
    return found


def _tried() -> Iterator[tuple[Type, ...]]:
    """Yield types of operands, the simplest first."""
    for count in range(1, MOST_OPERANDS + 1):
        shapes = [(shape,) * count for shape in SHAPES]
        if count == 2:
            shapes += [pair for pair in itertools.product(SHAPES, SHAPES) if pair not in shapes]
        dtypes = [(dtype,) * count for dtype in DTYPES]
        if count > 1:
            dtypes += [(first, *("float32",) * (count - 1)) for first in ("bool", "int32")]
        for types, lengths in itertools.product(dtypes, shapes):
            yield tuple(itertools.starmap(Type, zip(types, lengths, strict=True)))


def _accepts(op: Op, types: tuple[Type, ...]) -> bool:
    try:
        op.result_types(types, {}, ())
    except Exception:  # inference that is given too few types, or types of another rank
        return False
    return True


def _takes(op: Op, found: Sequence[tuple[Type, ...]], count: int) -> bool:
    """Whether the lax rule takes so many operands, where inference does not say how many."""
    for types in found:
        if len(types) == count:
            try:
                jax.eval_shape(lambda *arrays: op.lax(jax, *arrays), *map(shape_struct, types))
            except Exception:  # whatever JAX raises of too many arrays
                continue
            return True
    return False


def samples_of(op: Op) -> st.SearchStrategy[Sample]:
    """Return a strategy of samples of an op whose attributes all have defaults.

    Parameters
    ----------
    op : Op
        Its inference says which types it takes.

    Raises
    ------
    ValueError
        If it takes none that are tried; see `check_op`.
    """
    accepted = signatures(op)

    @st.composite
    def draw_sample(draw: st.DrawFn) -> Sample:
        operands = tuple(draw(arrays(type)) for type in draw(st.sampled_from(accepted)))
        return Sample(op.name, operands, {}, "unknown", 1e-4)

    return draw_sample()

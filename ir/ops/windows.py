"""Where the windows of a gather or a scatter lie: attributes, types and meaning that both share.

The *index* operand holds one vector for each window on its last axis. A window is a box of the
array that is read or written:

================== =====================================================================
attribute          says
================== =====================================================================
offset_dims        axes of the result (or of the updates) that run over a window
collapsed_dims     axes of the array along which a window has length 1 and is not an axis
index_map          the axis of the array that each component of an index vector is for
batching_dims      axes of the array that run along with axes of the index, ...
index_batching     ... which are these
mode               outside of the array: ``clip`` moves a window inside, ``fill`` reads a
                   value and writes nothing, ``promise`` says that it does not happen
unique             whether no two windows overlap
sorted             whether index vectors stand in order
================== =====================================================================
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from ..element import Elements
from ..types import Type
from .rules import Array, check_axes, require, shifted, without_axes

Shape = tuple[int, ...]

MODES = ("clip", "fill", "promise")


@dataclass(frozen=True, slots=True)
class Windows:
    """The attributes that a gather and a scatter have in common.

    Examples
    --------
    >>> from brainir.ir import Windows
    >>> rows = Windows((1,), (0,), (0,), (), (), "clip", unique=False, sorted=False)
    >>> rows.result_shape((5, 1), (1, 8))
    (5, 8)
    """

    offset_dims: tuple[int, ...]
    collapsed_dims: tuple[int, ...]
    index_map: tuple[int, ...]
    batching_dims: tuple[int, ...]
    index_batching: tuple[int, ...]
    mode: str
    unique: bool
    sorted: bool

    @classmethod
    def of(cls, attrs: Mapping[str, Any]) -> Windows:
        """Pick the common attributes out of those of a node."""
        return cls(**{name: attrs[name] for name in cls.__slots__})

    @property
    def attrs(self) -> dict[str, Any]:
        """The attributes, by name."""
        return {name: getattr(self, name) for name in self.__slots__}

    def check(self, array: Type, index: Type) -> None:
        """Refuse attributes that do not fit the operands."""
        require(index.is_integer and index.rank > 0, f"an index is made of integers, not {index}")
        require(self.mode in MODES, f"mode is one of {MODES}, not {self.mode!r}")
        for axes in (self.offset_dims, self.collapsed_dims, self.batching_dims):
            require(list(axes) == sorted(axes), f"axes {axes} of windows are not in order")
        check_axes(array, self.absent, "collapsed and batching axes")
        check_axes(array, (*self.index_map, *self.batching_dims), "indexed and batching axes")
        check_axes(index.with_shape(*index.shape[:-1]), self.index_batching, "batching axes")
        require(
            len(self.index_map) == index.shape[-1],
            f"index_map names {len(self.index_map)} axes for vectors of {index.shape[-1]}",
        )
        lengths = [array.shape[d] for d in self.batching_dims]
        require(
            lengths == [index.shape[d] for d in self.index_batching],
            f"batching axes of {array} and {index} differ in length",
        )

    @property
    def absent(self) -> tuple[int, ...]:
        """Axes of the array that are no axes of a window."""
        return (*self.collapsed_dims, *self.batching_dims)

    def result_shape(self, index: Shape, sizes: Shape) -> Shape:
        """Return the shape of all windows together."""
        window = iter(without_axes(sizes, self.absent))
        batch = iter(index[:-1])
        rank = len(sizes) - len(self.absent) + len(index) - 1
        return tuple(next(window if d in self.offset_dims else batch) for d in range(rank))

    def sizes(self, array: Shape, result: Shape) -> Shape:
        """Return the size of a window along every axis of the array, given all together."""
        window = iter(result[d] for d in self.offset_dims)
        return tuple(1 if d in self.absent else next(window) for d in range(len(array)))

    def is_unique(self, index: Type) -> bool:
        """Whether windows cannot overlap, for a start because there is only one."""
        return self.unique or prod(without_axes(index.shape[:-1], self.index_batching)) <= 1

    # --- meaning ---

    def find(self, array: Shape, index: Array, sizes: Shape) -> tuple[Array, Array]:
        """Return flat positions in the array, and for each window whether it lies inside.

        Positions have the axes of the index (but the last), then an axis for each of the array;
        those of a window outside are of the nearest one inside.
        """
        batch: Shape = index.shape[:-1]
        starts = np.zeros((*batch, len(array)), np.int64)
        starts[..., list(self.index_map)] = index
        for axis, along in zip(self.batching_dims, self.index_batching, strict=True):
            line: Array = np.arange(batch[along])
            starts[..., axis] = line.reshape(-1, *(1,) * (len(batch) - along - 1))
        limits = np.array(array, np.int64) - np.array(sizes, np.int64)
        inside = np.all((starts >= 0) & (starts <= limits), axis=-1)
        strides = np.array([prod(array[d + 1 :]) for d in range(len(array))], np.int64)
        first = (np.clip(starts, 0, limits) * strides).sum(axis=-1)
        within = np.tensordot(strides, np.indices(sizes), axes=1)
        return first.reshape((*batch, *(1,) * len(array))) + within, np.asarray(inside)

    def to_result(self, windows: Array) -> Array:
        """Lay out elements whose axes are as in `find` as the result of a gather."""
        rank = len(self.offset_dims) + len(self.absent)
        batch = windows.ndim - rank
        kept = np.squeeze(windows, tuple(batch + d for d in self.absent))
        return np.moveaxis(kept, range(batch, kept.ndim), self.offset_dims)

    def from_result(self, result: Array, sizes: Shape) -> Array:
        """Undo `to_result`."""
        batch = result.ndim - len(self.offset_dims)
        kept = np.moveaxis(result, self.offset_dims, range(batch, result.ndim))
        return kept.reshape((*kept.shape[:batch], *sizes))

    def place(
        self, e: Elements, array: Shape, index: Any, sizes: Shape, at: Sequence[Any]
    ) -> tuple[list[Any], Any]:
        """Return where in the array an element of all windows is, and whether its window is inside.

        ``at`` is its index in the result of a gather, or in the updates of a scatter. An element of
        a window outside is at the place that it has in the nearest one inside.
        """
        batch = [i for d, i in enumerate(at) if d not in self.offset_dims]
        within = iter([at[d] for d in self.offset_dims])
        zero, inside = e.constant(0, "int64"), e.constant(True, "bool")
        starts = [zero] * len(array)
        for axis, along in zip(self.batching_dims, self.index_batching, strict=True):
            starts[axis] = batch[along]
        for number, axis in enumerate(self.index_map):
            component = index.at((*batch, e.constant(number, "int64")))
            last = e.constant(array[axis] - sizes[axis], "int64")
            start = e.convert(component, "int64")
            if component.dtype == "uint64":  # of which the larger half is outside
                beyond = e.constant(array[axis] + 1, "int64")
                start = e("select", e("lt", start, zero), beyond, start)
            fits = e("and", e("ge", start, zero), e("le", start, last))
            inside = e("and", inside, fits)
            starts[axis] = e("max", e("min", start, last), zero)
        place = [
            start if axis in self.absent else e("add", start, next(within))
            for axis, start in enumerate(starts)
        ]
        return place, inside

    # --- batching ---

    def with_lanes_in_window(self) -> Windows:
        """Return attributes for an array with a leading lane axis, all of it in each window."""
        return Windows(
            (0, *shifted(self.offset_dims)),
            shifted(self.collapsed_dims),
            shifted(self.index_map),
            shifted(self.batching_dims),
            self.index_batching,
            self.mode,
            self.unique,
            self.sorted,
        )

    def with_lanes_in_index(self) -> Windows:
        """Return attributes for an index with a leading lane axis."""
        return Windows(
            shifted(self.offset_dims),
            self.collapsed_dims,
            self.index_map,
            self.batching_dims,
            shifted(self.index_batching),
            self.mode,
            unique=False,
            sorted=False,
        )

    def with_lanes_in_both(self) -> Windows:
        """Return attributes for an array and an index that both have a leading lane axis."""
        return Windows(
            shifted(self.offset_dims),
            shifted(self.collapsed_dims),
            shifted(self.index_map),
            (0, *shifted(self.batching_dims)),
            (0, *shifted(self.index_batching)),
            self.mode,
            self.unique,
            sorted=False,
        )


def rows(rank: int, axes: Sequence[int], mode: str) -> Windows:
    """Return windows that are boxes of an array of that rank, which an index vector each places.

    The index has one axis before its last. ``axes`` are those that the index vectors are for.
    """
    return Windows(tuple(range(1, rank + 1)), (), tuple(axes), (), (), mode, False, False)

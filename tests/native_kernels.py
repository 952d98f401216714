"""Running the machine code of a graph on numpy arrays, as XLA would call it."""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np

from brainir.backends.native import compile
from brainir.backends.native.lower import lower
from brainir.backends.native.writer import OUTSIDE
from brainir.ir import Graph, numpy_dtype

GUARD = 64
"""Bytes around each array, which a kernel must leave as they are."""


def run_native(
    graph: Graph, *arguments: Any, dense: bool = False, checked: bool = False
) -> list[Any]:
    """Return the results of a graph, which captures nothing, computed as a kernel.

    If it is ``checked``, every access is, also those that read.
    """
    code = lower(graph, dense, checked)
    engine = compile.load(compile.object_code(code.text))
    call = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(engine.get_function_address("call"))
    taken = [_Guarded.of(np.asarray(array)) for array in arguments]
    types = [(numpy_dtype(r.type.dtype), r.type.shape) for r in graph.results]
    given = [_Guarded(dtype, shape) for dtype, shape in types]
    if code.scratch:
        given.append(_Guarded(np.dtype(np.uint8), (code.scratch,)))
    frame, kept = _frame(taken, given)
    assert call(ctypes.addressof(frame)) is None
    assert kept
    if checked:
        address = engine.get_global_value_address(OUTSIDE)
        count = ctypes.c_uint64.from_address(address).value
        assert count == 0, f"{count} accesses outside of arrays"
    for array in (*taken, *given):
        array.check()
    return [array.view.copy() for array in given[: len(types)]]


class _Guarded:
    """An array in the midst of bytes that must stay as they are."""

    def __init__(self, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        size = int(np.prod(shape, dtype=int)) * dtype.itemsize
        self.memory = np.full(size + 2 * GUARD, 0xA5, np.uint8)
        self.view = self.memory[GUARD : GUARD + size].view(dtype).reshape(shape)

    @classmethod
    def of(cls, array: Any) -> _Guarded:
        new = cls(array.dtype, array.shape)
        new.view[...] = array
        return new

    @property
    def address(self) -> int:
        return self.memory.ctypes.data + GUARD

    def check(self) -> None:
        assert (self.memory[:GUARD] == 0xA5).all(), "written before an array"
        assert (self.memory[-GUARD:] == 0xA5).all(), "written behind an array"


def _frame(taken: list[_Guarded], given: list[_Guarded]) -> tuple[Any, Any]:
    """Return a call frame, and what it points to (see `brainir.backends.native.handler`)."""
    frame = (ctypes.c_uint64 * 20)()
    kept: list[Any] = []
    for place, arrays in ((72, taken), (112, given)):
        buffers = [(ctypes.c_uint64 * 6)() for _ in arrays]
        for buffer, array in zip(buffers, arrays, strict=True):
            buffer[3] = array.address
        pointers = (ctypes.c_uint64 * (len(arrays) + 1))(*map(ctypes.addressof, buffers))
        frame[place // 8] = ctypes.addressof(pointers)
        kept += [buffers, pointers]
    return frame, kept

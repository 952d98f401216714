"""The function that XLA calls: the typed form of its foreign function interface, as machine code.

XLA hands over a *call frame* (``XLA_FFI_CallFrame`` of ``xla/ffi/api/c_api.h``, version 0). Where
it carries an extension, XLA asks what the handler knows of the interface; otherwise the pointers of
all arrays are in it. Nothing of this runs in Python, so no call takes, or waits for, its lock.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .machine import BYTE, LONG, POINTER

INT = ir.IntType(32)

EXTENSION, API, ARGUMENTS, RESULTS = 8, 16, 72, 112
"""Where in a call frame its extension is, the interface, and the arrays that it takes and gives."""

DATA = 24
"""Where in a buffer its pointer is."""

METADATA, MAJOR, MINOR, TRAITS = 24, 24, 28, 32
"""Where in an extension the metadata are, and where in these the version and traits are."""

API_MINOR = 36
"""Where in the interface its own minor version is."""


def write_handler(module: ir.Module, run: ir.Function, takes: int, gives: int) -> ir.Function:
    """Write the handler, called ``call``, of a function that takes pointers of arrays."""
    handler = ir.Function(module, ir.FunctionType(POINTER, [POINTER]), "call")
    (frame,) = handler.args
    build = ir.IRBuilder(handler.append_basic_block())
    asked, called = (handler.append_basic_block(name) for name in ("asked", "called"))
    extension = _pointer(build, frame, EXTENSION)
    null = ir.Constant(POINTER, None)
    build.cbranch(build.icmp_unsigned("!=", extension, null), asked, called)

    build.position_at_end(asked)
    answer = _pointer(build, extension, METADATA)
    build.store(ir.Constant(INT, 0), _place(build, answer, MAJOR))
    minor = build.load(_place(build, _pointer(build, frame, API), API_MINOR), typ=INT)
    build.store(minor, _place(build, answer, MINOR))
    build.store(ir.Constant(INT, 0), _place(build, answer, TRAITS))
    build.ret(null)

    build.position_at_end(called)
    arrays = [
        _data(build, _pointer(build, frame, where), number)
        for where, count in ((ARGUMENTS, takes), (RESULTS, gives))
        for number in range(count)
    ]
    missing = len(run.args) - len(arrays)
    build.call(run, [*arrays, *[null] * missing])
    build.ret(null)
    return handler


def _place(build: ir.IRBuilder, pointer: Any, offset: int) -> Any:
    return build.gep(pointer, [ir.Constant(LONG, offset)], inbounds=True, source_etype=BYTE)


def _pointer(build: ir.IRBuilder, pointer: Any, offset: int) -> Any:
    return build.load(_place(build, pointer, offset), typ=POINTER)


def _data(build: ir.IRBuilder, buffers: Any, number: int) -> Any:
    """Return the pointer of an array, from a list of pointers to buffers."""
    return _pointer(build, _pointer(build, buffers, 8 * number), DATA)

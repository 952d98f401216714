"""Kernels that are there already: in this process by their region, on disk by their code."""

from __future__ import annotations

import ctypes
import hashlib
import os
import sys
import threading
from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import llvmlite
from llvmlite import binding

from ...ir import Graph
from ..collection import without_garbage_collection
from . import compile
from .lower import lower


@dataclass(frozen=True, slots=True, eq=False)
class Kernel:
    """Machine code that XLA can call.

    Attributes
    ----------
    name : str
        Under which XLA knows it.
    scratch : int
        The bytes of one more result that it needs as memory; 0 for none.
    engine : Any
        What holds the code.
    """

    name: str
    scratch: int
    engine: Any


class Kernels:
    """All kernels of this process.

    They stay for good: XLA may hold programs that call them.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kernels: dict[Hashable, Kernel | None] = {}
        self._named: dict[str, Kernel] = {}
        self.refused: dict[Hashable, str] = {}

    def find(self, key: Hashable, region: Graph, dense: bool) -> Kernel | None:
        """Return the kernel of a region; None if an error said that there can be none."""
        with self._lock:
            if key not in self._kernels:
                try:
                    self._kernels[key] = self._made(region, dense)
                except Exception as error:  # whatever it is, the region can run without
                    self._kernels[key] = None
                    self.refused[key] = f"{type(error).__name__}: {error}"
            return self._kernels[key]

    def _made(self, region: Graph, dense: bool) -> Kernel:
        with without_garbage_collection():
            code = lower(region, dense)
        name = f"brainir_{_digest(code.text)}"
        if name not in self._named:
            engine = compile.load(object_code_of(name, code.text))
            handler = engine.get_function_address("call")
            jax.ffi.register_ffi_target(name, _capsule(handler), platform="cpu")
            self._named[name] = Kernel(name, code.scratch, engine)
        return self._named[name]


KERNELS = Kernels()


def _digest(text: str) -> str:
    """Return a name for the machine code of a text: of this processor, and these versions."""
    features = binding.get_host_cpu_features().flatten()
    parts = (text, binding.get_host_cpu_name(), features, llvmlite.__version__, sys.platform)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


def folder() -> Path | None:
    """Return where object files are kept: as JAX keeps its programs, if it does.

    Examples
    --------
    >>> from brainir.backends.native.cache import folder
    >>> folder() is None or folder().name
    True
    """
    kept = jax.config.jax_compilation_cache_dir  # pyright: ignore[reportAttributeAccessIssue]
    return Path(kept) / "brainir-kernels" if kept else None


def object_code_of(name: str, text: str) -> bytes:
    """Return the object file of a text, from disk if it is there."""
    kept = folder()
    if kept is None:
        return compile.object_code(text)
    path = kept / f"{name}.o"
    try:
        return path.read_bytes()
    except OSError:
        code = compile.object_code(text)
    try:
        kept.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_bytes(code)
        fresh.replace(path)
    except OSError:
        pass  # a disk that is full, or may only be read
    return code


def _capsule(address: int) -> Any:
    """Return a pointer as JAX takes it."""
    new = ctypes.pythonapi.PyCapsule_New
    new.restype, new.argtypes = (
        ctypes.py_object,
        [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p],
    )
    return new(address, None, None)

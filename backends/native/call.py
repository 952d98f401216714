"""Kernels as a part of what JAX compiles: one primitive, which only CPUs run as machine code.

It is only in what brainir itself has compiled. Where somebody else traces a program, to batch,
differentiate, check or export it, regions of kernels are JAX code (see `brainir.backends.xla`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.core
import jax.extend.core
from jax.interpreters import mlir

from ...ir import Graph, Type, fingerprint, numpy_dtype
from ..arrays import shape_struct
from .cache import KERNELS, Kernel

Run = Callable[..., Sequence[Any]]

kernel_p = jax.extend.core.Primitive("brainir_kernel")
kernel_p.multiple_results = True


class Called:
    """A region, and what runs it as JAX code.

    Two are equal if their kernels are, so that JAX finds again what it compiled.
    """

    def __init__(self, region: Graph, dense: bool, run: Run) -> None:
        self.region, self.dense, self.run = region, dense, run
        self.key = fingerprint(region), dense

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Called) and self.key == other.key

    def kernel(self) -> Kernel | None:
        """Return the machine code, or None if there can be none."""
        return KERNELS.find(self.key, self.region, self.dense)


def call(region: Graph, dense: bool, run: Run, *arrays: Any) -> Sequence[Any]:
    """Return the results of a region: as machine code where that can be, else by running it."""
    return kernel_p.bind(*arrays, called=Called(region, dense, run))


def _types(*_: Any, called: Called) -> list[Any]:
    structs = [shape_struct(result.type) for result in called.region.results]
    return [jax.core.ShapedArray(s.shape, s.dtype) for s in structs]


def _as_jax(*arrays: Any, called: Called) -> Sequence[Any]:
    return called.run(*arrays)


def _lower_on_cpu(context: Any, *arrays: Any, called: Called) -> Any:
    """Lower to a call of machine code."""
    kernel = called.kernel()
    if kernel is None:
        return mlir.lower_fun(_as_jax, multiple_results=True)(context, *arrays, called=called)
    region = called.region
    takes, gives = ([_physical(v.type) for v in vs] for vs in (region.params, region.results))
    if kernel.scratch:
        gives.append(jax.core.ShapedArray((kernel.scratch,), "uint8"))
    rule = jax.ffi.ffi_lowering(kernel.name)
    results = rule(context.replace(avals_in=takes, avals_out=gives), *arrays)
    return results[: len(region.results)]


def _physical(type: Type) -> Any:
    """Return what XLA has of a type: of random keys, their words."""
    if type.is_key:
        return jax.core.ShapedArray((*type.shape, 2), "uint32")
    return jax.core.ShapedArray(type.shape, numpy_dtype(type.dtype))


kernel_p.def_impl(lambda *arrays, called: called.run(*arrays))
kernel_p.def_abstract_eval(_types)
mlir.register_lowering(kernel_p, mlir.lower_fun(_as_jax, multiple_results=True))
mlir.register_lowering(kernel_p, _lower_on_cpu, platform="cpu")

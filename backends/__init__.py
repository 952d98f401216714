"""From graphs to numbers: the numpy reference, `jax.lax` calls, and XLA executables."""

from . import lax as lax
from . import native as native
from . import reference as reference
from . import xla as xla
from .arrays import describe, jax_dtype, literal_array, shape_struct, to_jax, to_numpy, type_of
from .collection import without_garbage_collection
from .protocol import Around, Backend, Cost, Executable, Flat, Memory
from .registry import BACKENDS, backend_named

__all__ = [
    "BACKENDS",
    "Around",
    "Backend",
    "Cost",
    "Executable",
    "Flat",
    "Memory",
    "backend_named",
    "describe",
    "jax_dtype",
    "lax",
    "literal_array",
    "native",
    "reference",
    "shape_struct",
    "to_jax",
    "to_numpy",
    "type_of",
    "without_garbage_collection",
    "xla",
]

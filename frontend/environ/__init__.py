"""The environment: values such as the time step ``dt`` that every part of a model may read.

Two layers answer a question, the first that knows the name wins:

1. the contexts that are open in this thread (:func:`context`), the innermost first;
2. the values that were :func:`set`, in whichever thread: they hold for the whole process.

So a thread that is started by a program, or by a library, sees the time step that the program has
set, and two threads may each run a model in a context of their own.

A compiled function holds the values that were in force when it was traced. :func:`watch` notes
which ones a trace has read, and :func:`unchanged` says later whether they still hold; a compiled
function that asks both is traced again when, and only when, something that it has read differs.

Examples
--------
>>> from brainir import environ
>>> with environ.context(dt=0.1):
...     environ.get("dt")
0.1
"""

from .behaviors import (
    list_registered_behaviors,
    register_default_behavior,
    unregister_default_behavior,
)
from .devices import (
    SUPPORTED_PLATFORMS,
    get_host_device_count,
    get_platform,
    set_host_device_count,
    set_platform,
)
from .layers import (
    EnvironmentState,
    Reads,
)
from .precision import (
    dctype,
    dftype,
    ditype,
    dutype,
    get_precision,
    set_precision,
    tolerance,
)
from .values import (
    DEFAULT_PRECISION,
    DT,
    FIT,
    HOST_DEVICE_COUNT,
    JIT_ERROR_CHECK,
    PLATFORM,
    PRECISION,
    SUPPORTED_PRECISIONS,
    I,
    T,
    all,
    context,
    get,
    get_dt,
    pop,
    reset,
    set,
)
from .watching import (
    fingerprint,
    unchanged,
    watch,
)

__all__ = [
    "DEFAULT_PRECISION",
    "DT",
    "FIT",
    "HOST_DEVICE_COUNT",
    "JIT_ERROR_CHECK",
    "PLATFORM",
    "PRECISION",
    "SUPPORTED_PLATFORMS",
    "SUPPORTED_PRECISIONS",
    "EnvironmentState",
    "I",
    "Reads",
    "T",
    "all",
    "context",
    "dctype",
    "dftype",
    "ditype",
    "dutype",
    "fingerprint",
    "get",
    "get_dt",
    "get_host_device_count",
    "get_platform",
    "get_precision",
    "list_registered_behaviors",
    "pop",
    "register_default_behavior",
    "reset",
    "set",
    "set_host_device_count",
    "set_platform",
    "set_precision",
    "tolerance",
    "unchanged",
    "unregister_default_behavior",
    "watch",
]

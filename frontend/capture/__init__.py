"""Capture: how Python that touches States becomes a graph."""

from .avals import View, aval_of, view_of
from .cells import Cell, Handle, reject_states
from .containers import Held, held, is_container, merge
from .equations import open_jaxpr, state_ref
from .frames import Frame, current_frame, trace_token
from .importer import import_jaxpr, import_traced, unit_name
from .naming import describe_tree, name_of, parameter_names
from .opaque import PREFIX, resolve_opaque
from .regions import Region, bind_region, evaluate_by, leave, region_p
from .state_primitives import create, read, read_leaves, settle, write, write_leaves
from .tracing import Traced, new_frame, trace, trace_within
from .translations import TRANSLATE

__all__ = [
    "PREFIX",
    "TRANSLATE",
    "Cell",
    "Frame",
    "Handle",
    "Held",
    "Region",
    "Traced",
    "View",
    "aval_of",
    "bind_region",
    "create",
    "current_frame",
    "describe_tree",
    "evaluate_by",
    "held",
    "import_jaxpr",
    "import_traced",
    "is_container",
    "leave",
    "merge",
    "name_of",
    "new_frame",
    "open_jaxpr",
    "parameter_names",
    "read",
    "read_leaves",
    "region_p",
    "reject_states",
    "resolve_opaque",
    "settle",
    "state_ref",
    "trace",
    "trace_token",
    "trace_within",
    "unit_name",
    "view_of",
    "write",
    "write_leaves",
]
